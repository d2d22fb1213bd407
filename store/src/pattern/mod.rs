//! Splits log text into a constant pattern and its variables, and groups patterns for people.
//!
//! Stage 1, [`Splitter`], is a pure function of one line: equal lines give equal patterns on every
//! node and after every restart, so the hash of a pattern's bytes, [`PatternId`], is its name
//! everywhere. The split loses nothing: [`restore`] gives the line back byte for byte. A record with a
//! stack trace keeps the exception and the frame that threw it, and nothing else of the trace.
//!
//! Stage 2, [`Templates`], works on distinct patterns only. It finds which words of similar
//! patterns are values after all and joins those patterns into templates with ids that stay.
//!
//! Beside them: [`Learner`] finds which leading columns of a stream are no message, [`words()`] cuts
//! text for the index and for queries alike, and [`TokenClass`] says what a variable is, by which
//! the index decides where to keep it.

mod bytes;
mod split;
mod structured;
mod run;
mod date;
mod trace;
mod shape;
mod header;
mod class;
mod words;
pub mod templates;

pub use class::TokenClass;
pub use header::{Header, HeaderError, Learner, message_start};
pub use split::{PatternId, Span, Split, Splitter, VARIABLE, restore};
pub use structured::{FieldSlot, MessageField, fields_of, message_field, message_of};
pub use templates::{TemplateId, TemplateIdError, Templates, coarse_end};
pub(crate) use words::{WORD_BYTES_MAX, WordPlace, classify, is_cjk, shows_letters, word_place};
pub use words::{for_each_word, words};
