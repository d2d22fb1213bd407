//! The write-ahead log: what is in it is stored, whatever happens next.
//!
//! A file is called after the sequence of its first frame and begins with its header, twice, so
//! that one flipped bit does not cost the file. Frames follow one another without gaps.
//!
//! | bytes | header (48 bytes, two copies) |
//! |---|---|
//! | 0..8 | `GLWAL\r\n\0` |
//! | 8..12 | version, 2 |
//! | 12..28 | salt: random, and part of every checksum in the file |
//! | 28..36 | sequence of the first frame |
//! | 36..44 | zero |
//! | 44..48 | CRC32C of the bytes before |
//!
//! | bytes | frame |
//! |---|---|
//! | 0..4 | `GLFR` |
//! | 4..8 | CRC32C of salt, bytes 12..28 and tenant |
//! | 8..12 | CRC32C of the payload, begun with the one before |
//! | 12..16 | length of the payload |
//! | 16..24 | sequence: one more than that of the frame before |
//! | 24 | kind: 1 samples, 2 log records |
//! | 25 | length of the tenant's name |
//! | 26 | 1 for the first of the frames that one sync made durable, else 0 |
//! | 27 | zero |
//! | 28.. | tenant's name, payload |
//!
//! Numbers are little-endian. The salt keeps a frame that someone sent as the text of a log record
//! from being taken for one of ours when a damaged place is searched for the next good frame.
//!
//! Version 1 is read as well: its batches have no histograms and no exemplars. A newer version is refused and left as
//! it is.

mod format;
mod recover;
mod scan;
mod writer;

pub(crate) use format::Kind;
pub(crate) use recover::{RecoverError, Recovered, Visit, recover};
pub(crate) use writer::{ClosedFiles, CommitError, Writer};

/// The folder of the log's files.
pub(crate) const FOLDER: &str = "wal";

/// The folder for copies of what was damaged.
pub(crate) const QUARANTINE: &str = "quarantine";

#[cfg(test)]
mod tests;
