//! A sync of the catalog that fails makes the store read-only, and what was acknowledged before is there afterwards.
//!
//! SQLite goes past the store's own disk, so the fault is made below it: the child is this test binary with a library
//! before libc that fails one sync of the catalog's file when a file says so.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::path::Path;
use std::process::Command;

use greylight_store::append::{AppendError, MetricBatch};
use greylight_store::model::{ErrorKind, TenantId};
use greylight_store::records::{Expect, Transaction};
use greylight_store::{Store, StoreConfig, StoreEnv};

const FOLDER: &str = "GREYLIGHT_TEST_SYNC_FOLDER";
/// A file that is there when the next sync of the catalog is to fail; the library takes it away then.
const FAIL: &str = "GREYLIGHT_TEST_SYNC_FAIL";

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
    const char *flag = getenv("GREYLIGHT_TEST_SYNC_FAIL");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (!flag || n < 0) return 0;
    path[n] = 0;
    if (!strstr(path, "catalog.sqlite") || unlink(flag) != 0) return 0;
    errno = EIO;
    return 1;
}

int fsync(int fd) {
    return fails(fd) ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    return fails(fd) ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"#;

#[expect(clippy::disallowed_methods, reason = "what the library needs is no part of a store")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

async fn open(folder: &Path) -> Store {
    Store::open(StoreConfig::default(), StoreEnv::on_folder(folder).unwrap()).await.unwrap()
}

fn sample(n: i64) -> MetricBatch {
    let mut batch = MetricBatch::default();
    batch.start_sorted([("__name__", "number")]).unwrap().push(n, n as f64);
    batch
}

fn document(id: &str) -> Transaction {
    Transaction::default().put("release", id, Expect::Absent, "body")
}

/// Goes through the fault, where the parent asks for it; else it has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(folder), Ok(fail)) = (std::env::var(FOLDER), std::env::var(FAIL)) else { return };
    let (store, tenant) = (open(Path::new(&folder)).await, TenantId::default());
    let (appender, records) = (store.appender(), store.records());
    appender.metrics(&tenant, sample(1)).await.unwrap();
    records.commit(&tenant, document("before")).await.unwrap();
    assert!(!store.status().read_only);

    write(Path::new(&fail), "");
    let failed = records.commit(&tenant, document("failed")).await;
    assert!(failed.is_err() && !Path::new(&fail).exists(), "the fault did not come: {failed:?}");
    // The next sync would succeed; nobody must ask for it.
    let refused = records.commit(&tenant, document("after")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    let refused = appender.metrics(&tenant, sample(2)).await;
    assert!(matches!(refused, Err(AppendError::ReadOnly)), "{refused:?}");
    assert!(store.status().read_only);
    assert!(store.flush().await.is_err());
    assert!(records.get(&tenant, "release", "before").await.unwrap().is_some(), "reads go on");
    store.shutdown().await.unwrap();
    println!("went through the fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_of_the_catalog_makes_the_store_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("sync.c"), folder.path().join("sync.so"));
    write(&source, LIBRARY);
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
    assert!(built.unwrap().success());
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "catalog_sync::child", "--nocapture"])
        .env("LD_PRELOAD", &library)
        .env(FOLDER, &data)
        .env(FAIL, folder.path().join("fail"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("went through the fault"), "{said}");
    let store = open(&data).await;
    let (records, tenant) = (store.records(), TenantId::default());
    assert!(records.get(&tenant, "release", "before").await.unwrap().is_some());
    assert!(records.get(&tenant, "release", "after").await.unwrap().is_none());
    assert_eq!(store.status().wal.n_replayed, 1);
    store.appender().metrics(&tenant, sample(2)).await.unwrap();
    store.flush().await.unwrap();
    assert!(store.verify().await.unwrap().is_clean());
    store.shutdown().await.unwrap();
}
