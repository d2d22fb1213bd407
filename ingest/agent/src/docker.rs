//! What Docker's daemon leaves on disk of a container, and which of a container's labels become labels here.
//!
//! The daemon is never asked: `<docker_containers>/<id>/config.v2.json` has the name, the image and the labels.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

// The largest that were seen are some tens of KiB; what is above is not read.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What is known of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Container {
    /// Without the slash that Docker puts in front.
    pub(crate) name: String,
    /// The image as it was named when the container was made.
    pub(crate) image: String,
    /// All of its labels.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Container {
    /// Reads `config.v2.json` in a container's folder; nothing if it is not there or is not what Docker writes.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        let file = File::open(dir.join("config.v2.json")).ok()?;
        let mut text = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut text).ok()?;
        if text.len() as u64 > BYTES_MAX {
            return None;
        }
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Settings {
            name: String,
            config: Config,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Config {
            #[serde(default)]
            image: String,
            #[serde(default)]
            labels: Option<BTreeMap<String, String>>,
        }
        let Settings { name, config } = serde_json::from_slice(text).ok()?;
        let name = name.trim_start_matches('/').to_owned();
        Some(Self { name, image: config.image, labels: config.labels.unwrap_or_default() })
    }

    /// Returns namespace, pod and container, where Docker is Kubernetes' runtime; each empty where it is not.
    pub(crate) fn kubernetes(&self) -> [&str; 3] {
        ["io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.container.name"]
            .map(|label| self.labels.get(label).map_or("", String::as_str))
    }
}

/// Which labels of a container become labels of its series and its log records, and under which names: setting
/// `labels` of section `[agent.container]`.
///
/// By default those that join metrics and logs, each from the first that the container has:
///
/// | label | of the container |
/// |---|---|
/// | `service_name` | `service.name`, `app.kubernetes.io/name`, `com.docker.compose.service` |
/// | `service_namespace` | `service.namespace`, `app.kubernetes.io/part-of`, `com.docker.compose.project` |
/// | `service_version` | `service.version`, `app.kubernetes.io/version` |
/// | `deployment_environment_name` | `deployment.environment.name` |
/// | `track` | `greylight.track` |
///
/// What is set replaces or adds single lines of it; an empty list takes one out. Never all labels of a container:
/// each would make new series of all of its metrics. `org.opencontainers.image.version` is not among them, as images
/// inherit it from the image that they are built on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<String, Vec<String>>")]
pub struct LabelRules(BTreeMap<String, Vec<String>>);

impl Default for LabelRules {
    fn default() -> Self {
        let rules: [(&str, &[&str]); 5] = [
            ("service_name", &["service.name", "app.kubernetes.io/name", "com.docker.compose.service"]),
            (
                "service_namespace",
                &["service.namespace", "app.kubernetes.io/part-of", "com.docker.compose.project"],
            ),
            ("service_version", &["service.version", "app.kubernetes.io/version"]),
            ("deployment_environment_name", &["deployment.environment.name"]),
            ("track", &["greylight.track"]),
        ];
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self(rules.into_iter().map(|(label, names)| (label.to_owned(), owned(names))).collect())
    }
}

impl From<BTreeMap<String, Vec<String>>> for LabelRules {
    fn from(set: BTreeMap<String, Vec<String>>) -> Self {
        let mut rules = Self::default();
        rules.0.extend(set);
        rules
    }
}

impl LabelRules {
    /// Returns the labels that it makes.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Returns the labels that a container's labels become, with their values; those without a value are none.
    pub(crate) fn apply<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(|(label, names)| {
            let value = names.iter().find_map(|name| labels.get(name).filter(|value| !value.is_empty()))?;
            Some((label.as_str(), value.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_first_label_that_a_container_has_is_taken() {
        let of = |rules: &LabelRules, pairs: &[(&str, &str)]| {
            let labels = labels(pairs);
            rules.apply(&labels).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        let rules = LabelRules::default();
        let compose =
            [("com.docker.compose.service", "cart"), ("com.docker.compose.project", "shop"), ("tier", "x")];
        assert_eq!(of(&rules, &compose), "service_name=cart service_namespace=shop");
        let both = [
            ("service.name", "basket"),
            ("com.docker.compose.service", "cart"),
            ("greylight.track", "canary"),
        ];
        assert_eq!(of(&rules, &both), "service_name=basket track=canary");
        assert_eq!(
            of(&rules, &[("service.version", ""), ("app.kubernetes.io/version", "2")]),
            "service_version=2"
        );
        let set: LabelRules = toml::from_str(
            "service_name = []\nteam = ['example.team']\ntrack = ['track', 'greylight.track']",
        )
        .unwrap();
        let all = [
            ("service.name", "a"),
            ("example.team", "t"),
            ("greylight.track", "g"),
            ("service.version", "3"),
        ];
        assert_eq!(of(&set, &all), "service_version=3 team=t track=g");
    }

    #[test]
    fn only_what_docker_writes_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.v2.json");
        assert_eq!(Container::read(dir.path()), None);
        crate::tail::tests::write(&path, br#"{"Name":"/cart","Config":{"Image":"i","Labels":null}}"#);
        let found = Container::read(dir.path()).unwrap();
        assert_eq!((found.name.as_str(), found.image.as_str(), found.labels.len()), ("cart", "i", 0));
        crate::tail::tests::write(&path, br#"{"Name":"/cart","Config":{"Labels":{"a":1}}}"#);
        assert_eq!(Container::read(dir.path()), None);
        let mut large = br#"{"Name":"/cart","Config":{"Image":"i"}}"#.to_vec();
        large.resize(usize::try_from(BYTES_MAX).unwrap() + 1, b' ');
        crate::tail::tests::write(&path, &large);
        assert_eq!(Container::read(dir.path()), None, "above the cap");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(text: Vec<u8>, name: String, label: String, value: String) {
            let _ = Container::parse(&text);
            let written = serde_json::json!({"Name": format!("/{name}"), "Config": {"Labels": {&label: &value}}});
            let found = Container::parse(written.to_string().as_bytes()).unwrap();
            prop_assert_eq!(found.labels.get(&label), Some(&value));
        }
    }
}
