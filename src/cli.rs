//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Release analysis and observability in one binary.
///
/// Agents ship metrics and logs to a server; it stores them, answers PromQL, log searches and SQL,
/// and says whether a release may go on: go, no-go, or not known yet, with the evidence.
///
/// See it work on this machine: `greylight demo`.
#[derive(Debug, Parser)]
#[command(name = "greylight", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server: receivers, store, queries, release analysis, pages.
    Serve(Serve),
    /// Run the agent: ship this host's metrics and logs to a server.
    Agent(Agent),
    /// Watch the whole loop on this machine: a good release gets a go, a bad one a no-go.
    Demo(Demo),
    /// Wait for a release's verdict. Exits 0 on go, 1 on no-go, 2 on inconclusive, 3 on an error.
    Gate(Gate),
    /// Start, list, show and steer releases.
    #[command(subcommand)]
    Release(Release),
    /// Judge a file of policy and data, without a server.
    Judge(Judge),
    /// Try a policy on stored history: how often it refuses good releases, and what harm it finds.
    Backtest(Backtest),
    /// Ask the server in PromQL, log search or SQL.
    #[command(subcommand)]
    Query(Query),
    /// Look after a data folder.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Check configuration, policy or agent files before they are used.
    Check(Check),
    /// Make a token for `[auth] tokens`: prints it once, and the line for the file.
    Token(Token),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address of pages and APIs. Another than loopback needs tokens or --insecure.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address of OTLP over gRPC, or `off`.
    #[arg(long, value_name = "ADDR|off")]
    pub(crate) grpc_listen: Option<String>,
    /// Folder that holds everything stored; made if absent. Default `./greylight-data`.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Listen on any address although no tokens are configured.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Take one of promql-experimental-functions, promql-duration-expr and promql-delayed-name-removal away, or one
    /// function by its name; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) disable_feature: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Releases to go through: good, same, bad, slow, errors, silent.
    #[arg(long, value_delimiter = ',', default_value = "good,bad")]
    pub(crate) releases: Vec<crate::demo::Kind>,
    /// End after the verdicts instead of leaving the pages up until Ctrl-C.
    #[arg(long)]
    pub(crate) exit: bool,
    /// Address of the pages.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4680")]
    pub(crate) listen: SocketAddr,
    /// Keep all files in this folder instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// Where the server is and who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// The server's address.
    #[arg(long, value_name = "URL", env = "GREYLIGHT_SERVER", default_value = "http://127.0.0.1:4680")]
    pub(crate) server: String,
    /// Token to show the server.
    #[arg(long, value_name = "TOKEN", env = "GREYLIGHT_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Tenant, on a server without tokens.
    #[arg(long, value_name = "NAME", env = "GREYLIGHT_TENANT")]
    pub(crate) tenant: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Gate {
    /// The release's id.
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    pub(crate) id: Option<String>,
    /// The release's key instead of its id.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Wait for this phase's decision instead of the release's.
    #[arg(long)]
    pub(crate) phase: Option<String>,
    /// Longest to wait; then the answer is inconclusive.
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Start the analysis of a release.
    Start(ReleaseStart),
    /// Say beforehand what a release will be able to show: the shift that is found, when go can be expected, and what
    /// would help most. Starts nothing.
    Announce(ReleaseAnnounce),
    /// List releases, newest first.
    List(ReleaseList),
    /// Show a release and its verdict.
    Show(ReleaseRef),
    /// Stop the analysis of a release.
    Cancel(ReleaseRef),
    /// Put a person's decision over the verdict.
    Override(ReleaseOverride),
    /// Judge a release again from what its looks pinned; nothing stored changes.
    Replay(ReleaseReplay),
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseStart {
    #[command(flatten)]
    pub(crate) release: ReleaseBody,
    /// Name of a stored policy, or a policy file.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) policy: Option<String>,
    /// Wait for the verdict and exit as `gate` does.
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseAnnounce {
    /// A release that is there already, by its id or `key:KEY`; else the flags below describe one.
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) release: ReleaseBody,
    /// Name of a stored policy; a release that is there has its own.
    #[arg(long, value_name = "NAME", required_unless_present = "id")]
    pub(crate) policy: Option<String>,
    /// How many units the canary will have, where it does not run yet.
    #[arg(long, value_name = "N")]
    pub(crate) canary_units: Option<usize>,
    /// How many pods of the old version will start together with it.
    #[arg(long, value_name = "N")]
    pub(crate) fresh_units: Option<usize>,
    /// Print the server's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Which release.
#[derive(Debug, Args)]
pub(crate) struct ReleaseBody {
    /// A JSON file with the body of `POST /api/v1/releases`; the flags below go over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Your own name for this release; starting it twice is starting it once.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// The service.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Version that runs now.
    #[arg(long, value_name = "VERSION")]
    pub(crate) baseline: Option<String>,
    /// Version that wants to go out.
    #[arg(long, value_name = "VERSION")]
    pub(crate) canary: Option<String>,
    /// Name of a cohort of the old version's pods that started together with the canary.
    #[arg(long, value_name = "NAME")]
    pub(crate) fresh: Option<String>,
    /// What selects these pods, such as '{pod=~"cart-fresh-.*"}'; else service and NAME as the version do.
    #[arg(long, value_name = "MATCH", requires = "fresh")]
    pub(crate) fresh_match: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseList {
    /// Only this service.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Only this state: pending, running, decided, cancelled, failed.
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// The most to list.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseRef {
    /// The release's id, or `key:KEY`.
    pub(crate) id: String,
    /// Print the server's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseOverride {
    /// The release's id, or `key:KEY`.
    pub(crate) id: String,
    /// The decision.
    #[arg(long, value_enum)]
    pub(crate) decision: OverrideDecision,
    /// Who decides.
    #[arg(long)]
    pub(crate) by: String,
    /// Why.
    #[arg(long)]
    pub(crate) why: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OverrideDecision {
    Go,
    #[value(name = "no_go", alias = "no-go")]
    NoGo,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseReplay {
    /// The release's id, or `key:KEY`.
    pub(crate) id: String,
    /// Name of a stored policy, or a policy file. Default: the one that the release pinned.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) policy: Option<String>,
    /// What judges.
    #[arg(long, value_enum, default_value_t = Engine::Both)]
    pub(crate) engine: Engine,
    /// Print the server's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Engine {
    /// Greylight's procedures.
    Greylight,
    /// Kayenta's judge.
    Kayenta,
    /// One beside the other.
    Both,
}

impl Engine {
    /// Returns the word that the server knows.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Greylight => "greylight",
            Self::Kayenta => "kayenta",
            Self::Both => "both",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Judge {
    /// JSON file with policy and data as `POST /api/v1/judge` takes them; `-` reads standard input.
    pub(crate) file: PathBuf,
    /// Print the whole answer as JSON instead of a summary.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Try a policy on stored history before a release depends on it.
///
/// The server makes placebo releases: a start drawn from the range, and units drawn from the cohort that play the
/// canary though nothing was released. Each is judged as a release is. Those that are refused are refused wrongly; with
/// effects put into the canary's real data, check by check, those that are refused are found.
///
///   greylight backtest cart-http --match '{service_name="cart"}' --last 7d
///   greylight backtest policy.yaml --match '{service_name="cart"}' --last 7d --effects 10%,50% --canary-hosts 2
///
/// Units need a pre_period of history before a start, and the policy's whole length after it. Where the policy has
/// `births` and the service's pods are replaced, earlier starts of pods play the canary. The same seed gives
/// the same answer.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, group = clap::ArgGroup::new("when").required(true).args(["range", "last"]))]
pub(crate) struct Backtest {
    /// Name of a stored policy, or a policy file.
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,
    /// What selects the service's units, such as '{service_name="cart"}'.
    #[arg(long, value_name = "MATCH")]
    pub(crate) r#match: String,
    /// History to take: two RFC 3339 times, such as 2026-11-14T00:00:00Z..2026-11-21T00:00:00Z.
    #[arg(long, value_name = "FROM..TO")]
    pub(crate) range: Option<String>,
    /// The same, ending now, such as 7d.
    #[arg(long, value_name = "SPAN", value_parser = duration)]
    pub(crate) last: Option<Duration>,
    /// Label that names a unit. Default: the policy's `unit`.
    #[arg(long, value_name = "LABEL")]
    pub(crate) split_by: Option<String>,
    /// Units that play the canary.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) canary_hosts: u64,
    /// Placebo releases to judge.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) runs: u64,
    /// Seed of every draw.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Effects to put into the canary's data, as parts of what was there.
    #[arg(long, value_name = "PERCENT,..", value_delimiter = ',', default_value = "5%,10%,20%")]
    pub(crate) effects: Vec<String>,
    /// Who plays the canary: births (pods that started), splits (any units), or auto (births where there are enough).
    #[arg(long, value_name = "KIND", default_value = "auto")]
    pub(crate) placebos: String,
    /// Print the server's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Query {
    /// Evaluate PromQL, at one instant or over a range.
    Promql(QueryPromql),
    /// Search log records.
    Logs(QueryLogs),
    /// Run a SQL query over metrics, logs, releases and verdicts.
    Sql(QuerySql),
}

#[derive(Debug, Args)]
pub(crate) struct QueryPromql {
    /// The expression.
    pub(crate) expr: String,
    /// Instant: RFC 3339 or seconds since the epoch. Default now.
    #[arg(long, conflicts_with_all = ["start", "end", "step", "since"])]
    pub(crate) time: Option<String>,
    /// A range that ends now and is so long, such as `3h`.
    #[arg(long, value_parser = duration, conflicts_with_all = ["start", "end"])]
    pub(crate) since: Option<Duration>,
    /// Start of a range.
    #[arg(long, requires = "end")]
    pub(crate) start: Option<String>,
    /// End of a range.
    #[arg(long, requires = "start")]
    pub(crate) end: Option<String>,
    /// Step of a range. Default `1m`, and a hundredth of what `--since` says.
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// How to print the answer. Default: a chart of a range, a table of an instant.
    #[arg(long, value_enum)]
    pub(crate) format: Option<PromqlFormat>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct QueryLogs {
    /// What to look for: words, "phrases", prefix*, /regex/, field:value, AND OR NOT. Empty: all.
    #[arg(default_value = "")]
    pub(crate) query: String,
    /// Label matchers, such as `{service_name="cart"}`.
    #[arg(long, default_value = "")]
    pub(crate) r#match: String,
    /// How far back to look.
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub(crate) since: Duration,
    /// The most records to print.
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct QuerySql {
    /// The query.
    pub(crate) query: String,
    /// The most rows to print.
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: usize,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = SqlFormat::Table)]
    pub(crate) format: SqlFormat,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) format: OutputFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PromqlFormat {
    Chart,
    Table,
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SqlFormat {
    Table,
    Json,
    Csv,
    /// Arrow's stream format.
    Arrow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Table,
    Json,
    Csv,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Check every file against the catalog's checksums, in a folder that no server uses.
    Verify(StoreVerify),
    /// Make a backup: of a server that runs, or of a data folder that no server uses.
    Backup(StoreBackup),
    /// Bring a backup back, into a data folder that is empty or not there yet.
    Restore(StoreRestore),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["data", "server"]))]
pub(crate) struct StoreBackup {
    /// Folder for the backup: empty or not there yet. With --server, a path below the server's `[store] backup_folder`.
    #[arg(value_name = "DIR")]
    pub(crate) target: String,
    /// The data folder; no server may be using it.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address of the server that makes the backup.
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Token to show the server; it needs the scope `admin`.
    #[arg(long, value_name = "TOKEN", env = "GREYLIGHT_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) catalog: CatalogArg,
}

/// Where the catalog of a data folder is, if not in it.
#[derive(Debug, Args)]
pub(crate) struct CatalogArg {
    /// PostgreSQL database that has the catalog, if it is no file in the data folder: the server's `[store] catalog`.
    #[arg(long, value_name = "URL", env = "GREYLIGHT_STORE__CATALOG", hide_env_values = true)]
    pub(crate) catalog: Option<greylight_store::DatabaseUrl>,
}

#[derive(Debug, Args)]
pub(crate) struct StoreRestore {
    /// The backup.
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
    /// The data folder to fill.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) catalog: CatalogArg,
}

#[derive(Debug, Args)]
pub(crate) struct StoreVerify {
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = "./greylight-data")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) catalog: CatalogArg,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Files to check: server configuration (.toml), agent configuration (.toml with an agent section), policy (.yaml, .yml, .json).
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Tenant that the token belongs to.
    #[arg(long, default_value = "default")]
    pub(crate) tenant: String,
    /// What it allows: write, read, release, admin.
    #[arg(long, value_delimiter = ',', default_value = "write,read,release")]
    pub(crate) scopes: Vec<String>,
}

/// Parses a Prometheus duration such as `90s` or `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (mut rest, mut total, mut last) = (text, 0u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit_len =
            rest[digits..].len() - rest[digits..].trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let unit = match &rest[digits..digits + unit_len] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => 0,
        };
        let count: u64 = rest[..digits].parse().unwrap_or(u64::MAX);
        let span = count.checked_mul(unit).filter(|_| unit > 0 && unit < last);
        let sum = span.and_then(|span| total.checked_add(span));
        let Some(sum) = sum else {
            return Err(format!("{text:?} is no duration; write it as 90s, 5m or 1h30m"));
        };
        (total, last, rest) = (sum, unit, &rest[digits + unit_len..]);
    }
    if text.is_empty() { Err("a duration is empty".into()) } else { Ok(Duration::from_millis(total)) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_prometheus_durations() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "5", "m", "1m1h", "1.5h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
