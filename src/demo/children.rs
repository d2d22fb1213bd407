//! The processes of the demo: a server and an agent, as anyone would run them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use greylight_store::model::Random;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::world::LogPlan;

/// The running processes. They are killed when this is dropped, and end in order by [`stop`](Self::stop).
#[derive(Debug)]
pub(crate) struct Children {
    server: Child,
    agent: Child,
    url: String,
    folder: PathBuf,
}

impl Children {
    /// Starts server and agent with files in the demo's folder.
    pub(crate) async fn start(listen: SocketAddr, folder: &Path, logs: &[LogPlan]) -> anyhow::Result<Self> {
        let config = folder.join("greylight.toml");
        // The deploy tool of the demo listens on loopback, where webhooks go only if they are allowed to.
        tokio::fs::write(&config, "[deliveries]\nallow = [\"127.0.0.1\"]\n")
            .await
            .context("writing the configuration")?;
        let mut server = program()?
            .args(["serve", "--listen", &listen.to_string(), "--grpc-listen", "off", "--data"])
            .arg(folder.join("data"))
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(log_file(folder, "server.log")?)
            .spawn()
            .context("starting the server")?;
        let out = server.stdout.take().context("the server has no standard output")?;
        let line = BufReader::new(out).lines().next_line().await?.unwrap_or_default();
        let Ok(addresses) = serde_json::from_str::<Value>(&line) else {
            let log = tokio::fs::read_to_string(folder.join("server.log")).await.unwrap_or_default();
            anyhow::bail!("the server did not start: {}", log.trim());
        };
        let url = format!("http://{}", addresses["http"].as_str().unwrap_or_default());
        let agent_config = folder.join("agent.toml");
        tokio::fs::write(&agent_config, agent_toml(&url, folder, logs))
            .await
            .context("writing the agent's configuration")?;
        let agent = program()?
            .args(["agent", "--config"])
            .arg(&agent_config)
            .stdout(Stdio::null())
            .stderr(log_file(folder, "agent.log")?)
            .spawn()
            .context("starting the agent")?;
        Ok(Self { server, agent, url, folder: folder.to_path_buf() })
    }

    /// Returns where the server answers.
    pub(crate) fn server_url(&self) -> String {
        self.url.clone()
    }

    /// Fails when a process has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for (name, child) in [("server", &mut self.server), ("agent", &mut self.agent)] {
            if let Some(status) = child.try_wait()? {
                let log =
                    std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                anyhow::bail!(
                    "the {name} ended ({status}): {}",
                    tail.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
        }
        Ok(())
    }

    /// Ends agent and server as an operator would.
    pub(crate) async fn stop(mut self) {
        for child in [&mut self.agent, &mut self.server] {
            let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
            if let Some(pid) = pid {
                // A process that has ended already needs no signal.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = child.wait().await;
        }
    }
}

fn program() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

fn log_file(folder: &Path, name: &str) -> anyhow::Result<Stdio> {
    let path = folder.join(name);
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    Ok(opened.with_context(|| format!("opening {}", path.display()))?.into())
}

/// The agent's configuration: this host, the shop's endpoints four times a second, its log files.
fn agent_toml(server: &str, folder: &Path, logs: &[LogPlan]) -> String {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let mut out = format!(
        "[agent]\nname = \"demo-host\"\ndata = {}\n\n[agent.server]\nurl = \"{server}\"\n\n\
         [agent.queue]\nmetrics_flush = \"100ms\"\n\n\
         [[agent.scrape]]\njob = \"shop\"\ninterval = \"250ms\"\ntimeout = \"250ms\"\ntarget_files = [{}]\n\
         refresh = \"250ms\"\n\n[agent.tail]\npoll = \"100ms\"\ndiscovery = \"250ms\"\nflush = \"100ms\"\n",
        quoted(&folder.join("agent")),
        quoted(&folder.join("targets.json")),
    );
    for plan in logs {
        let labels: Vec<String> =
            plan.labels.iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
        let access = plan.labels.get("log").is_some_and(|log| log == "access");
        let format = if access { "json" } else { "plain" };
        out.push_str(&format!(
            "\n[[agent.logs]]\npaths = [{}]\nformat = \"{format}\"\nmultiline = \"off\"\nlabels = {{ {} }}\n",
            quoted(&plan.path),
            labels.join(", ")
        ));
    }
    out
}

/// A folder that goes when the demo ends.
#[derive(Debug)]
pub(crate) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Makes the folder under the system's place for such.
    pub(crate) fn make(random: &dyn Random) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("greylight-demo-{:016x}", random.next_u64()));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which cleans this place.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
