//! Runs an agent for as long as the process lives.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, StartError};
use crate::clock::SystemClock;
use crate::config::{AgentConfig, ConfigError};

/// Why an agent ended other than by being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Its settings cannot be used.
    #[error("settings cannot be used")]
    Config(#[from] ConfigError),
    /// It did not start.
    #[error("the agent did not start")]
    Start(#[from] StartError),
    /// The system refused threads or signals.
    #[error("the system refused threads or signals")]
    System(#[from] std::io::Error),
}

/// Runs an agent with the settings of `config` and the environment until SIGTERM or SIGINT.
///
/// Blocks, and must not be called from within a runtime.
///
/// # Errors
/// [`RunError`] if the settings cannot be used or the agent does not start.
pub fn run(config: Option<&Path>) -> Result<(), RunError> {
    let config = AgentConfig::load(config, std::env::vars())?;
    // The work is small, and a machine's processors belong to what runs there.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let handle = Agent::start(config, Arc::new(SystemClock::default()), shutdown.clone()).await?;
        tracing::info!("the agent runs");
        stopped().await?;
        tracing::info!("the agent stops");
        shutdown.cancel();
        handle.join().await;
        Ok(())
    })
}

/// Returns when the process is told to end.
async fn stopped() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
