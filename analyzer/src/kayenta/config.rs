//! Kayenta's canary configuration.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::error::KayentaError;
use super::judge::JUDGE_NAME;
use super::score::Thresholds;
use super::settings::Settings;

/// A canary configuration: which metrics are compared, and how they are weighed.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryConfig {
    /// Its id, where it is stored.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its author's version.
    pub config_version: Option<String>,
    /// Who may use it.
    pub applications: Vec<String>,
    /// Which judge it names.
    pub judge: Option<String>,
    /// The metrics, in order.
    pub metrics: Vec<Metric>,
    /// Query templates by name.
    pub templates: IndexMap<String, String>,
    /// Weight of each group in the summary; should add up to 100, which nobody checks.
    pub group_weights: IndexMap<String, f64>,
    /// What its user interface fills in; the judge takes the request's.
    pub score_thresholds: Option<Thresholds>,
    /// What was read and means nothing here, by path.
    pub warnings: Vec<String>,
}

/// One metric of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Where its values come from; absent where values come with the request.
    pub query: Option<Query>,
    /// The groups that it counts in.
    pub groups: Vec<String>,
    /// How it is judged.
    pub settings: Settings,
    /// The scope of the request that it is read in.
    pub scope_name: Option<String>,
}

/// A metric's query, in the words of its metric store.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The metric store's kind.
    pub kind: String,
    /// Its fields, of the types that the kind wants.
    pub fields: Map<String, Value>,
}

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To judge with values that are given: names and queries may be absent.
    Judge,
    /// To be stored, which Kayenta is stricter about.
    Store,
}

#[derive(Clone, Copy)]
enum Shape {
    Text,
    Texts,
    /// A list of `{key, value}`.
    Pairs,
}

/// Kinds of metric stores with their fields.
const QUERIES: [(&str, &[(&str, Shape)]); 9] = [
    ("atlas", &[("q", Shape::Text)]),
    ("datadog", &[("metricName", Shape::Text)]),
    ("graphite", &[("metricName", Shape::Text)]),
    ("influxdb", &[("metricName", Shape::Text), ("fields", Shape::Texts)]),
    ("newrelic", &[("q", Shape::Text), ("select", Shape::Text)]),
    (
        "prometheus",
        &[
            ("metricName", Shape::Text),
            ("resourceType", Shape::Text),
            ("labelBindings", Shape::Texts),
            ("groupByFields", Shape::Texts),
        ],
    ),
    (
        "signalfx",
        &[("metricName", Shape::Text), ("queryPairs", Shape::Pairs), ("aggregationMethod", Shape::Text)],
    ),
    (
        "stackdriver",
        &[
            ("metricType", Shape::Text),
            ("resourceType", Shape::Text),
            ("crossSeriesReducer", Shape::Text),
            ("perSeriesAligner", Shape::Text),
            ("groupByFields", Shape::Texts),
        ],
    ),
    ("wavefront", &[("metricName", Shape::Text), ("summarization", Shape::Text), ("aggregate", Shape::Text)]),
];
/// Fields of a query of any kind.
const QUERY_FIELDS: [&str; 5] =
    ["type", "serviceType", "customInlineTemplate", "customFilterTemplate", "customFilter"];

impl CanaryConfig {
    /// Reads a configuration.
    ///
    /// Unknown keys and words mean to Kayenta that they are not there; here too, but each is named in
    /// [`warnings`](Self::warnings). A value of the wrong type is an error.
    ///
    /// # Errors
    /// [`KayentaError::Field`] with the path of what is wrong.
    pub fn read(value: &Value, path: &str, purpose: Purpose) -> Result<Self, KayentaError> {
        let mut reader = Reader::default();
        let fields = value.as_object().ok_or_else(|| KayentaError::field(path, "is an object"))?;
        const KNOWN: [&str; 13] = [
            "id",
            "name",
            "description",
            "configVersion",
            "createdTimestamp",
            "createdTimestampIso",
            "updatedTimestamp",
            "updatedTimestampIso",
            "applications",
            "judge",
            "metrics",
            "templates",
            "classifier",
        ];
        reader.warn_of_strangers(fields, &KNOWN, path);
        for (name, is_number) in [
            ("createdTimestamp", true),
            ("updatedTimestamp", true),
            ("createdTimestampIso", false),
            ("updatedTimestampIso", false),
        ] {
            if is_number {
                reader.number(fields, name, path).map(drop)?
            } else {
                reader.text(fields, name, path).map(drop)?
            }
        }
        let classifier = reader
            .object(fields, "classifier", path)?
            .ok_or_else(|| KayentaError::field(format!("{path}.classifier"), "is required"))?;
        let classifier_path = format!("{path}.classifier");
        reader.warn_of_strangers(classifier, &["groupWeights", "scoreThresholds"], &classifier_path);
        let config = Self {
            id: reader.text(fields, "id", path)?,
            name: reader.text(fields, "name", path)?,
            description: reader.text(fields, "description", path)?,
            config_version: reader.text(fields, "configVersion", path)?,
            applications: reader.texts(fields, "applications", path)?.unwrap_or_default(),
            judge: read_judge(fields, path, &mut reader)?,
            metrics: read_metrics(fields, path, purpose, &mut reader)?,
            templates: read_templates(fields, path, &mut reader)?,
            group_weights: read_weights(classifier, &classifier_path, &mut reader)?,
            score_thresholds: reader
                .object(classifier, "scoreThresholds", &classifier_path)?
                .map(|one| read_thresholds(one, &format!("{classifier_path}.scoreThresholds"), &mut reader))
                .transpose()?,
            warnings: Vec::new(),
        };
        if purpose == Purpose::Store {
            config.check_storable(path)?;
        }
        Ok(Self { warnings: reader.warnings, ..config })
    }

    /// Finds a metric by its name; the first one, as Kayenta does.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    fn check_storable(&self, path: &str) -> Result<(), KayentaError> {
        let wrong =
            |field: &str, problem: String| Err(KayentaError::field(format!("{path}.{field}"), problem));
        // Kayenta's pattern lets commas through, and so do we.
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ',');
        match &self.name {
            None => return wrong("name", "is required".into()),
            Some(name) if name.is_empty() || !name.chars().all(is_fine) => {
                return wrong("name", format!("letters, digits, dashes and underscores, not {name:?}"));
            }
            Some(_) => {}
        }
        if self.applications.is_empty() {
            return wrong("applications", "at least one is required".into());
        }
        for (idx, metric) in self.metrics.iter().enumerate() {
            if self.metrics[..idx].iter().any(|other| other.name == metric.name) {
                return wrong(&format!("metrics[{idx}].name"), format!("{:?} is there twice", metric.name));
            }
            if metric.query.is_none() {
                return wrong(&format!("metrics[{idx}].query"), "is required".into());
            }
            if metric.scope_name.is_none() {
                return wrong(&format!("metrics[{idx}].scopeName"), "is required".into());
            }
        }
        Ok(())
    }
}

fn read_judge(
    fields: &Map<String, Value>,
    path: &str,
    reader: &mut Reader,
) -> Result<Option<String>, KayentaError> {
    let Some(judge) = reader.object(fields, "judge", path)? else { return Ok(None) };
    let path = format!("{path}.judge");
    reader.warn_of_strangers(judge, &["name", "judgeConfigurations"], &path);
    reader.object(judge, "judgeConfigurations", &path)?;
    let name = reader.text(judge, "name", &path)?;
    match name.as_deref() {
        // The second is what Kayenta sends to its remote judge, which we are.
        None | Some(JUDGE_NAME | "RemoteJudge-v1.0") => Ok(name),
        Some("dredd-v1.0") => Err(KayentaError::field(
            format!("{path}.name"),
            "dredd-v1.0 labels at random, which is not offered here",
        )),
        Some(other) => Err(KayentaError::field(
            format!("{path}.name"),
            format!("{other:?} is no judge; known are {JUDGE_NAME} and RemoteJudge-v1.0"),
        )),
    }
}

fn read_metrics(
    fields: &Map<String, Value>,
    path: &str,
    purpose: Purpose,
    reader: &mut Reader,
) -> Result<Vec<Metric>, KayentaError> {
    let path = format!("{path}.metrics");
    let list = match fields.get("metrics") {
        Some(Value::Array(list)) => list.as_slice(),
        None | Some(Value::Null) => &[],
        Some(_) => return Err(KayentaError::field(path, "is a list")),
    };
    // An empty list may be stored; it cannot be judged by.
    if list.is_empty() && purpose == Purpose::Judge {
        return Err(KayentaError::field(path, "at least one is required"));
    }
    (list.iter().enumerate()).map(|(idx, one)| read_metric(one, &format!("{path}[{idx}]"), reader)).collect()
}

fn read_metric(value: &Value, path: &str, reader: &mut Reader) -> Result<Metric, KayentaError> {
    let fields = value.as_object().ok_or_else(|| KayentaError::field(path, "is an object"))?;
    reader.warn_of_strangers(
        fields,
        &["name", "query", "groups", "analysisConfigurations", "scopeName"],
        path,
    );
    let name = reader
        .text(fields, "name", path)?
        .ok_or_else(|| KayentaError::field(format!("{path}.name"), "is required"))?;
    let groups = reader
        .texts(fields, "groups", path)?
        .ok_or_else(|| KayentaError::field(format!("{path}.groups"), "is required"))?;
    let query = reader.object(fields, "query", path)?;
    let query = query.map(|query| read_query(query, &format!("{path}.query"), reader)).transpose()?;
    let analysis_path = format!("{path}.analysisConfigurations");
    let settings = match reader.object(fields, "analysisConfigurations", path)? {
        Some(all) => {
            // Other judges may have settings of their own beside these.
            match reader.object(all, "canary", &analysis_path)? {
                Some(canary) => Settings::read(canary, &format!("{analysis_path}.canary"), reader)?,
                None => Settings::default(),
            }
        }
        None => Settings::default(),
    };
    Ok(Metric { name, query, groups, settings, scope_name: reader.text(fields, "scopeName", path)? })
}

fn read_query(fields: &Map<String, Value>, path: &str, reader: &mut Reader) -> Result<Query, KayentaError> {
    let kind = reader
        .text(fields, "type", path)?
        .ok_or_else(|| KayentaError::field(format!("{path}.type"), "is required"))?;
    let Some((_, own)) = QUERIES.iter().find(|(name, _)| *name == kind) else {
        let known: Vec<&str> = QUERIES.iter().map(|(name, _)| *name).collect();
        return Err(KayentaError::field(
            format!("{path}.type"),
            format!("{kind:?} is none of {}", known.join(", ")),
        ));
    };
    let known: Vec<&str> = QUERY_FIELDS.into_iter().chain(own.iter().map(|(name, _)| *name)).collect();
    reader.warn_of_strangers(fields, &known, path);
    for name in QUERY_FIELDS {
        reader.text(fields, name, path)?;
    }
    if let Some(service) = reader.text(fields, "serviceType", path)?
        && service != kind
    {
        return Err(KayentaError::field(
            format!("{path}.serviceType"),
            format!("is the same as type, {kind:?}, not {service:?}"),
        ));
    }
    for (name, shape) in *own {
        match shape {
            Shape::Text => reader.text(fields, name, path).map(drop)?,
            Shape::Texts => reader.texts(fields, name, path).map(drop)?,
            Shape::Pairs => read_pairs(fields, name, path, reader)?,
        }
    }
    let mut fields = fields.clone();
    fields.remove("type");
    Ok(Query { kind, fields })
}

fn read_pairs(
    fields: &Map<String, Value>,
    name: &str,
    path: &str,
    reader: &mut Reader,
) -> Result<(), KayentaError> {
    let path = format!("{path}.{name}");
    match fields.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(list)) => {
            for (idx, one) in list.iter().enumerate() {
                let path = format!("{path}[{idx}]");
                let one = one.as_object().ok_or_else(|| KayentaError::field(&*path, "is an object"))?;
                reader.warn_of_strangers(one, &["key", "value"], &path);
                for name in ["key", "value"] {
                    reader
                        .text(one, name, &path)?
                        .ok_or_else(|| KayentaError::field(format!("{path}.{name}"), "is required"))?;
                }
            }
            Ok(())
        }
        Some(_) => Err(KayentaError::field(path, "is a list")),
    }
}

fn read_templates(
    fields: &Map<String, Value>,
    path: &str,
    reader: &mut Reader,
) -> Result<IndexMap<String, String>, KayentaError> {
    let Some(templates) = reader.object(fields, "templates", path)? else { return Ok(IndexMap::new()) };
    (templates.iter())
        .map(|(name, text)| match text {
            Value::String(text) => Ok((name.clone(), text.clone())),
            _ => Err(KayentaError::field(format!("{path}.templates.{name}"), "is a text")),
        })
        .collect()
}

fn read_weights(
    fields: &Map<String, Value>,
    path: &str,
    reader: &mut Reader,
) -> Result<IndexMap<String, f64>, KayentaError> {
    let weights = reader
        .object(fields, "groupWeights", path)?
        .ok_or_else(|| KayentaError::field(format!("{path}.groupWeights"), "is required"))?;
    (weights.iter())
        .map(|(group, weight)| match weight.as_f64() {
            Some(weight) => Ok((group.clone(), weight)),
            None => Err(KayentaError::field(format!("{path}.groupWeights.{group}"), "is a number")),
        })
        .collect()
}

/// Reads `{pass, marginal}`.
pub(super) fn read_thresholds(
    fields: &Map<String, Value>,
    path: &str,
    reader: &mut Reader,
) -> Result<Thresholds, KayentaError> {
    reader.warn_of_strangers(fields, &["pass", "marginal"], path);
    let number = |name: &str| {
        reader
            .number(fields, name, path)?
            .ok_or_else(|| KayentaError::field(format!("{path}.{name}"), "is required"))
    };
    Ok(Thresholds { pass: number("pass")?, marginal: number("marginal")? })
}

/// Reads fields of JSON objects; null is absent. Collects what means nothing.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) warnings: Vec<String>,
}

impl Reader {
    pub(super) fn warn_of_strangers(&mut self, fields: &Map<String, Value>, known: &[&str], path: &str) {
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            self.warnings.push(format!("{path}.{name}: is no field here and means nothing"));
        }
    }

    pub(super) fn object<'a>(
        &self,
        fields: &'a Map<String, Value>,
        name: &str,
        path: &str,
    ) -> Result<Option<&'a Map<String, Value>>, KayentaError> {
        match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(KayentaError::field(format!("{path}.{name}"), "is an object")),
        }
    }

    pub(super) fn text(
        &self,
        fields: &Map<String, Value>,
        name: &str,
        path: &str,
    ) -> Result<Option<String>, KayentaError> {
        match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(KayentaError::field(format!("{path}.{name}"), "is a text")),
        }
    }

    pub(super) fn texts(
        &self,
        fields: &Map<String, Value>,
        name: &str,
        path: &str,
    ) -> Result<Option<Vec<String>>, KayentaError> {
        let wrong = || KayentaError::field(format!("{path}.{name}"), "is a list of texts");
        match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => {
                let texts: Option<Vec<String>> =
                    list.iter().map(|one| one.as_str().map(str::to_owned)).collect();
                texts.map(Some).ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }

    pub(super) fn number(
        &self,
        fields: &Map<String, Value>,
        name: &str,
        path: &str,
    ) -> Result<Option<f64>, KayentaError> {
        match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_f64()
                .map(Some)
                .ok_or_else(|| KayentaError::field(format!("{path}.{name}"), "is a number")),
        }
    }

    pub(super) fn flag(
        &self,
        fields: &Map<String, Value>,
        name: &str,
        path: &str,
    ) -> Result<bool, KayentaError> {
        match fields.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(KayentaError::field(format!("{path}.{name}"), "is true or false")),
        }
    }

    /// Reads a word; one that is not known is warned about and given back as it is.
    pub(super) fn word<'a>(
        &mut self,
        fields: &'a Map<String, Value>,
        name: &str,
        path: &str,
        known: &[&str],
    ) -> Option<&'a str> {
        let value = fields.get(name).filter(|value| !value.is_null())?;
        let word = value.as_str().unwrap_or_default();
        if !known.contains(&word) {
            let known = known.join(", ");
            self.warnings.push(format!("{path}.{name}: {value} is none of {known}; the default is taken"));
        }
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kayenta::{Direction, EffectMeasure, NanStrategy};

    fn full() -> Value {
        json!({
            "id": "c1", "name": "cart-canary", "description": "d", "configVersion": "1.0",
            "createdTimestamp": 1_500_000_000_000_i64, "updatedTimestamp": 1_500_000_000_001_i64,
            "createdTimestampIso": "2017-07-14T02:40:00Z", "updatedTimestampIso": "2017-07-14T02:40:00Z",
            "applications": ["cart"],
            "judge": { "name": "NetflixACAJudge-v1.0", "judgeConfigurations": {} },
            "metrics": [
                {
                    "name": "errors", "groups": ["errors", "all"], "scopeName": "default",
                    "query": { "type": "prometheus", "serviceType": "prometheus", "metricName": "errors",
                        "resourceType": "pod", "labelBindings": ["a"], "groupByFields": [],
                        "customInlineTemplate": "PromQL:sum(x)", "customFilterTemplate": "t", "customFilter": "f" },
                    "analysisConfigurations": { "canary": {
                        "direction": "increase", "nanStrategy": "replace", "critical": true,
                        "mustHaveData": true, "muted": false,
                        "outliers": { "strategy": "remove", "outlierFactor": 2.5 },
                        "effectSize": { "measure": "cles", "allowedIncrease": 0.6, "criticalIncrease": 0.8 } } },
                },
                {
                    "name": "latency", "groups": [], "scopeName": "default",
                    "query": { "type": "signalfx", "metricName": "l", "aggregationMethod": "mean",
                        "queryPairs": [{ "key": "k", "value": "v" }] },
                },
            ],
            "templates": { "t": "x=${scope}" },
            "classifier": { "groupWeights": { "errors": 60, "all": 40.5 }, "scoreThresholds": { "pass": 95, "marginal": 75 } },
        })
    }

    #[test]
    fn every_field_is_read() {
        for purpose in [Purpose::Judge, Purpose::Store] {
            let config = CanaryConfig::read(&full(), "c", purpose).unwrap();
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
            assert_eq!(config.name.as_deref(), Some("cart-canary"));
            assert_eq!((config.group_weights["errors"], config.group_weights["all"]), (60.0, 40.5));
            assert_eq!(config.score_thresholds, Some(Thresholds { pass: 95.0, marginal: 75.0 }));
            assert_eq!(config.templates["t"], "x=${scope}");
            let settings = &config.metrics[0].settings;
            assert_eq!(settings.direction, Direction::Increase);
            assert_eq!(settings.nan_strategy, NanStrategy::Replace);
            assert_eq!(settings.outlier_factor, Some(2.5));
            assert_eq!(settings.measure, EffectMeasure::Cles);
            let effects = [
                settings.allowed_increase,
                settings.allowed_decrease,
                settings.critical_increase,
                settings.critical_decrease,
            ];
            assert_eq!(effects, [0.6, 0.5, 0.8, 0.5]);
            assert!(settings.critical && settings.must_have_data && !settings.muted);
            assert_eq!(config.metrics[1].settings, Settings::default());
            assert_eq!(config.metrics[0].query.as_ref().unwrap().fields["metricName"], "errors");
        }
    }

    /// Puts a value at a pointer and expects a refusal that names the field.
    #[track_caller]
    fn refused(pointer: &str, value: &Value, field: &str) {
        let mut document = full();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        match value {
            Value::Null => drop(parent.as_object_mut().unwrap().remove(name)),
            value => parent[name] = value.clone(),
        }
        let error = CanaryConfig::read(&document, "c", Purpose::Store).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{field}: ")), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        refused("/name", &json!("a b"), "c.name");
        refused("/name", &Value::Null, "c.name");
        refused("/applications", &json!([]), "c.applications");
        refused("/applications", &json!([1]), "c.applications");
        refused("/judge/name", &json!("dredd-v1.0"), "c.judge.name");
        refused("/judge/name", &json!("mine"), "c.judge.name");
        refused("/judge/judgeConfigurations", &json!([]), "c.judge.judgeConfigurations");
        refused("/createdTimestamp", &json!("now"), "c.createdTimestamp");
        refused("/metrics", &json!({}), "c.metrics");
        refused("/metrics/0/name", &Value::Null, "c.metrics[0].name");
        refused("/metrics/1/name", &json!("errors"), "c.metrics[1].name");
        refused("/metrics/0/groups", &Value::Null, "c.metrics[0].groups");
        refused("/metrics/0/groups", &json!("errors"), "c.metrics[0].groups");
        refused("/metrics/0/scopeName", &Value::Null, "c.metrics[0].scopeName");
        refused("/metrics/0/query", &Value::Null, "c.metrics[0].query");
        refused("/metrics/0/query/type", &json!("influx"), "c.metrics[0].query.type");
        refused("/metrics/0/query/serviceType", &json!("atlas"), "c.metrics[0].query.serviceType");
        refused("/metrics/0/query/labelBindings", &json!("a"), "c.metrics[0].query.labelBindings");
        refused(
            "/metrics/1/query/queryPairs/0/value",
            &Value::Null,
            "c.metrics[1].query.queryPairs[0].value",
        );
        let canary = "/metrics/0/analysisConfigurations/canary";
        let field = "c.metrics[0].analysisConfigurations.canary";
        refused(&format!("{canary}/critical"), &json!("true"), &format!("{field}.critical"));
        refused(&format!("{canary}/mustHaveData"), &json!(1), &format!("{field}.mustHaveData"));
        refused(&format!("{canary}/muted"), &json!({}), &format!("{field}.muted"));
        let outliers = format!("{field}.outliers.outlierFactor");
        refused(&format!("{canary}/outliers/outlierFactor"), &json!(0), &outliers);
        refused(
            &format!("{canary}/effectSize/allowedIncrease"),
            &json!("1"),
            &format!("{field}.effectSize.allowedIncrease"),
        );
        refused("/templates/t", &json!(1), "c.templates.t");
        refused("/classifier", &Value::Null, "c.classifier");
        refused("/classifier/groupWeights", &Value::Null, "c.classifier.groupWeights");
        refused("/classifier/groupWeights/all", &json!("40"), "c.classifier.groupWeights.all");
        refused("/classifier/scoreThresholds/pass", &Value::Null, "c.classifier.scoreThresholds.pass");
    }

    #[test]
    fn what_means_nothing_is_warned_about() {
        let mut document = full();
        document["metrics"][0]["analysisConfigurations"]["canary"]["direction"] = json!("up");
        document["metrics"][0]["analysisConfigurations"]["canary"]["weight"] = json!(1);
        document["metrics"][0]["query"]["queryPairs"] = json!([]);
        document["owner"] = json!("me");
        let config = CanaryConfig::read(&document, "c", Purpose::Judge).unwrap();
        assert_eq!(config.metrics[0].settings.direction, Direction::Either);
        assert_eq!(config.warnings.len(), 4, "{:?}", config.warnings);
    }
}
