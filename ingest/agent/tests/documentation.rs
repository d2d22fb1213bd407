//! The settings that the documentation shows can be used.

use std::path::Path;

use greylight_agent::AgentConfig;

#[test]
fn every_example_of_the_documentation_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/agent.md");
    let text = std::fs::read_to_string(path).expect("docs/agent.md is there");
    let mut n_examples = 0;
    for example in text.split("```toml\n").skip(1) {
        let example = example.split("```").next().unwrap_or_default();
        AgentConfig::parse(example).unwrap_or_else(|e| panic!("{e}\n{example}"));
        n_examples += 1;
    }
    assert!(n_examples >= 2, "the documentation shows {n_examples} examples");
}

#[test]
fn the_documentation_names_every_default_that_matters() {
    let config = AgentConfig::default();
    assert_eq!(config.server.metrics_url(), "http://127.0.0.1:4680/api/v1/write");
    assert_eq!(config.host.job, "node-exporter");
    assert_eq!(config.container.job, "cadvisor");
    assert_eq!(config.queue.metrics_bytes_max, 512 << 20);
}
