//! The agent from outside.

mod documentation;
mod formats;
mod server;
mod tail_model;
mod whole_agent;
