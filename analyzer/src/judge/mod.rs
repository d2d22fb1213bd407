//! Turns a policy and the two sides' data into a decision at every look.
//!
//! [`Analysis`] is the one way there: it takes the phase and the history when a phase begins, and the
//! data so far at each look. Live releases drive it as intervals end; after a restart they drive it
//! again over the data that each look pinned, and come out at the same bits. [`run`] and [`answer`]
//! drive it over a whole body of `POST /api/v1/judge`.
//!
//! Everything here is pure: no clock, no store, no network, no chance.

mod data;
mod error;
mod grid;
mod placed;
mod before;
mod analysis;
mod procedure;
mod report;
mod check;
mod counts;
mod scale;
mod hosts;
mod means;
mod pods;
mod scores;
mod patterns;
mod users;
mod by;
mod composite;
mod share;
mod describe;
mod foretell;
mod request;
pub mod wire;
mod read;

pub use analysis::{Analysis, Look, PhaseRun, Shift};
pub(crate) use analysis::{Standing, Standings};
pub use data::{
    BirthData, CheckData, Counts, Data, Histogram, Pattern, PatternCounts, PatternMember, Series, Sides,
    UserRow, UserRows, Values,
};
pub(crate) use describe::queries;
pub use error::JudgeError;
pub use foretell::{Expected, Foretold, ForetoldValue, Help, Size, foretell};
pub use placed::RunData;
pub(crate) use request::births;
pub use request::{Answer, Engine, Request, answer, run};
pub(crate) use scale::Scale;
pub(crate) use scores::coarse_histogram;
