//! What the receivers count, for our own `/metrics`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use greylight_store::model::Timestamp;
use greylight_wire::exposition::{MetricType, Writer};

use crate::error::{ERROR_NAMES, IngestError};
use crate::refusal::{Outcome, Reason};

/// A door that data comes in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Prometheus remote write 1.0.
    RemoteWrite1,
    /// Prometheus remote write 2.0.
    RemoteWrite2,
    /// OpenTelemetry over HTTP.
    OtlpHttp,
    /// OpenTelemetry over gRPC.
    OtlpGrpc,
    /// Loki push.
    Loki,
}

impl Protocol {
    /// Every door.
    pub const ALL: [Self; 5] =
        [Self::RemoteWrite1, Self::RemoteWrite2, Self::OtlpHttp, Self::OtlpGrpc, Self::Loki];

    /// The protocol's name in our metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::RemoteWrite1 => "remote_write_1",
            Self::RemoteWrite2 => "remote_write_2",
            Self::OtlpHttp => "otlp_http",
            Self::OtlpGrpc => "otlp_grpc",
            Self::Loki => "loki",
        }
    }
}

/// Status codes that are counted apart; any other one is counted under the last.
const CODES: [u16; 13] = [200, 204, 400, 401, 403, 408, 413, 415, 422, 429, 500, 503, 0];

/// Counters of the receivers, from the start of the process.
#[derive(Debug, Default)]
pub struct IngestStats {
    by_protocol: [Counters; Protocol::ALL.len()],
}

/// Something of one kind that was refused at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, in a word.
    pub reason: &'static str,
    /// Whether whole requests are counted, as against samples, records and what comes with them.
    pub is_request: bool,
    /// How many.
    pub count: u64,
}

#[derive(Debug, Default)]
struct Counters {
    requests: [AtomicU64; CODES.len()],
    samples: AtomicU64,
    samples_refused: AtomicU64,
    histograms: AtomicU64,
    exemplars: AtomicU64,
    records: AtomicU64,
    records_refused: AtomicU64,
    body_bytes: AtomicU64,
    decoded_bytes: AtomicU64,
    refused_items: [AtomicU64; Reason::ALL.len()],
    refused_requests: [AtomicU64; ERROR_NAMES.len()],
    /// When something was stored last, in nanoseconds; 0 for never.
    stored_at: AtomicI64,
}

impl IngestStats {
    fn of(&self, protocol: Protocol) -> &Counters {
        &self.by_protocol[protocol as usize]
    }

    pub(crate) fn answered(&self, protocol: Protocol, code: u16) {
        let slot = CODES.iter().position(|known| *known == code).unwrap_or(CODES.len() - 1);
        self.of(protocol).requests[slot].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn body(&self, protocol: Protocol, sent: usize, decoded: usize) {
        self.of(protocol).body_bytes.fetch_add(sent as u64, Ordering::Relaxed);
        self.of(protocol).decoded_bytes.fetch_add(decoded as u64, Ordering::Relaxed);
    }

    pub(crate) fn samples(&self, protocol: Protocol, stored: usize, refused: usize) {
        self.of(protocol).samples.fetch_add(stored as u64, Ordering::Relaxed);
        self.of(protocol).samples_refused.fetch_add(refused as u64, Ordering::Relaxed);
    }

    pub(crate) fn beside(&self, protocol: Protocol, histograms: usize, exemplars: usize) {
        self.of(protocol).histograms.fetch_add(histograms as u64, Ordering::Relaxed);
        self.of(protocol).exemplars.fetch_add(exemplars as u64, Ordering::Relaxed);
    }

    pub(crate) fn records(&self, protocol: Protocol, stored: usize, refused: usize) {
        self.of(protocol).records.fetch_add(stored as u64, Ordering::Relaxed);
        self.of(protocol).records_refused.fetch_add(refused as u64, Ordering::Relaxed);
    }

    /// Counts what became of a request.
    pub(crate) fn outcome(&self, protocol: Protocol, outcome: &Result<Outcome, IngestError>, now: Timestamp) {
        let counters = self.of(protocol);
        match outcome {
            Ok(outcome) => {
                for (reason, count) in outcome.refusals.counts() {
                    counters.refused_items[reason as usize].fetch_add(count as u64, Ordering::Relaxed);
                }
                if outcome.n_stored + outcome.n_exemplars > 0 {
                    counters.stored_at.store(now.as_nanos(), Ordering::Relaxed);
                }
            }
            Err(error) => {
                counters.refused_requests[error.name_index()].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Returns what was refused at a door, by reason; reasons that did not occur are left out.
    pub fn refusals_of(&self, protocol: Protocol) -> Vec<Refusal> {
        let counters = self.of(protocol);
        let items = Reason::ALL.into_iter().map(Reason::name).zip(&counters.refused_items);
        let requests = ERROR_NAMES.into_iter().zip(&counters.refused_requests);
        let all = items.map(|item| (false, item)).chain(requests.map(|request| (true, request)));
        all.map(|(is_request, (reason, count))| Refusal {
            reason,
            is_request,
            count: count.load(Ordering::Relaxed),
        })
        .filter(|refusal| refusal.count > 0)
        .collect()
    }

    /// Returns when something that came in by a door was last stored.
    pub fn stored_at(&self, protocol: Protocol) -> Option<Timestamp> {
        let at = self.of(protocol).stored_at.load(Ordering::Relaxed);
        (at != 0).then(|| Timestamp::from_nanos(at))
    }

    /// Returns how many samples were stored.
    pub fn n_samples(&self) -> u64 {
        Protocol::ALL.into_iter().map(|protocol| self.n_samples_of(protocol)).sum()
    }

    /// Returns how many log records were stored.
    pub fn n_records(&self) -> u64 {
        Protocol::ALL.into_iter().map(|protocol| self.n_records_of(protocol)).sum()
    }

    /// Returns how many samples came in by a door and were stored.
    pub fn n_samples_of(&self, protocol: Protocol) -> u64 {
        self.of(protocol).samples.load(Ordering::Relaxed)
    }

    /// Returns how many samples or data points came in by a door and were refused.
    pub fn n_samples_refused_of(&self, protocol: Protocol) -> u64 {
        self.of(protocol).samples_refused.load(Ordering::Relaxed)
    }

    /// Returns how many log records came in by a door and were stored.
    pub fn n_records_of(&self, protocol: Protocol) -> u64 {
        self.of(protocol).records.load(Ordering::Relaxed)
    }

    /// Returns how many log records came in by a door and were refused.
    pub fn n_records_refused_of(&self, protocol: Protocol) -> u64 {
        self.of(protocol).records_refused.load(Ordering::Relaxed)
    }

    /// Returns how many requests were answered through a door, whatever the answer.
    pub fn n_requests(&self, protocol: Protocol) -> u64 {
        self.of(protocol).requests.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Writes every counter as `greylight_ingest_*`.
    pub fn render(&self, page: &mut Writer) {
        page.family("greylight_ingest_requests", MetricType::Counter, "Requests, by door and status code.");
        for protocol in Protocol::ALL {
            for (code, count) in CODES.iter().zip(&self.of(protocol).requests) {
                let count = count.load(Ordering::Relaxed);
                let code = if *code == 0 { "other".to_owned() } else { code.to_string() };
                if count > 0 {
                    let labels = [("protocol", protocol.name()), ("code", &code)];
                    page.sample("greylight_ingest_requests_total", &labels, count as f64);
                }
            }
        }
        self.counter(page, "samples", "Samples that were stored.", |c| &c.samples);
        self.counter(page, "samples_refused", "Samples that were refused, each with its reason.", |c| {
            &c.samples_refused
        });
        self.counter(page, "histograms", "Samples that were stored and are native histograms.", |c| {
            &c.histograms
        });
        self.counter(page, "exemplars", "Exemplars that were stored.", |c| &c.exemplars);
        self.counter(page, "log_records", "Log records that were stored.", |c| &c.records);
        self.counter(
            page,
            "log_records_refused",
            "Log records that were refused, each with its reason.",
            |c| &c.records_refused,
        );
        page.family(
            "greylight_ingest_refusals",
            MetricType::Counter,
            "Samples, records and requests that were refused, by door and reason.",
        );
        for protocol in Protocol::ALL {
            for Refusal { reason, is_request, count } in self.refusals_of(protocol) {
                let what = if is_request { "request" } else { "item" };
                let labels = [("protocol", protocol.name()), ("reason", reason), ("what", what)];
                page.sample("greylight_ingest_refusals_total", &labels, count as f64);
            }
        }
        self.counter(page, "body_bytes", "Bytes of bodies as they were sent.", |c| &c.body_bytes);
        self.counter(page, "decoded_bytes", "Bytes of bodies after decompression.", |c| &c.decoded_bytes);
    }

    fn counter(&self, page: &mut Writer, name: &str, help: &str, of: impl Fn(&Counters) -> &AtomicU64) {
        page.family(&format!("greylight_ingest_{name}"), MetricType::Counter, help);
        let series = format!("greylight_ingest_{name}_total");
        for protocol in Protocol::ALL {
            let count = of(self.of(protocol)).load(Ordering::Relaxed);
            page.sample(&series, &[("protocol", protocol.name())], count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use greylight_wire::exposition::Format;

    #[test]
    fn counters_show_on_the_page() {
        let stats = IngestStats::default();
        stats.answered(Protocol::Loki, 204);
        stats.answered(Protocol::Loki, 418);
        stats.samples(Protocol::RemoteWrite1, 7, 2);
        stats.records(Protocol::Loki, 3, 0);
        stats.body(Protocol::OtlpHttp, 10, 40);
        let mut page = Writer::new(Format::PrometheusText);
        stats.render(&mut page);
        let page = page.finish();
        for line in [
            "greylight_ingest_requests_total{protocol=\"loki\",code=\"204\"} 1\n",
            "greylight_ingest_requests_total{protocol=\"loki\",code=\"other\"} 1\n",
            "greylight_ingest_samples_total{protocol=\"remote_write_1\"} 7\n",
            "greylight_ingest_samples_refused_total{protocol=\"remote_write_1\"} 2\n",
            "greylight_ingest_log_records_total{protocol=\"loki\"} 3\n",
            "greylight_ingest_decoded_bytes_total{protocol=\"otlp_http\"} 40\n",
        ] {
            assert!(page.contains(line), "{line}{page}");
        }
        assert_eq!(stats.n_samples_refused_of(Protocol::RemoteWrite1), 2);
        let now = Timestamp::from_millis(5);
        let mut outcome = Outcome { n_stored: 1, ..Outcome::default() };
        outcome.refusals.add(Reason::Time, 3, String::new);
        stats.outcome(Protocol::Loki, &Ok(outcome), now);
        stats.outcome(Protocol::Loki, &Err(IngestError::BodyTooLarge { limit: 1 }), now);
        let refusal = |reason, is_request, count| Refusal { reason, is_request, count };
        let want = [refusal("time", false, 3), refusal("body_too_large", true, 1)];
        assert_eq!(stats.refusals_of(Protocol::Loki), want);
        assert_eq!((stats.stored_at(Protocol::Loki), stats.stored_at(Protocol::OtlpHttp)), (Some(now), None));
        let mut page = Writer::new(Format::PrometheusText);
        stats.render(&mut page);
        let line = "greylight_ingest_refusals_total{protocol=\"loki\",reason=\"time\",what=\"item\"} 3\n";
        assert!(page.finish().contains(line));
        assert_eq!(stats.n_records_refused_of(Protocol::Loki), 0);
        assert_eq!((stats.n_samples(), stats.n_records(), stats.n_requests(Protocol::Loki)), (7, 3, 2));
    }
}
