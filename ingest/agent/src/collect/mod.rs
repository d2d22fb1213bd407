//! Reads what the kernel tells about a host and its containers.

pub mod container;
pub mod host;
mod read;
