//! Keeps metrics, logs and records durably, small and quick to read.
//!
//! Life of a sample: [`append`] frames it into the write-ahead log, one sync serves all who wait,
//! the head takes it, the sender gets its answer; by age or size the head is sealed into Parquet
//! segments, which one catalog transaction makes known; segments are merged into longer ones,
//! and dropped at the end of retention. [`read`] sees head and segments as one snapshot.
//!
//! What always holds: what was acknowledged survives a crash of the process and of the machine,
//! is seen by the next read, and is seen once. Every call names a tenant.

pub mod model;
pub mod pattern;
pub mod disk;
pub mod step;
pub mod config;
pub mod segment;
pub mod append;
pub mod metrics;
pub mod logs;
mod wal;
mod catalog;
mod store;
mod backup;
mod delta;
pub mod read;
pub mod records;

pub use backup::{BackupError, BackupReport, backup, restore};
pub use catalog::{CatalogAt, CatalogError, DatabaseUrl, DatabaseUrlError};
pub use config::{ByteSize, ConfigError, StoreConfig};
pub use delta::{DeltaError, Published};
pub use store::{
    Deleted, JobStatus, OpenError, Status, Store, StoreEnv, StoreError, TableStatus, VerifyReport, WalStatus,
    verify,
};
