//! Answers questions about what is stored.
//!
//! Flow: [`http`] reads a request and hands the work to [`Queries`], which runs it on threads of
//! its own, in fair turns over tenants, within limits; [`promql`] evaluates metric expressions,
//! [`sql`] runs SQL, both over the store's door `greylight_store::read`; log searches go to that
//! door as they are. [`grpc`] offers SQL as Arrow Flight SQL.
//!
//! What always holds: a query has a deadline and limits of series, samples, values and rows, each
//! named by the error of who passes it; when the client goes away the work ends; nothing here
//! changes what is stored.

mod config;
mod pool;
mod queries;
mod features;
pub mod promql;
pub mod sql;
pub mod record;
pub mod grpc;
pub mod http;

pub use config::{ConfigError, QueryConfig};
pub use queries::{Queries, QueryEnv, RunningQuery, StartError};
