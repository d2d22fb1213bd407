//! Ships what a host and its containers show to a Greylight server, or to any Prometheus and OTLP backend.
//!
//! Samples: [`collect`] reads /proc, /sys and cgroups, [`scrape`] reads Prometheus endpoints; batches of them go
//! into a [`queue`] and from there to remote write. Records: [`tail`] follows log files; batches of them go into
//! a second queue, in one frame with the positions in the files, and from there to OTLP.
//! [`agent`] wires it together from a [`config`].
//!
//! Invariants: what is sent was durable in the queue before; what is sent again is the same bytes, so that the
//! server keeps one copy; a line's record is queued in the same write as the position behind it; nothing reads
//! the clock, chance or a disk but through [`clock`] and [`disk`].

pub mod clock;
pub mod disk;
pub mod counters;
pub mod metric;
pub mod queue;
pub mod docker;
pub mod collect;
pub mod scrape;
mod intake;
pub mod tail;
mod client;
mod ship;
pub mod config;
pub mod agent;
mod run;

pub use agent::{Agent, AgentHandle, AgentParts, StartError};
pub use config::{AgentConfig, ConfigError};
pub use run::{RunError, run};
