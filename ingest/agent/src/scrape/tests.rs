//! Tests of this module.

use proptest::prelude::*;

use super::*;
use crate::client::Fetched;

fn config() -> ScrapeConfig {
    ScrapeConfig { job: "cart".to_owned(), ..ScrapeConfig::default() }
}

fn group() -> TargetGroup {
    let labels = [("service_version", "1.4.2"), ("track", "baseline"), ("__metrics_path__", "m")];
    TargetGroup {
        targets: vec!["10.0.0.1:80".to_owned()],
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

fn show(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn read(config: &ScrapeConfig, text: &str) -> Collected {
    let target = targets::of_groups(config, &[group()]).remove(0);
    let page = Fetched { content_type: "text/plain".to_owned(), body: text.as_bytes().to_vec() };
    let mut collected = Collected::default();
    PageReader::new(&target.labels, config, 7, &mut collected).read(&page).unwrap();
    collected
}

#[test]
fn a_target_has_its_labels_and_those_of_its_job() {
    let target = targets::of_groups(&config(), &[group(), group()]);
    assert_eq!(target.len(), 1);
    assert_eq!(target[0].url, "http://10.0.0.1:80/m");
    assert_eq!(show(&target[0].labels), "instance=10.0.0.1:80 job=cart service_version=1.4.2 track=baseline");
}

#[test]
fn the_target_s_labels_win_unless_the_page_is_trusted() {
    let text = "# HELP a_total Help.\n# TYPE a_total counter\na_total{job=\"own\",x=\"1\"} 5 1000\n";
    let collected = read(&config(), text);
    let sample = &collected.samples[0];
    assert_eq!(
        show(&sample.labels),
        "__name__=a_total exported_job=own instance=10.0.0.1:80 job=cart service_version=1.4.2 track=baseline x=1"
    );
    assert_eq!((sample.t_ms, sample.value), (1000, 5.0));
    assert_eq!(collected.families.len(), 1);
    assert_eq!(collected.families[0].help, "Help.");
    let trusting = ScrapeConfig { honor_labels: true, honor_timestamps: false, ..config() };
    let sample = &read(&trusting, text).samples[0];
    assert!(show(&sample.labels).contains(" job=own "));
    assert_eq!(sample.t_ms, 7);
}

#[test]
fn target_files_are_json_or_yaml_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("targets.json");
    let yaml = dir.path().join("targets.yaml");
    let mut files = targets::Files::new(&[path.clone(), yaml.clone()]);
    let mut urls = || files.targets(&config()).into_iter().map(|t| t.url).collect::<Vec<_>>().join(" ");
    assert_eq!(urls(), "");
    let write = crate::tail::tests::write;
    write(&path, br#"[{"targets":["a:1"],"labels":{"track":"canary"}}]"#);
    write(&yaml, b"- targets: ['b:2', 'c:3']\n  labels:\n    track: baseline\n");
    assert_eq!(urls(), "http://a:1/metrics http://b:2/metrics http://c:3/metrics");
    write(&path, br#"[{"targets":["a:1"#);
    assert_eq!(urls(), "http://a:1/metrics http://b:2/metrics http://c:3/metrics");
    write(&path, b"[]");
    assert_eq!(urls(), "http://b:2/metrics http://c:3/metrics");
    assert!(read_target_file(&path).unwrap().is_empty());
    write(&yaml, b"- targets: [a]\n  lables: {}\n");
    assert!(read_target_file(&yaml).unwrap_err().to_string().contains("lables"));
}

proptest! {
    #[test]
    fn equal_hashes_mean_equal_labels(a in labels(), b in labels()) {
        prop_assert_eq!(page::hash(&a) == page::hash(&b), a == b);
    }
}

fn labels() -> impl Strategy<Value = Labels> {
    let pair = ("[a-c]{1,2}", "[a-c]{0,2}").prop_map(|(name, value)| (name.into(), value));
    proptest::collection::vec(pair, 0..3)
}
