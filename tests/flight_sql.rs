//! Arrow Flight SQL from clients that are not ours: the Rust client of Arrow, and ADBC's driver for Python.

use std::process::Command;

use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTables};
use futures::TryStreamExt as _;
use tonic::transport::{Channel, Endpoint};

use crate::server::{Server, now_ms};

async fn filled(folder: &std::path::Path) -> (Server, i64) {
    let server = Server::start(folder, &[]).await;
    let now_ms = now_ms();
    let samples: Vec<(i64, f64)> = (0..100).map(|i| (now_ms - 1000 * (100 - i), i as f64)).collect();
    assert!(server.write(&[("__name__", "load"), ("job", "a")], &samples).await.is_success());
    (server, now_ms)
}

async fn client(server: &Server) -> FlightSqlServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    FlightSqlServiceClient::new(endpoint.connect().await.unwrap())
}

async fn rows(client: &mut FlightSqlServiceClient<Channel>, info: arrow_flight::FlightInfo) -> usize {
    let mut n = 0;
    for endpoint in info.endpoint {
        let stream = client.do_get(endpoint.ticket.unwrap()).await.unwrap();
        let batches: Vec<_> = stream.try_collect().await.unwrap();
        n += batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
    }
    n
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_plain_and_prepared_give_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = filled(folder.path()).await;
    let mut client = client(&server).await;
    let text = "SELECT time, value FROM metrics WHERE name = 'load' ORDER BY time";
    let info = client.execute(text.into(), None).await.unwrap();
    let names: Vec<String> =
        info.clone().try_decode_schema().unwrap().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["time", "value"]);
    assert_eq!(rows(&mut client, info).await, 100);
    let mut prepared = client.prepare(text.into(), None).await.unwrap();
    assert_eq!(prepared.dataset_schema().unwrap().fields().len(), 2);
    let info = prepared.execute().await.unwrap();
    assert_eq!(rows(&mut client, info).await, 100);
    prepared.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_can_be_listed_and_faults_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = filled(folder.path()).await;
    let mut client = client(&server).await;
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(rows(&mut client, info).await, 1);
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    assert_eq!(rows(&mut client, info).await, 1);
    let wanted = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let info = client.get_tables(wanted).await.unwrap();
    assert_eq!(rows(&mut client, info).await, 5);
    for (text, code) in [
        ("DROP TABLE metrics", tonic::Code::InvalidArgument),
        ("SELECT nothing FROM metrics", tonic::Code::InvalidArgument),
        ("SELECT 1 FROM '/etc/passwd'", tonic::Code::InvalidArgument),
    ] {
        let error = client.execute(text.into(), None).await.unwrap_err();
        let arrow_schema_error = format!("{error:?}");
        assert!(arrow_schema_error.contains(&format!("{code:?}")), "{text}: {arrow_schema_error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_would_be_cut_is_refused_with_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("greylight.toml");
    std::fs::write(&config, "[query]\nrows_max = 10\n").unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--config", config.to_str().unwrap()]).await;
    let samples: Vec<(i64, f64)> = (0..20).map(|i| (now_ms() - 1000 * i, 1.0)).collect();
    assert!(server.write(&[("__name__", "load")], &samples).await.is_success());
    let mut client = client(&server).await;
    let info = client.execute("SELECT * FROM metrics".into(), None).await.unwrap();
    let error = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.map(|_| ()).unwrap_err();
    assert!(
        error.to_string().contains("query.rows_max") || format!("{error:?}").contains("query.rows_max"),
        "{error:?}"
    );
    let info = client.execute("SELECT * FROM metrics LIMIT 10".into(), None).await.unwrap();
    assert_eq!(rows(&mut client, info).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_adbc_driver_of_python_connects() {
    let python = std::env::var("GREYLIGHT_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let known = Command::new(&python).args(["-c", "import adbc_driver_flightsql, pyarrow"]).output();
    if !known.is_ok_and(|out| out.status.success()) {
        eprintln!(
            "skipped: {python} has no adbc_driver_flightsql with pyarrow (GREYLIGHT_TEST_PYTHON names one that has)"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = filled(folder.path()).await;
    let script = "
import sys, adbc_driver_flightsql.dbapi as dbapi
with dbapi.connect('grpc://' + sys.argv[1]) as connection:
    with connection.cursor() as cursor:
        cursor.execute(\"SELECT count(*) AS n, max(value) AS top FROM metrics WHERE name = 'load'\")
        print(cursor.fetch_arrow_table().to_pylist())
    names = connection.adbc_get_objects(depth='tables').read_all().to_pylist()
    print(sorted(t['table_name'] for c in names for s in c['catalog_db_schemas'] for t in s['db_schema_tables']))
    print(connection.adbc_get_info()['vendor_name'])
";
    let out = Command::new(&python).args(["-W", "ignore", "-c", script, &server.grpc]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let want =
        "[{'n': 100, 'top': 99.0}]\n['histograms', 'logs', 'metrics', 'releases', 'verdicts']\nGreylight\n";
    assert_eq!(said, want);
}
