//! Bounds on what is received at once: requests, the memory of their bodies, decoders.
//!
//! Full means: a further request is refused at once; one whose body finds no room waits a little, then is
//! refused too; a decoded request waits for a decoder, which only requests already counted can do.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use greylight_store::model::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{IngestConfig, bytes};
use crate::error::IngestError;

/// A permit stands for so many bytes, since a semaphore counts in 32 bits.
const PERMIT_BYTES: usize = 1024;

/// Decoders at work at once, for each core: twice, so that one that waits for memory costs nothing.
const DECODERS_PER_CORE: usize = 2;

/// The bounds.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    requests_max: usize,
    room: Arc<Semaphore>,
    room_bytes: usize,
    room_wait_max: Duration,
    clock: Arc<dyn Clock>,
    pub(crate) decoders: Semaphore,
}

/// A request's share of the bounds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _request: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(config: &IngestConfig, clock: Arc<dyn Clock>) -> Self {
        let room_bytes = bytes(config.in_flight_bytes_max);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            requests: Arc::new(Semaphore::new(config.requests_max)),
            requests_max: config.requests_max,
            room: Arc::new(Semaphore::new(room_bytes / PERMIT_BYTES)),
            room_bytes,
            room_wait_max: config.room_wait_max,
            clock,
            decoders: Semaphore::new(cores * DECODERS_PER_CORE),
        }
    }

    /// Lets a request in that may take `body_bytes` of memory.
    pub(crate) async fn enter(&self, body_bytes: usize) -> Result<Admitted, IngestError> {
        let request = Arc::clone(&self.requests)
            .try_acquire_owned()
            .map_err(|_| IngestError::TooManyRequests { limit: self.requests_max })?;
        let full = || IngestError::TooManyBytes { limit: self.room_bytes };
        let permits = u32::try_from(body_bytes.min(self.room_bytes) / PERMIT_BYTES).map_err(|_| full())?;
        let room = Arc::clone(&self.room).acquire_many_owned(permits);
        let room = self.within(self.room_wait_max, room).await.ok_or_else(full)?.map_err(|_| full())?;
        Ok(Admitted { _request: request, _room: room })
    }

    /// Waits for `work`, but no longer than `span`.
    pub(crate) async fn within<T>(&self, span: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.clock.sleep(span) => None,
        }
    }

    /// Says how many requests are being received.
    pub(crate) fn n_requests(&self) -> usize {
        self.requests_max - self.requests.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use greylight_store::ByteSize;
    use greylight_store::model::{ManualClock, Timestamp};

    #[tokio::test]
    async fn each_bound_refuses_and_gives_back() {
        let config = IngestConfig {
            requests_max: 2,
            in_flight_bytes_max: ByteSize(64 << 10),
            room_wait_max: Duration::ZERO,
            ..IngestConfig::default()
        };
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
        let admission = Admission::new(&config, clock);
        let one = admission.enter(40 << 10).await.expect("room");
        let error = admission.enter(40 << 10).await.expect_err("no room");
        assert!(error.to_string().contains("the limit is 65536"), "{error}");
        let two = admission.enter(1 << 10).await.expect("room");
        assert_eq!(admission.n_requests(), 2);
        let error = admission.enter(0).await.expect_err("too many");
        assert!(error.to_string().contains("the limit is 2"), "{error}");
        drop((one, two));
        admission.enter(usize::MAX).await.expect("a body larger than all room waits for all of it");
    }
}
