//! Releases judged by their users: who came, what they did, and what they were worth, from log records.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use greylight_store::append::LogBatch;
use greylight_store::model::{Labels, LogRecord, TenantId, Timestamp};
use greylight_store::records::Page;
use serde_json::{Value, json};

use crate::releases::{Bench, MINUTE_MS, START_MS, body};

/// Users that come to each side in a minute.
const USERS: i64 = 50;

fn record(minute: i64, second: i64, host: &str, body: &Value) -> LogRecord {
    let time = Timestamp::from_millis(START_MS + minute * MINUTE_MS + second * 1_000 + 7);
    // Host d runs version 2 since the start.
    let version = if host == "d" && minute >= 0 { "2" } else { "1" };
    let labels =
        [("instance", host), ("job", "shop"), ("service_name", "shop"), ("service_version", version)];
    LogRecord {
        time,
        observed_time: time,
        severity_number: 9,
        severity_text: String::new(),
        body: body.to_string(),
        labels: Labels::from_pairs(labels).unwrap(),
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
        uid: None,
    }
}

/// Writes visits, and purchases two minutes later: of a hundred users of version 1 thirty buy, of version 2 `buyers`.
async fn feed(bench: &Bench, minutes: std::ops::Range<i64>, buyers: i64) {
    for minute in minutes {
        let mut records = Vec::new();
        for (side, host) in [(0, ["a", "b"]), (1, ["d", "d"])] {
            for n in 0..USERS {
                let number = minute.rem_euclid(2) * USERS + n;
                // Who came in the hour before comes again.
                let user = format!("u{side}-{}-{n}", minute.rem_euclid(60));
                let host = host[usize::try_from(n % 2).unwrap()];
                let buys = number * 37 % 100 < if side == 1 && minute >= 0 { buyers } else { 30 };
                let second = 1 + n % 50;
                records.push(record(
                    minute,
                    second,
                    host,
                    &json!({ "event": "visit", "user_id": user, "n": n }),
                ));
                // Someone whom no field names.
                records.push(record(minute, second, host, &json!({ "event": "visit", "n": n })));
                if buys {
                    let bought =
                        json!({ "event": "purchase", "user_id": user, "amount": 20 + number % 7, "n": n });
                    records.push(record(minute + 2, second + 1, host, &bought));
                }
            }
        }
        bench.store.appender().logs(&TenantId::default(), LogBatch { records }).await.unwrap();
    }
}

fn request(key: &str, value: Value) -> Value {
    let mut request = body(key);
    request["policy"]["phases"] = json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "1h" } }]);
    request["policy"]["checks"] = json!([{ "name": "buyers", "kind": "users", "harm": "down",
        "users": { "logs": "event:visit OR event:purchase", "match": "{$cohort}", "user": "user_id", "value": value },
        "margin": { "relative": "25%" } }]);
    request
}

/// Judges to the end, with a restart after the second look where one is asked for, and returns the verdict.
async fn judged(buyers: i64, request: Value, restart: bool) -> Value {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    feed(&bench, -60..60, buyers).await;
    let (bench, release) = bench.judged(request, restart).await;
    let id = release["id"].as_str().unwrap().to_string();
    pins_are_news(&bench, &id).await;
    release["verdict"].clone()
}

/// Checks that a look pins what is new in it and not all users again.
async fn pins_are_news(bench: &Bench, id: &str) {
    let page = Page { prefix: Some(format!("{id}/")), ..Page::default() };
    let looks = bench.store.records().list(&TenantId::default(), "release_look", page).await.unwrap();
    assert!(looks.len() > 5, "{}", looks.len());
    for look in looks.iter().skip(1) {
        let look: Value = serde_json::from_slice(&look.body).unwrap();
        for side in ["baseline", "canary"] {
            let updates = look["data"]["buyers"][side]["updates"].as_array().unwrap();
            // Those who came, and those who bought.
            assert!(
                (1..=2 * USERS as usize).contains(&updates.len()),
                "{}: {}",
                look["number"],
                updates.len()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_users_who_buy_refuse_a_release() {
    let ever = json!({ "query": "event:purchase" });
    let good = judged(30, request("good", ever.clone()), false).await;
    let check = &good["checks"][0];
    assert_eq!(good["decision"], "go", "{good:#}");
    assert_eq!((&check["values"]["baseline"], &check["kind"]), (&check["values"]["canary"], &json!("users")));
    let again = judged(30, request("good", ever.clone()), true).await;
    assert_eq!(again["evidence"]["digest"], good["evidence"]["digest"], "a restart changes nothing");
    let bad = judged(21, request("bad", ever), false).await;
    assert_eq!(bad["decision"], "no_go", "{bad:#}");
    assert_eq!(bad["reasons"][0]["code"], "harm_shown", "{bad:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_spend_less_refuse_a_release() {
    let sum = json!({ "field": "amount" });
    let good = judged(30, request("good", sum.clone()), false).await;
    assert_eq!(good["decision"], "go", "{good:#}");
    let again = judged(30, request("good", sum.clone()), true).await;
    assert_eq!(again["evidence"]["digest"], good["evidence"]["digest"], "a restart changes nothing");
    let bad = judged(15, request("bad", sum), false).await;
    assert_eq!(bad["decision"], "no_go", "{bad:#}");
}
