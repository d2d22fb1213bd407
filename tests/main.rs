//! Whole-system scenarios, and the rules that the source tree keeps.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
#![expect(clippy::disallowed_methods, reason = "scenarios damage files and watch the real time")]

mod agent_delivery;
mod death;
mod flight_sql;
mod loop_through;
mod pages;
mod prometheus_peer;
mod rules;
mod server;
mod tidy;
mod tools;
