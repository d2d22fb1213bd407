//! Collects every crate's section. Defaults, then file, then environment, then flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::auth::AuthConfig;

/// Prefix of variables: `GREYLIGHT_STORE__SEAL_AGE=10m` sets `seal_age` in `[store]`.
const PREFIX: &str = "GREYLIGHT_";

/// The whole configuration of a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Listeners and the data folder.
    pub(crate) server: ServerConfig,
    /// Who may come in.
    pub(crate) auth: AuthConfig,
    /// The store.
    pub(crate) store: greylight_store::StoreConfig,
    /// The receivers.
    pub(crate) ingest: greylight_ingest::IngestConfig,
    /// Queries and their limits.
    pub(crate) query: greylight_query::QueryConfig,
    /// Release analysis.
    pub(crate) analyzer: greylight_analyzer::AnalyzerConfig,
    /// Outgoing webhooks.
    pub(crate) deliveries: greylight_analyzer::DeliveriesConfig,
    /// Anomaly rules.
    pub(crate) anomaly: Vec<greylight_analyzer::AnomalyConfig>,
    /// Prometheus rule files.
    pub(crate) rules: greylight_analyzer::RulesConfig,
    /// Other stores that checks may read.
    pub(crate) sources: Vec<greylight_analyzer::SourceConfig>,
}

/// Listeners and the data folder: section `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerConfig {
    /// Address of pages and APIs. Default `127.0.0.1:4680`.
    pub(crate) listen: SocketAddr,
    /// Address of OTLP over gRPC, or `off`. Default `127.0.0.1:4317`.
    pub(crate) grpc_listen: GrpcListen,
    /// Folder that holds everything stored. Default `./greylight-data`.
    pub(crate) data: PathBuf,
    /// Listen on any address although no tokens are configured. Default false.
    pub(crate) insecure: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4680)),
            grpc_listen: GrpcListen(Some(SocketAddr::from(([127, 0, 0, 1], 4317)))),
            data: PathBuf::from("./greylight-data"),
            insecure: false,
        }
    }
}

/// An address, or `off`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct GrpcListen(pub(crate) Option<SocketAddr>);

impl TryFrom<String> for GrpcListen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let address = text
            .parse()
            .map_err(|_| format!("{text:?} is neither an address such as 127.0.0.1:4317 nor off"))?;
        Ok(Self(Some(address)))
    }
}

impl Config {
    /// Reads the file, where one is named, and lays the environment over it.
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let text = match file {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?
            }
            None => String::new(),
        };
        let variables: Vec<(String, String)> =
            std::env::vars().filter(|(name, _)| name.contains("__")).collect();
        let mut config = Self::parse(&text, &variables).with_context(|| match file {
            Some(path) => format!("configuration file {}", path.display()),
            None => "configuration from the environment".to_string(),
        })?;
        config.rules.folder = folder_of(file);
        Ok(config)
    }

    /// Parses a file's text with variables laid over it, and checks what can be checked alone.
    pub(crate) fn parse(text: &str, variables: &[(String, String)]) -> anyhow::Result<Self> {
        let mut table: toml::Table = toml::from_str(text)?;
        let mut changed = false;
        for (name, value) in variables {
            changed |= overlay(&mut table, name, value)?;
        }
        // Straight from the text where possible: its errors show the line.
        let mut config: Self = if changed { table.try_into()? } else { toml::from_str(text)? };
        greylight_analyzer::check_sources(&config.sources)?;
        config.analyzer.sources = std::mem::take(&mut config.sources);
        crate::auth::Gatekeeper::new(&config.auth)?;
        Ok(config)
    }
}

/// Returns the folder that relative paths of rule files begin in: the configuration file's.
pub(crate) fn folder_of(file: Option<&Path>) -> PathBuf {
    file.and_then(Path::parent).map(Path::to_owned).unwrap_or_default()
}

/// Sets one key from a variable such as `GREYLIGHT_STORE__SEAL_AGE`; other variables are left alone.
fn overlay(table: &mut toml::Table, name: &str, value: &str) -> anyhow::Result<bool> {
    let Some((section, key)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once("__")) else {
        return Ok(false);
    };
    let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
    // The agent in the same environment has variables of its own.
    if section == "agent" || section == "test" {
        return Ok(false);
    }
    let parsed = toml::from_str::<toml::Table>(&format!("v = {value}")).ok().and_then(|mut t| t.remove("v"));
    let entry = table.entry(section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let section = entry.as_table_mut().with_context(|| format!("{name}: {section:?} is no section"))?;
    section.insert(key, parsed.unwrap_or_else(|| toml::Value::String(value.into())));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_over_the_file() {
        let variables = [("GREYLIGHT_SERVER__LISTEN".to_string(), "127.0.0.1:1".to_string())];
        let config =
            Config::parse("[server]\nlisten = \"127.0.0.1:2\"\ngrpc_listen = \"off\"", &variables).unwrap();
        assert_eq!(config.server.listen.port(), 1);
        assert!(config.server.grpc_listen.0.is_none());
    }

    #[test]
    fn a_typing_error_is_named_with_its_line() {
        let error = format!("{:#}", Config::parse("[server]\nlisen = \"127.0.0.1:2\"", &[]).unwrap_err());
        assert!(error.contains("lisen") && error.contains("line 2"), "{error}");
        let variables = [("GREYLIGHT_SERVER__LISEN".to_string(), "x".to_string())];
        assert!(format!("{:#}", Config::parse("", &variables).unwrap_err()).contains("lisen"));
    }

    #[test]
    fn the_sample_file_is_valid() {
        let config = Config::parse(include_str!("../docs/examples/greylight.toml"), &[]).unwrap();
        assert_eq!(config.anomaly.len(), 1);
        assert_eq!(config.auth.tokens.len(), 1);
    }

    #[test]
    fn the_page_of_sources_shows_what_can_be_used() {
        let page = include_str!("../docs/sources.md");
        let (_, from) = page.split_once("    [[sources]]").unwrap();
        let block: Vec<&str> =
            from.lines().skip(1).take_while(|l| l.is_empty() || l.starts_with("    ")).collect();
        let config = Config::parse(&format!("[[sources]]\n{}", block.join("\n")), &[]).unwrap();
        assert_eq!(config.analyzer.sources.len(), 3);
    }

    #[test]
    fn wrong_sources_are_named() {
        let source = |more: &str| format!("[[sources]]\nname = \"a\"\nkind = \"loki\"\n{more}");
        let parsed = Config::parse(&source("url = \"http://h:3100\""), &[]).unwrap();
        assert_eq!(parsed.analyzer.sources.len(), 1);
        let wrong = |text: &str| format!("{:#}", Config::parse(text, &[]).unwrap_err());
        let error = wrong(&source("url = \"h\""));
        assert!(error.starts_with("[[sources]] \"a\": url: "), "{error}");
        let error = wrong(&source("url = \"http://h\"").replace("loki", "graphite"));
        assert!(error.contains("unknown variant `graphite`") && error.contains("elasticsearch"), "{error}");
        let error = wrong(&source("url = \"http://h\"\nlabel = 1"));
        assert!(error.contains("unknown field `label`"), "{error}");
    }

    #[test]
    fn a_wrong_address_is_named() {
        let error = format!("{:#}", Config::parse("[server]\ngrpc_listen = \"of\"", &[]).unwrap_err());
        assert!(error.contains("\"of\""), "{error}");
    }
}
