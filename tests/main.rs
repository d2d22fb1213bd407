//! Whole-system scenarios, and the rules that the source tree keeps.

mod loop_through;
mod server;
mod tidy;
