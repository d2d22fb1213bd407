//! A PostgreSQL server for tests: the one that `GREYLIGHT_TEST_POSTGRES` names, else one that is started in a folder of
//! its own where PostgreSQL is installed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::{CatalogAt, DatabaseUrl};
use crate::model::{Clock as _, SystemClock};

pub(super) struct Server {
    /// Address with `{NAME}` in place of the database.
    address: String,
    running: Option<Running>,
}

struct Running {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Returns a server; says so and returns none where there is none.
    pub(super) async fn start() -> Option<Self> {
        sqlx::any::install_default_drivers();
        if let Ok(address) = std::env::var("GREYLIGHT_TEST_POSTGRES") {
            assert!(
                address.contains("{NAME}"),
                "GREYLIGHT_TEST_POSTGRES has no {{NAME}} in place of the database"
            );
            return Some(Self { address, running: None });
        }
        let Some(bin) = programs() else {
            eprintln!("skipped: no PostgreSQL is installed, and GREYLIGHT_TEST_POSTGRES names none");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let mut owned = vec![folder.path().to_owned(), data.clone()];
        let mut user = None;
        if rustix::process::geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            user = Some("postgres");
            for path in owned.drain(..) {
                run(Command::new("chown").arg("postgres").arg(path));
            }
        }
        let initdb = ["-A", "trust", "-U", "greylight", "--no-sync", "-E", "UTF8", "--locale=C", "-D"];
        run(program(&bin.join("initdb"), user).args(initdb).arg(&data));
        let mut server = program(&bin.join("postgres"), user);
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        server.args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        let child = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let address = format!("postgres://greylight@localhost/{{NAME}}?host={}", folder.path().display());
        let server = Self { address, running: Some(Running { child, _folder: folder }) };
        let clock = SystemClock::default();
        let since = clock.elapsed();
        while let Err(error) = AnyConnection::connect(&server.url("postgres")).await {
            assert!(clock.elapsed() - since < Duration::from_secs(30), "PostgreSQL did not start: {error}");
            clock.sleep(Duration::from_millis(50)).await;
        }
        Some(server)
    }

    fn url(&self, name: &str) -> String {
        self.address.replace("{NAME}", name)
    }

    /// Makes an empty database.
    pub(super) async fn database(&self, name: &str) -> CatalogAt {
        // Names longer than 63 bytes are cut.
        let name = &name[..name.len().min(40)];
        let mut connection = AnyConnection::connect(&self.url("postgres")).await.unwrap();
        for text in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
        assert!(self.running.as_ref().is_none_or(|running| running.child.id() > 0));
        CatalogAt::Postgres(DatabaseUrl::new(&self.url(name)).unwrap())
    }
}

/// Finds the newest of the versions that Debian keeps side by side.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let mut found: Vec<PathBuf> = found.filter(|bin| bin.join("initdb").exists()).collect();
    found.sort();
    found.pop()
}

fn program(path: &Path, user: Option<&str>) -> Command {
    let Some(user) = user else { return Command::new(path) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(path);
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
