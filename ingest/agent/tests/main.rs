//! The agent from outside.

mod tail_model;
