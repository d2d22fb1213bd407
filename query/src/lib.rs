//! Answers questions about what is stored.
//!
//! Flow: [`promql`] reads and evaluates metric expressions over the store's door
//! `greylight_store::read`.

pub mod promql;
