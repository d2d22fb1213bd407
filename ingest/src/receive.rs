//! From a body to the store: undoes the encoding, decodes, fills a batch, hands it to the store's door.

use std::sync::Arc;

use bytes::Bytes;
use greylight_store::append::Appender;
use greylight_store::model::{Caller, Clock, Scope, TenantId};
use greylight_wire::compress::{Caps, Encoding};
use greylight_wire::loki::{decode_json, decode_protobuf};
use greylight_wire::otlp::{
    self, ExportLogsServiceRequest, ExportMetricsServiceRequest, MetricOptions, translate_logs,
    translate_metrics,
};
use greylight_wire::remote_write::{Version, decode_v1, decode_v2};

use crate::admission::Admission;
use crate::agents::{AgentStatus, Agents, Brought, Sender};
use crate::buffers::{Buffers, Decoded};
use crate::config::{ConfigError, IngestConfig};
use crate::error::IngestError;
use crate::limits::Limits;
use crate::records;
use crate::refusal::{Outcome, Reason, Refusals};
use crate::samples::Intake;
use crate::stats::{IngestStats, Protocol};

/// Bodies up to this size are decoded where they are: well under half a millisecond of work, less than
/// handing it to another thread would cost.
const INLINE_BYTES_MAX: usize = 32 * 1024;

/// The receivers' shared state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ingest {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: IngestConfig,
    appender: Appender,
    clock: Arc<dyn Clock>,
    admission: Admission,
    stats: IngestStats,
    agents: Agents,
    buffers: Arc<Buffers>,
}

impl Ingest {
    /// Makes receivers that feed one store.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that is out of range.
    pub fn new(config: IngestConfig, appender: Appender, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        config.validate()?;
        let admission = Admission::new(&config, Arc::clone(&clock));
        let (stats, agents, buffers) = (IngestStats::default(), Agents::default(), Arc::default());
        Ok(Self { inner: Arc::new(Inner { config, appender, clock, admission, stats, agents, buffers }) })
    }

    /// Returns what was counted so far, to be shown on `/metrics`.
    pub fn stats(&self) -> &IngestStats {
        &self.inner.stats
    }

    /// Returns the agents of a tenant that have sent something, by name.
    pub fn agents(&self, tenant: &TenantId) -> Vec<AgentStatus> {
        self.inner.agents.list(tenant)
    }

    /// Counts what became of a request.
    pub(crate) fn note(
        &self,
        protocol: Protocol,
        sender: Option<Sender>,
        outcome: &Result<Outcome, IngestError>,
    ) {
        let now = self.inner.clock.now();
        self.inner.stats.outcome(protocol, outcome, now);
        let Some(sender) = sender else { return };
        let mut brought = Brought::default();
        if let Ok(outcome) = outcome {
            let n_stored = outcome.n_stored as u64;
            // Agents send metrics by remote write and logs by OTLP.
            match protocol {
                Protocol::RemoteWrite1 | Protocol::RemoteWrite2 => brought.n_samples = n_stored,
                Protocol::OtlpHttp | Protocol::OtlpGrpc | Protocol::Loki => brought.n_records = n_stored,
            }
            brought.n_refused = outcome.refusals.n_items() as u64;
        }
        self.inner.agents.heard(sender, brought, now);
    }

    /// Says how many requests are being received.
    pub fn n_requests(&self) -> usize {
        self.inner.admission.n_requests()
    }

    pub(crate) fn config(&self) -> &IngestConfig {
        &self.inner.config
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.inner.admission
    }

    /// Waits while the store is behind, and fails if it would take nothing, so that no body is read in vain.
    pub(crate) async fn store_ready(&self) -> Result<(), IngestError> {
        Ok(self.inner.appender.ready().await?)
    }

    /// Receives a remote write body, still compressed.
    pub(crate) async fn remote_write(
        &self,
        tenant: &TenantId,
        version: Version,
        body: Bytes,
    ) -> Result<Outcome, IngestError> {
        let (caps, limits) = (self.inner.config.caps(), self.limits());
        let protocol = match version {
            Version::V1 => Protocol::RemoteWrite1,
            Version::V2 => Protocol::RemoteWrite2,
        };
        let own = self.clone();
        let intake = self
            .decode(body.len(), move || {
                let body = own.decompress(protocol, Encoding::Snappy, body, caps)?;
                let mut intake = own.intake(limits);
                match version {
                    Version::V1 => decode_v1(&body, &mut intake)?,
                    Version::V2 => decode_v2(&body, &mut intake)?,
                }
                Ok(intake)
            })
            .await?;
        self.store_metrics(protocol, tenant, intake).await
    }

    /// Receives OTLP metrics over HTTP.
    pub(crate) async fn otlp_metrics(
        &self,
        tenant: &TenantId,
        format: otlp::Encoding,
        encoding: Encoding,
        body: Bytes,
    ) -> Result<Outcome, IngestError> {
        let (caps, limits) = (self.inner.config.caps(), self.limits());
        let options = self.inner.config.metric_options();
        let own = self.clone();
        let intake = self
            .decode(body.len(), move || {
                let body = own.decompress(Protocol::OtlpHttp, encoding, body, caps)?;
                let request = otlp::decode(format, &body)?;
                Ok(metric_intake(&request, &options, own.intake(limits)))
            })
            .await?;
        self.store_metrics(Protocol::OtlpHttp, tenant, intake).await
    }

    /// Receives OTLP metrics that gRPC has decoded.
    pub(crate) async fn otlp_metrics_message(
        &self,
        tenant: &TenantId,
        request: ExportMetricsServiceRequest,
    ) -> Result<Outcome, IngestError> {
        let options = self.inner.config.metric_options();
        let intake = self.intake(self.limits());
        let intake = self.decode(usize::MAX, move || Ok(metric_intake(&request, &options, intake))).await?;
        self.store_metrics(Protocol::OtlpGrpc, tenant, intake).await
    }

    /// Receives OTLP logs over HTTP.
    pub(crate) async fn otlp_logs(
        &self,
        tenant: &TenantId,
        format: otlp::Encoding,
        encoding: Encoding,
        body: Bytes,
    ) -> Result<Outcome, IngestError> {
        let (caps, limits) = (self.inner.config.caps(), self.limits());
        let options = self.inner.config.log_options();
        let own = self.clone();
        let (batch, refusals) = self
            .decode(body.len(), move || {
                let body = own.decompress(Protocol::OtlpHttp, encoding, body, caps)?;
                let request = otlp::decode(format, &body)?;
                Ok(records::intake(translate_logs(request, &options), &limits))
            })
            .await?;
        self.store_logs(Protocol::OtlpHttp, tenant, batch, refusals).await
    }

    /// Receives OTLP logs that gRPC has decoded.
    pub(crate) async fn otlp_logs_message(
        &self,
        tenant: &TenantId,
        request: ExportLogsServiceRequest,
    ) -> Result<Outcome, IngestError> {
        let options = self.inner.config.log_options();
        let limits = self.limits();
        let (batch, refusals) = self
            .decode(usize::MAX, move || Ok(records::intake(translate_logs(request, &options), &limits)))
            .await?;
        self.store_logs(Protocol::OtlpGrpc, tenant, batch, refusals).await
    }

    /// Receives a Loki push; `encoding` is undone first, then snappy for protobuf.
    pub(crate) async fn loki(
        &self,
        tenant: &TenantId,
        format: otlp::Encoding,
        encoding: Encoding,
        body: Bytes,
    ) -> Result<Outcome, IngestError> {
        let (caps, limits) = (self.inner.config.caps(), self.limits());
        let options = self.inner.config.loki_options();
        let own = self.clone();
        let (batch, refusals) = self
            .decode(body.len(), move || {
                let body = own.decompress(Protocol::Loki, encoding, body, caps)?;
                let streams = match format {
                    otlp::Encoding::Json => decode_json(&body, options)?,
                    otlp::Encoding::Protobuf => {
                        let body = own.inner.buffers.decode(Encoding::Snappy, &body, caps)?;
                        decode_protobuf(&body, options)?
                    }
                };
                Ok(records::intake(streams, &limits))
            })
            .await?;
        self.store_logs(Protocol::Loki, tenant, batch, refusals).await
    }

    fn limits(&self) -> Limits {
        Limits::new(&self.inner.config, self.inner.clock.now())
    }

    fn intake(&self, limits: Limits) -> Intake {
        Intake::new(self.inner.appender.empty_batch(), limits)
    }

    /// Undoes an encoding and counts the bytes on both sides of it.
    fn decompress(
        &self,
        protocol: Protocol,
        encoding: Encoding,
        body: Bytes,
        caps: Caps,
    ) -> Result<Decoded, IngestError> {
        let sent_bytes = body.len();
        let decoded = if encoding == Encoding::Identity {
            Decoded::from(body)
        } else {
            self.inner.buffers.decode(encoding, &body, caps)?
        };
        self.inner.stats.body(protocol, sent_bytes, decoded.len());
        Ok(decoded)
    }

    /// Runs a decoder: in place for small bodies, else on a thread that may be kept busy.
    async fn decode<T: Send + 'static>(
        &self,
        body_bytes: usize,
        decoder: impl FnOnce() -> Result<T, IngestError> + Send + 'static,
    ) -> Result<T, IngestError> {
        if body_bytes <= INLINE_BYTES_MAX {
            return decoder();
        }
        let _turn = self.inner.admission.decoders.acquire().await.map_err(|_| IngestError::Died)?;
        tokio::task::spawn_blocking(decoder).await.map_err(|_| IngestError::Died)?
    }

    async fn store_metrics(
        &self,
        protocol: Protocol,
        tenant: &TenantId,
        intake: Intake,
    ) -> Result<Outcome, IngestError> {
        let Intake { batch, refusals, n_stale_histograms, .. } = intake;
        let n_stored = batch.n_samples();
        let (n_histograms, n_exemplars) =
            (batch.n_histograms() + n_stale_histograms, batch.exemplars().len());
        self.inner.appender.metrics(tenant, batch).await?;
        self.inner.stats.samples(protocol, n_stored, refusals.n_items());
        self.inner.stats.beside(protocol, n_histograms, n_exemplars);
        Ok(Outcome { n_stored, n_histograms, n_exemplars, refusals })
    }

    async fn store_logs(
        &self,
        protocol: Protocol,
        tenant: &TenantId,
        batch: greylight_store::append::LogBatch,
        refusals: Refusals,
    ) -> Result<Outcome, IngestError> {
        let n_stored = batch.records.len();
        self.inner.appender.logs(tenant, batch).await?;
        self.inner.stats.records(protocol, n_stored, refusals.n_items());
        Ok(Outcome { n_stored, refusals, ..Outcome::default() })
    }
}

fn metric_intake(
    request: &ExportMetricsServiceRequest,
    options: &MetricOptions,
    mut intake: Intake,
) -> Intake {
    let refused = translate_metrics(request, options, &mut intake);
    if !refused.reasons.is_empty() {
        // The translator has counted points and exemplars and put its reasons into words.
        let text = refused.reasons.join("; ");
        let (reason, count) = match refused.n_points {
            0 => (Reason::Exemplar, refused.n_exemplars),
            n_points => (Reason::Point, n_points),
        };
        intake.refusals.add(reason, count, || text);
    }
    intake
}

/// Lets through whoever may write.
pub(crate) fn authorise(caller: Option<&Caller>) -> Result<&Caller, IngestError> {
    let caller = caller.ok_or(IngestError::Unauthorized)?;
    if caller.scopes.allow(Scope::Write) { Ok(caller) } else { Err(IngestError::Forbidden) }
}
