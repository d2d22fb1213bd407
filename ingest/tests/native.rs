//! Native histograms and exemplars over remote write, from the request to what readers see.

use greylight_store::model::{Buckets, CUSTOM_BOUNDS, CounterReset, Histogram, Span};
use greylight_store::read::STALE_NAN_BITS;
use greylight_wire::compress::{Encoding, encode};
use prost::Message as _;

use crate::fixture::{Answer, Fixture, NOW_MS};

/// The messages as `prompb` has them, as far as these tests need.
mod message {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub(super) histograms: Vec<Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Label {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(int64, tag = "2")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(int64, tag = "3")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Histogram {
        #[prost(uint64, optional, tag = "1")]
        pub(super) count_int: Option<u64>,
        #[prost(double, optional, tag = "2")]
        pub(super) count_float: Option<f64>,
        #[prost(double, tag = "3")]
        pub(super) sum: f64,
        #[prost(sint32, tag = "4")]
        pub(super) schema: i32,
        #[prost(double, tag = "5")]
        pub(super) zero_threshold: f64,
        #[prost(uint64, optional, tag = "6")]
        pub(super) zero_count_int: Option<u64>,
        #[prost(message, repeated, tag = "8")]
        pub(super) negative_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "9")]
        pub(super) negative_deltas: Vec<i64>,
        #[prost(message, repeated, tag = "11")]
        pub(super) positive_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "12")]
        pub(super) positive_deltas: Vec<i64>,
        #[prost(double, repeated, tag = "13")]
        pub(super) positive_counts: Vec<f64>,
        #[prost(int32, tag = "14")]
        pub(super) reset_hint: i32,
        #[prost(int64, tag = "15")]
        pub(super) timestamp: i64,
        #[prost(double, repeated, tag = "16")]
        pub(super) custom_values: Vec<f64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(sint32, tag = "1")]
        pub(super) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(super) length: u32,
    }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<message::Label> {
    pairs
        .iter()
        .map(|(name, value)| message::Label { name: (*name).into(), value: (*value).into() })
        .collect()
}

fn series(name: &str) -> message::TimeSeries {
    message::TimeSeries {
        labels: labels(&[("__name__", name), ("job", "a")]),
        ..message::TimeSeries::default()
    }
}

fn integers(t_ms: i64, count: u64) -> message::Histogram {
    message::Histogram {
        count_int: Some(count),
        sum: 18.4,
        schema: 1,
        zero_threshold: 0.001,
        zero_count_int: Some(2),
        negative_spans: vec![message::Span { offset: 0, length: 1 }],
        negative_deltas: vec![1],
        positive_spans: vec![message::Span { offset: -1, length: 2 }, message::Span { offset: 3, length: 1 }],
        positive_deltas: vec![1, 2, -2],
        reset_hint: 2,
        timestamp: t_ms,
        ..message::Histogram::default()
    }
}

fn stored_integers(count: f64) -> Histogram {
    let spans =
        |spans: &[(i32, u32)]| spans.iter().map(|&(offset, length)| Span { offset, length }).collect();
    Histogram {
        reset: CounterReset::No,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count,
        sum: 18.4,
        positive: Buckets { spans: spans(&[(-1, 2), (3, 1)]), counts: vec![1.0, 3.0, 1.0] },
        negative: Buckets { spans: spans(&[(0, 1)]), counts: vec![1.0] },
        custom_bounds: Vec::new(),
    }
}

fn exemplar(pairs: &[(&str, &str)], t_ms: i64) -> message::Exemplar {
    message::Exemplar { labels: labels(pairs), value: 0.5, timestamp: t_ms }
}

async fn write(fixture: &Fixture, timeseries: Vec<message::TimeSeries>) -> Answer {
    fixture.write(&message::WriteRequest { timeseries }.encode_to_vec()).await
}

#[tokio::test]
async fn histograms_are_stored_beside_floats_and_queryable_at_once() {
    let fixture = Fixture::new().await;
    let floats = message::Histogram {
        count_float: Some(2.5),
        schema: CUSTOM_BOUNDS,
        positive_spans: vec![message::Span { offset: 1, length: 2 }],
        positive_counts: vec![0.5, 2.0],
        custom_values: vec![0.1, 1.0],
        reset_hint: 3,
        timestamp: NOW_MS,
        ..message::Histogram::default()
    };
    let stale = message::Histogram {
        sum: f64::from_bits(STALE_NAN_BITS),
        timestamp: NOW_MS,
        ..message::Histogram::default()
    };
    let mut one = series("one");
    one.samples.push(message::Sample { value: 1.0, timestamp: NOW_MS - 2000 });
    one.histograms = vec![integers(NOW_MS - 1000, 8), stale];
    let mut two = series("two");
    two.histograms = vec![floats];
    let answer = write(&fixture, vec![one, two]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
    assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), "1");
    let want = Histogram {
        reset: CounterReset::Gauge,
        schema: CUSTOM_BOUNDS,
        count: 2.5,
        positive: Buckets { spans: vec![Span { offset: 1, length: 2 }], counts: vec![0.5, 2.0] },
        custom_bounds: vec![0.1, 1.0],
        ..Histogram::default()
    };
    for _ in 0..2 {
        assert_eq!(fixture.histograms("one"), [(NOW_MS - 1000, stored_integers(8.0))]);
        assert_eq!(fixture.histograms("two"), [(NOW_MS, want.clone())]);
        let series = "one{job=\"a\"}";
        assert_eq!(
            fixture.samples("one"),
            [
                format!("{series} @{} 1", NOW_MS - 2000),
                format!("{series} @{} NaN", NOW_MS - 1000),
                format!("{series} @{NOW_MS} NaN")
            ]
        );
        fixture.store.flush().await.expect("the store can be sealed");
    }
    let page = fixture.page();
    assert!(page.contains("greylight_ingest_samples_total{protocol=\"remote_write_1\"} 4\n"), "{page}");
    assert!(page.contains("greylight_ingest_histograms_total{protocol=\"remote_write_1\"} 3\n"), "{page}");
}

#[tokio::test]
async fn bad_histograms_are_named_and_the_rest_is_stored() {
    let far = NOW_MS + 86_400_000;
    let cases: [(message::Histogram, &str); 4] = [
        (
            integers(NOW_MS, 7),
            "bad{job=\"a\"} at 1795255200000 ms: histogram has 8 observations in buckets, of 7",
        ),
        (message::Histogram { schema: 9, ..integers(NOW_MS, 8) }, "histogram schema is 9"),
        (
            message::Histogram { positive_deltas: vec![1, 2], ..integers(NOW_MS, 8) },
            "histogram has 2 bucket counts for 3 buckets in its spans",
        ),
        (
            integers(far, 8),
            "histogram of bad{job=\"a\"} at 2026-11-22T10:00:00Z lies more than 600s in the future",
        ),
    ];
    for (histogram, text) in cases {
        let fixture = Fixture::new().await;
        let mut bad = series("bad");
        bad.samples.push(message::Sample { value: 1.0, timestamp: NOW_MS });
        bad.histograms = vec![histogram, integers(NOW_MS - 1000, 8)];
        let mut good = series("good");
        good.histograms = vec![integers(NOW_MS, 8)];
        let answer = write(&fixture, vec![bad, good]).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(text), "{}", answer.text());
        assert_eq!(fixture.histograms("bad"), [(NOW_MS - 1000, stored_integers(8.0))], "{text}");
        assert_eq!(fixture.samples("bad").len(), 2, "{text}");
        assert_eq!(fixture.histograms("good").len(), 1, "{text}");
    }
    let fixture = Fixture::new().await;
    let nameless =
        message::TimeSeries { histograms: vec![integers(NOW_MS, 8)], ..message::TimeSeries::default() };
    let answer = write(&fixture, vec![nameless]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (400, "series {} has no __name__\n"));
}

#[tokio::test]
async fn exemplars_are_stored_once_also_without_samples() {
    let fixture = Fixture::new().await;
    let mut bucket = series("bucket");
    bucket.samples.push(message::Sample { value: 1.0, timestamp: NOW_MS });
    bucket.exemplars =
        vec![exemplar(&[("trace_id", "b"), ("span_id", "c")], NOW_MS - 7), exemplar(&[], NOW_MS - 9)];
    let mut alone = series("alone");
    alone.exemplars = vec![exemplar(&[("trace_id", "d")], NOW_MS)];
    let want = [
        format!("alone{{job=\"a\"}} {{trace_id=\"d\"}} @{NOW_MS} 0.5"),
        format!("bucket{{job=\"a\"}} {{}} @{} 0.5", NOW_MS - 9),
        format!("bucket{{job=\"a\"}} {{span_id=\"c\", trace_id=\"b\"}} @{} 0.5", NOW_MS - 7),
    ];
    for _ in 0..3 {
        let answer = write(&fixture, vec![bucket.clone(), alone.clone()]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
        assert_eq!(fixture.exemplars(), want);
        fixture.store.flush().await.expect("the store can be sealed");
    }
    assert_eq!(fixture.exemplars(), want);
    assert!(fixture.samples("alone").is_empty());
}

#[tokio::test]
async fn bad_exemplars_are_named_and_the_rest_is_stored() {
    let long = "x".repeat(130);
    let cases: [(message::Exemplar, &str); 3] = [
        (
            exemplar(&[("a", &long)], NOW_MS),
            "m{job=\"a\"}: exemplar has labels of 131 characters: at most 128",
        ),
        (exemplar(&[("a", "1"), ("a", "2")], NOW_MS), "exemplar of m{job=\"a\"}: label \"a\" occurs twice"),
        (exemplar(&[], i64::MAX), "exemplar of m{job=\"a\"} at "),
    ];
    for (bad, text) in cases {
        let fixture = Fixture::new().await;
        let mut one = series("m");
        one.samples.push(message::Sample { value: 1.0, timestamp: NOW_MS });
        one.exemplars = vec![bad, exemplar(&[("ok", "1")], NOW_MS)];
        let answer = write(&fixture, vec![one]).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(text), "{}", answer.text());
        assert_eq!((fixture.samples("m").len(), fixture.exemplars().len()), (1, 1), "{text}");
    }
}

#[tokio::test]
async fn version_two_tells_how_many_of_each_were_written() {
    let fixture = Fixture::new().await;
    let mut body = Vec::new();
    for symbol in ["", "__name__", "m"] {
        body.extend([0x22, symbol.len() as u8]);
        body.extend(symbol.as_bytes());
    }
    let (good, bad) = (integers(NOW_MS, 8).encode_to_vec(), integers(NOW_MS - 1, 7).encode_to_vec());
    let mut series = vec![0x0a, 2, 1, 2, 0x12, 2, 0x10, 5];
    for histogram in [good, bad] {
        series.extend([0x1a, histogram.len() as u8]);
        series.extend(histogram);
    }
    // An exemplar with a label of these symbols and the value 0 at 9 ms.
    series.extend([0x22, 6, 0x0a, 2, 1, 2, 0x18, 9]);
    body.push(0x2a);
    prost::encoding::encode_varint(series.len() as u64, &mut body);
    body.extend(series);
    let headers = [("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")];
    let answer = fixture.post("/api/v1/write", &headers, encode(Encoding::Snappy, &body)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().starts_with("m{} at "), "{}", answer.text());
    let written = ["samples", "histograms", "exemplars"]
        .map(|what| answer.header(&format!("x-prometheus-remote-write-{what}-written")).to_owned());
    assert_eq!(written, ["1", "1", "1"]);
    assert_eq!(fixture.exemplars(), ["m{} m{} @9 0"]);
}
