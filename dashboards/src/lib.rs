//! The pages, and the handler that serves them.
//!
//! The web application lives in `web`; its build is committed in `dist` and embedded here, so that
//! `cargo build` needs no node. Flow: [`assets`] holds the embedded files with their tags and
//! compressed forms, [`http`] answers requests for them.
//!
//! Invariant: nothing here knows the APIs; the pages call them from the browser.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod assets;
pub mod http;
