//! The customers: requests at a steady mean rate, independent of how fast answers come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use greylight_store::model::{Clock, Random};

/// Requests a second.
pub(crate) const RATE: f64 = 400.0;
/// Requests under way at once; past it customers wait, as they would at a dead shop.
const UNDER_WAY_MAX: usize = 512;

/// Customers that keep coming until this is dropped.
#[derive(Debug)]
pub(crate) struct Traffic(tokio::task::JoinHandle<()>);

impl Traffic {
    /// Lets customers come through the proxy.
    pub(crate) fn start(
        proxy: SocketAddr,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self(tokio::spawn(async move {
            let slots = Arc::new(tokio::sync::Semaphore::new(UNDER_WAY_MAX));
            let mut next = clock.elapsed();
            loop {
                // Exponential gaps make a Poisson stream, which is what independent customers are.
                let part = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                next += Duration::from_secs_f64(-(1.0 - part).ln() / RATE);
                clock.sleep(next.saturating_sub(clock.elapsed())).await;
                let Ok(slot) = slots.clone().acquire_owned().await else { return };
                let page = match random.next_u64() % 4 {
                    0 => "cart".to_string(),
                    1 => format!("items/{}", random.next_u64() % 500),
                    2 => "checkout".to_string(),
                    _ => "search".to_string(),
                };
                let request = http.get(format!("http://{proxy}/{page}"));
                tokio::spawn(async move {
                    if let Ok(answer) = request.send().await {
                        let _ = answer.bytes().await;
                    }
                    drop(slot);
                });
            }
        })))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.abort();
    }
}
