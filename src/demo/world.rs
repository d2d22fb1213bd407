//! The world that the demo's server watches: instances, proxy, customers, files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use greylight_store::model::{Clock, OsRandom};
use serde_json::json;

use super::Faults;
use super::proxy::{Proxy, Shares};
use super::shop::{Instance, Shop, log_file};
use super::traffic::Traffic;

/// The instances, in order.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

/// Everything outside of the server and the agent.
#[derive(Debug)]
pub(crate) struct World {
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    shops: BTreeMap<&'static str, Running>,
    proxy: Proxy,
    /// The version that all instances run but for the canary.
    released: (String, Faults),
    n_versions: usize,
    _traffic: Traffic,
}

#[derive(Debug)]
struct Running {
    shop: Option<Shop>,
    address: SocketAddr,
    version: String,
}

/// One log file that will be written, and the labels of its records.
#[derive(Debug, Clone)]
pub(crate) struct LogPlan {
    pub(crate) path: PathBuf,
    pub(crate) labels: BTreeMap<&'static str, String>,
}

impl World {
    /// Starts version 1 on all instances and lets customers come.
    pub(crate) async fn start(folder: PathBuf, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        tokio::fs::create_dir_all(folder.join("logs")).await.context("making the folder of the logs")?;
        let released = ("1".to_string(), Faults::default());
        let mut shops = BTreeMap::new();
        for name in NAMES {
            let instance = Instance {
                name,
                version: released.0.clone(),
                faults: released.1,
                folder: folder.join("logs"),
            };
            let free = SocketAddr::from(([127, 0, 0, 1], 0));
            let shop = Shop::start(instance, free, clock.clone(), Arc::new(OsRandom)).await?;
            let address = shop.address();
            shops.insert(name, Running { shop: Some(shop), address, version: released.0.clone() });
        }
        let proxy = Proxy::start(Shares::new(), Arc::new(OsRandom)).await?;
        let traffic = Traffic::start(proxy.address(), clock.clone(), Arc::new(OsRandom))?;
        let world = Self { clock, folder, shops, proxy, released, n_versions: 1, _traffic: traffic };
        world.thirds();
        world.write_targets().await?;
        Ok(world)
    }

    /// Returns the version that is released.
    pub(crate) fn version(&self) -> &str {
        &self.released.0
    }

    /// Names the next version.
    pub(crate) fn next_version(&mut self) -> String {
        self.n_versions += 1;
        self.n_versions.to_string()
    }

    /// Restarts one instance in place with a version.
    pub(crate) async fn deploy(
        &mut self,
        name: &'static str,
        version: &str,
        faults: Faults,
    ) -> anyhow::Result<()> {
        let running = self.shops.get_mut(name).context("no such instance")?;
        if let Some(shop) = running.shop.take() {
            shop.stop().await;
        }
        let instance =
            Instance { name, version: version.to_string(), faults, folder: self.folder.join("logs") };
        let shop = Shop::start(instance, running.address, self.clock.clone(), Arc::new(OsRandom)).await?;
        running.shop = Some(shop);
        running.version = version.to_string();
        self.write_targets().await
    }

    /// Brings the other instances to the canary's version.
    pub(crate) async fn promote(&mut self, version: &str, faults: Faults) -> anyhow::Result<()> {
        self.released = (version.to_string(), faults);
        for name in ["a", "c"] {
            self.deploy(name, version, faults).await?;
        }
        Ok(())
    }

    /// Brings an instance back to the released version.
    pub(crate) async fn take_back(&mut self, name: &'static str) -> anyhow::Result<()> {
        let (version, faults) = self.released.clone();
        self.deploy(name, &version, faults).await
    }

    /// Gives instance b a share of the requests; a and c halve the rest.
    pub(crate) fn split(&self, b: f64) {
        let rest = (1.0 - b) / 2.0;
        self.proxy
            .split(NAMES.iter().map(|&n| (self.shops[n].address, if n == "b" { b } else { rest })).collect());
    }

    /// Shares requests evenly.
    pub(crate) fn thirds(&self) {
        self.split(1.0 / 3.0);
    }

    /// Writes the file in which the agent finds its scrape targets.
    async fn write_targets(&self) -> anyhow::Result<()> {
        let groups: Vec<_> = self
            .shops
            .iter()
            .map(|(name, running)| {
                json!({ "targets": [running.address.to_string()],
                    "labels": { "job": "shop", "instance": name, "service_name": "shop", "service_version": running.version } })
            })
            .collect();
        // Renamed into place, so that the agent never reads half a file.
        let (path, temp) = (self.targets(), self.folder.join("targets.json.tmp"));
        tokio::fs::write(&temp, serde_json::to_vec_pretty(&groups)?).await.context("writing the targets")?;
        tokio::fs::rename(&temp, &path).await.context("putting the targets in place")
    }

    /// Returns the path of the target file.
    pub(crate) fn targets(&self) -> PathBuf {
        self.folder.join("targets.json")
    }

    /// Lists every log file that `n_versions` versions on all instances will write.
    pub(crate) fn log_plan(&self, n_versions: usize) -> Vec<LogPlan> {
        let mut plan = Vec::new();
        for version in 1..=n_versions {
            for name in NAMES {
                for log in ["access", "app"] {
                    let version = version.to_string();
                    let path = log_file(&self.folder.join("logs"), name, &version, log);
                    let labels = [
                        ("service_name", "shop".to_string()),
                        ("service_version", version),
                        ("instance", name.to_string()),
                        ("log", log.to_string()),
                    ];
                    plan.push(LogPlan { path, labels: labels.into() });
                }
            }
        }
        plan
    }
}
