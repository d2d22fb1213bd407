//! What the agent counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that tasks add to or set.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Puts `n` in its place.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Returns it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($field:ident: $kind:ident $name:literal $help:literal,)*) => {
        /// All counts; shared by the tasks.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $help] pub $field: Count,)*
        }

        impl Counters {
            /// Returns each count with its family's name, kind and help.
            pub fn all(&self) -> Vec<(&'static str, Kind, &'static str, u64)> {
                vec![$(($name, Kind::$kind, $help, self.$field.get()),)*]
            }
        }
    };
}

/// Whether a count only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises.
    Counter,
    /// It goes up and down.
    Gauge,
}

counters! {
    tail_bytes: Counter "greylight_agent_tail_read_bytes_total" "Bytes read from log files.",
    tail_records: Counter "greylight_agent_tail_records_total" "Log records made of lines.",
    tail_truncations: Counter "greylight_agent_tail_truncations_total" "Log files that were truncated or written anew.",
    tail_bytes_lost: Counter "greylight_agent_tail_lost_bytes_total" "Bytes of rotated log files that were given up unread.",
    tail_read_errors: Counter "greylight_agent_tail_read_errors_total" "Failed reads of log files.",
    tail_blocked: Counter "greylight_agent_tail_blocked_total" "Turns in which no log file was read because the queue was full.",
    tail_files: Gauge "greylight_agent_tail_files" "Log files that are open.",
    tail_lag_bytes: Gauge "greylight_agent_tail_lag_bytes" "Bytes of log files that are written and not yet read.",
    queue_errors: Counter "greylight_agent_queue_errors_total" "Batches that the disk did not take at first.",
    samples: Counter "greylight_agent_samples_total" "Samples collected and scraped.",
    scrapes: Counter "greylight_agent_scrapes_total" "Scrapes of Prometheus endpoints.",
    scrapes_failed: Counter "greylight_agent_scrapes_failed_total" "Scrapes that gave no page, or one that is malformed.",
    collector_errors: Counter "greylight_agent_collector_errors_total" "Collector runs that failed.",
    metrics_sent: Counter "greylight_agent_sent_samples_total" "Samples that the server has acknowledged.",
    logs_sent: Counter "greylight_agent_sent_records_total" "Log records that the server has acknowledged.",
    metrics_refused: Counter "greylight_agent_refused_samples_total" "Samples that the server has refused for good.",
    logs_refused: Counter "greylight_agent_refused_records_total" "Log records that the server has refused for good.",
    metrics_oversized: Counter "greylight_agent_oversized_samples_total" "Samples that are too large for the server one by one, and were dropped.",
    logs_oversized: Counter "greylight_agent_oversized_records_total" "Log records that are too large for the server one by one, and were dropped.",
    send_retries: Counter "greylight_agent_send_retries_total" "Batches that must be sent again.",
}
