//! Container metrics.
