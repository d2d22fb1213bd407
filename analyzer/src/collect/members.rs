//! Lets a cohort's reads find series and records that lack its labels.
//!
//! A cohort is known by labels that only some of its series carry: the service's own have `service_name` and
//! `service_version`, those of cAdvisor and kube-state-metrics name its pods, and others only its targets. A read that
//! finds nothing by the cohort's own labels is asked again by the cohort's *members*:
//!
//! 1. its pods, as `namespace` and `pod`, then as `k8s_namespace_name` and `k8s_pod_name`;
//! 2. its targets, as `job` and `instance`.
//!
//! Members are what the cohort's own series and records name, what `target_info` names (where the service may stand in
//! `job`), and what `kube_pod_labels` names by the recommended labels. Where the cohort's labels are there on such a
//! series, they must not contradict. What a look read so is pinned like all that it read, so a replay needs no members.

use std::collections::BTreeSet;
use std::sync::Arc;

use greylight_query::promql;
use greylight_store::model::{
    Clock, Exemplar, Labels, METRIC_NAME, MatchOp, Matcher, TenantId, TimeRange, Timestamp,
};
use greylight_store::pattern::TemplateId;
use greylight_store::read::{
    Budget, Flow, FoundRecord, GroupBy, Intervals, Limits, LogCounts, LogNumbers, LogOrder, LogPage,
    LogPatterns, LogSelect, LogSource, MetricMetadata, MetricSource, Missing, PageRequest, ReadError,
    RecordId, Select, Selection, SpanMs,
};
use parking_lot::Mutex;

use super::{CollectError, Collector, parsed};

/// The labels that Kubernetes recommends, and the short ones, in the place of those of our cohorts.
const POD_LABELS: [(&str, [&str; 2]); 4] = [
    ("service_name", ["label_app_kubernetes_io_name", "label_app"]),
    ("service_version", ["label_app_kubernetes_io_version", "label_version"]),
    ("service_namespace", ["label_app_kubernetes_io_part_of", "namespace"]),
    ("track", ["label_greylight_track", "label_track"]),
];
/// Labels of a series that name its pod, in the spelling of Kubernetes' exporters and of OpenTelemetry.
const POD_NAMES: [[&str; 2]; 2] = [["namespace", "pod"], ["k8s_namespace_name", "k8s_pod_name"]];

/// A store in which cohorts find what lacks their labels.
#[derive(Debug)]
struct Joined {
    metrics: Arc<dyn MetricSource>,
    logs: Arc<dyn LogSource>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    /// When members were members.
    span: SpanMs,
    cohorts: Vec<Cohort>,
}

#[derive(Debug)]
struct Cohort {
    matchers: Vec<Matcher>,
    /// What selects its members, the better way first; found when first wanted.
    members: Mutex<Option<Arc<Vec<Vec<Matcher>>>>>,
}

/// What members are called, by their labels.
#[derive(Debug, Default)]
struct Members {
    /// Namespace, "" where it is not known, and pod.
    pods: BTreeSet<(String, String)>,
    /// Job and instance.
    targets: BTreeSet<(String, String)>,
}

impl Collector {
    /// Returns a collector whose reads find members of these cohorts, by the members that they have in a span.
    ///
    /// - `cohorts`: matchers without braces, as queries are filled with them.
    pub(crate) fn joined(
        &self,
        cohorts: impl IntoIterator<Item = String>,
        span: SpanMs,
    ) -> Result<Self, CollectError> {
        let mut known = BTreeSet::new();
        let mut all = Vec::new();
        for inner in cohorts {
            if known.insert(inner.clone()) {
                let matchers = parsed(&format!("{{{inner}}}"))?;
                all.push(Cohort { matchers, members: Mutex::default() });
            }
        }
        let joined = Arc::new(Joined {
            metrics: self.metrics.clone(),
            logs: self.logs.clone(),
            clock: self.clock.clone(),
            limits: self.limits,
            span,
            cohorts: all,
        });
        let engine = promql::Engine::new(joined.clone(), self.engine.options().clone());
        let elsewhere = self.elsewhere.joined(known.into_iter().collect(), span);
        Ok(Self { metrics: joined.clone(), logs: joined, engine, elsewhere, ..self.clone() })
    }
}

impl Joined {
    /// Returns what members are selected by in the place of the cohort that a read names, the better way first; each
    /// with the read's other matchers.
    ///
    /// None for a metric that the cohort has by its own labels: a part of it that is absent, such as requests that
    /// failed, is not to be looked for elsewhere.
    fn ways(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        span: SpanMs,
    ) -> Result<Vec<Vec<Matcher>>, ReadError> {
        let holds = |one: &Matcher, all: &[Matcher]| all.iter().any(|other| is_same(one, other));
        let named = |cohort: &&Cohort| cohort.matchers.iter().all(|one| holds(one, matchers));
        let Some(cohort) = self.cohorts.iter().filter(named).max_by_key(|cohort| cohort.matchers.len())
        else {
            return Ok(Vec::new());
        };
        let rest: Vec<Matcher> =
            matchers.iter().filter(|one| !holds(one, &cohort.matchers)).cloned().collect();
        let metric = rest.iter().find(|one| one.name() == METRIC_NAME).filter(|_| rest.len() > 1);
        if let Some(metric) = metric {
            let whole: Vec<Matcher> = cohort.matchers.iter().chain([metric]).cloned().collect();
            let select = Select { matchers: &whole, span };
            if !self.metrics.select(tenant, &select, &self.budget())?.series().is_empty() {
                return Ok(Vec::new());
            }
        }
        let members = self.members(tenant, cohort)?;
        Ok(members.iter().map(|way| rest.iter().chain(way).cloned().collect()).collect())
    }

    fn members(&self, tenant: &TenantId, cohort: &Cohort) -> Result<Arc<Vec<Vec<Matcher>>>, ReadError> {
        let mut known = cohort.members.lock();
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let members = self.find(tenant, &cohort.matchers)?;
        let mut ways = Vec::new();
        for [namespace, pod] in POD_NAMES {
            ways.extend(pod_matchers(&members.pods, namespace, pod)?);
        }
        ways.extend(target_matchers(&members.targets)?);
        for way in &mut ways {
            way.extend(guards(&cohort.matchers, way)?);
        }
        let ways = Arc::new(ways);
        *known = Some(ways.clone());
        Ok(ways)
    }

    fn find(&self, tenant: &TenantId, cohort: &[Matcher]) -> Result<Members, ReadError> {
        let mut members = Members::default();
        for labels in self.series(tenant, cohort.to_vec())? {
            members.note(&labels);
        }
        let range = TimeRange::new(
            Timestamp::from_millis(self.span.start),
            Timestamp::from_millis(self.span.end.saturating_add(1)),
        );
        if let Ok(range) = range {
            for labels in self.logs.streams(tenant, &[cohort.to_vec()], range, &self.budget())? {
                members.note(&labels);
            }
        }
        let named = |metric: &str| Matcher::equal(METRIC_NAME, metric);
        if let Some(by_job) = with_job(cohort)? {
            let target_info = by_job.into_iter().chain([named("target_info")]).collect();
            self.series(tenant, target_info)?.iter().for_each(|labels| members.note(labels));
        }
        for spelling in [0, 1] {
            let own = cohort
                .iter()
                .map(|one| Matcher::new(&pod_label(one.name(), spelling), one.op(), one.value()));
            let own = own.chain([Ok(named("kube_pod_labels"))]).collect::<Result<_, _>>();
            let own = own.map_err(|e| ReadError::Invalid(e.to_string()))?;
            self.series(tenant, own)?.iter().for_each(|labels| members.note(labels));
        }
        members.pods_once();
        Ok(members)
    }

    fn series(&self, tenant: &TenantId, matchers: Vec<Matcher>) -> Result<Vec<Labels>, ReadError> {
        let select = Select { matchers: &matchers, span: self.span };
        Ok(self.metrics.select(tenant, &select, &self.budget())?.series().to_vec())
    }

    fn budget(&self) -> Budget {
        Budget::new(self.limits, self.clock.clone())
    }

    /// Selects by the read's own matchers, or by the first way that finds members.
    fn selected(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        ask: impl Fn(&Select<'_>) -> Result<Box<dyn Selection>, ReadError>,
    ) -> Result<Box<dyn Selection>, ReadError> {
        let own = ask(select)?;
        if own.series().is_empty() {
            for matchers in self.ways(tenant, select.matchers, select.span)? {
                let found = ask(&Select { matchers: &matchers, span: select.span })?;
                if !found.series().is_empty() {
                    return Ok(found);
                }
            }
        }
        Ok(own)
    }

    /// Returns a selection of records by the cohort's labels, or by its members where no stream has these labels.
    fn resolved(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        budget: &Budget,
    ) -> Result<LogSelect, ReadError> {
        let has_stream = |matchers: &[Matcher]| {
            let streams = self.logs.streams(tenant, &[matchers.to_vec()], select.range, budget)?;
            Ok::<_, ReadError>(!streams.is_empty())
        };
        if !has_stream(&select.matchers)? {
            for matchers in self.ways(tenant, &select.matchers, self.span)? {
                if has_stream(&matchers)? {
                    return Ok(LogSelect { matchers, ..select.clone() });
                }
            }
        }
        Ok(select.clone())
    }
}

impl Members {
    fn note(&mut self, labels: &Labels) {
        for [namespace, pod] in POD_NAMES {
            if let Some(pod) = labels.get(pod) {
                let namespace = labels.get(namespace).unwrap_or_default();
                self.pods.insert((namespace.to_owned(), pod.to_owned()));
            }
        }
        if let (Some(job), Some(instance), "target_info") =
            (labels.get("job"), labels.get("instance"), labels.metric_name())
        {
            self.targets.insert((job.to_owned(), instance.to_owned()));
        }
    }

    /// Drops pods without a namespace where one of the name is known with it.
    fn pods_once(&mut self) {
        let known: BTreeSet<String> = self
            .pods
            .iter()
            .filter(|(namespace, _)| !namespace.is_empty())
            .map(|(_, pod)| pod.clone())
            .collect();
        self.pods.retain(|(namespace, pod)| !namespace.is_empty() || !known.contains(pod));
    }
}

fn is_same(a: &Matcher, b: &Matcher) -> bool {
    (a.name(), a.op(), a.value()) == (b.name(), b.op(), b.value())
}

/// The label of `kube_pod_labels` for a label of a cohort.
fn pod_label(name: &str, spelling: usize) -> String {
    match POD_LABELS.iter().find(|(own, _)| *own == name) {
        Some((_, spellings)) => spellings[spelling].to_owned(),
        None if ["namespace", "pod"].contains(&name) => name.to_owned(),
        None => format!("label_{name}"),
    }
}

/// The cohort by `job`, which holds the service's name, perhaps behind its namespace, where nothing else does.
fn with_job(cohort: &[Matcher]) -> Result<Option<Vec<Matcher>>, ReadError> {
    let is_service = |one: &&Matcher| one.name() == "service_name" && one.op() == MatchOp::Equal;
    let Some(service) = cohort.iter().find(is_service) else { return Ok(None) };
    let job = one_of("job", &format!("(?:.*/)?{}", regex::escape(service.value())))?;
    Ok(Some(cohort.iter().filter(|one| !is_same(one, service)).cloned().chain([job]).collect()))
}

fn one_of(name: &str, pattern: &str) -> Result<Matcher, ReadError> {
    if pattern.len() > Matcher::REGEX_BYTES_MAX {
        return Err(ReadError::Invalid(format!(
            "the cohort has more values of {name} than one question can name; select it by labels that its series carry"
        )));
    }
    Matcher::new(name, MatchOp::Regex, pattern).map_err(|e| ReadError::Invalid(e.to_string()))
}

/// Matches each of these texts. Names of pods differ in what is behind their last hyphen, so the rest stands once.
fn any_of<'t>(name: &str, texts: impl Iterator<Item = &'t str>) -> Result<Matcher, ReadError> {
    let mut by_start: std::collections::BTreeMap<&str, BTreeSet<&str>> = std::collections::BTreeMap::new();
    for text in texts {
        let (start, end) = text.split_at(text.rfind('-').map_or(0, |at| at + 1));
        by_start.entry(start).or_default().insert(end);
    }
    let escaped =
        |ends: &BTreeSet<&str>| ends.iter().map(|end| regex::escape(end)).collect::<Vec<_>>().join("|");
    let parts: Vec<String> = by_start
        .iter()
        .map(|(start, ends)| format!("{}(?:{})", regex::escape(start), escaped(ends)))
        .collect();
    one_of(name, &parts.join("|"))
}

fn pod_matchers(
    pods: &BTreeSet<(String, String)>,
    namespace: &str,
    pod: &str,
) -> Result<Option<Vec<Matcher>>, ReadError> {
    if pods.is_empty() {
        return Ok(None);
    }
    let mut matchers = vec![any_of(pod, pods.iter().map(|(_, pod)| pod.as_str()))?];
    if pods.iter().all(|(namespace, _)| !namespace.is_empty()) {
        matchers.push(any_of(namespace, pods.iter().map(|(namespace, _)| namespace.as_str()))?);
    }
    Ok(Some(matchers))
}

fn target_matchers(targets: &BTreeSet<(String, String)>) -> Result<Option<Vec<Matcher>>, ReadError> {
    if targets.is_empty() {
        return Ok(None);
    }
    let job = any_of("job", targets.iter().map(|(job, _)| job.as_str()))?;
    Ok(Some(vec![job, any_of("instance", targets.iter().map(|(_, instance)| instance.as_str()))?]))
}

/// The cohort's own matchers, each met by an absent label too.
fn guards(cohort: &[Matcher], way: &[Matcher]) -> Result<Vec<Matcher>, ReadError> {
    let own = cohort.iter().filter(|one| way.iter().all(|other| other.name() != one.name()));
    own.map(|one| match one.op() {
        MatchOp::Equal => one_of(one.name(), &format!("|{}", regex::escape(one.value()))),
        MatchOp::Regex => one_of(one.name(), &format!("|(?:{})", one.value())),
        MatchOp::NotEqual | MatchOp::NotRegex => Ok(one.clone()),
    })
    .collect()
}

impl MetricSource for Joined {
    fn select(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        self.selected(tenant, select, |one| self.metrics.select(tenant, one, budget))
    }

    fn select_last(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        self.selected(tenant, select, |one| self.metrics.select_last(tenant, one, budget))
    }

    fn bounds(&self, tenant: &TenantId) -> Option<SpanMs> {
        self.metrics.bounds(tenant)
    }

    fn n_chunks(&self, tenant: &TenantId) -> Option<u64> {
        self.metrics.n_chunks(tenant)
    }

    fn label_names(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        self.metrics.label_names(tenant, sets, span, budget)
    }

    fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        self.metrics.label_values(tenant, name, sets, span, budget)
    }

    fn exemplars(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        self.metrics.exemplars(tenant, sets, span, budget)
    }

    fn metadata(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<MetricMetadata>, ReadError> {
        self.metrics.metadata(tenant, name)
    }
}

impl LogSource for Joined {
    fn search(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        page: &PageRequest,
        budget: &Budget,
    ) -> Result<LogPage, ReadError> {
        self.logs.search(tenant, &self.resolved(tenant, select, budget)?, page, budget)
    }

    fn scan(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        order: LogOrder,
        budget: &Budget,
        sink: &mut dyn FnMut(FoundRecord) -> Flow,
    ) -> Result<Missing, ReadError> {
        self.logs.scan(tenant, &self.resolved(tenant, select, budget)?, order, budget, sink)
    }

    fn count(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        intervals: Intervals,
        by: &[GroupBy],
        budget: &Budget,
    ) -> Result<LogCounts, ReadError> {
        self.logs.count(tenant, &self.resolved(tenant, select, budget)?, intervals, by, budget)
    }

    fn numbers(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        intervals: Intervals,
        field: &str,
        budget: &Budget,
    ) -> Result<LogNumbers, ReadError> {
        self.logs.numbers(tenant, &self.resolved(tenant, select, budget)?, intervals, field, budget)
    }

    fn patterns(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        limit: usize,
        budget: &Budget,
    ) -> Result<LogPatterns, ReadError> {
        self.logs.patterns(tenant, &self.resolved(tenant, select, budget)?, limit, budget)
    }

    fn context(
        &self,
        tenant: &TenantId,
        id: RecordId,
        before: usize,
        after: usize,
        budget: &Budget,
    ) -> Result<LogPage, ReadError> {
        self.logs.context(tenant, id, before, after, budget)
    }

    fn streams(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Vec<Labels>, ReadError> {
        let own = self.logs.streams(tenant, sets, range, budget)?;
        if let ([set], true) = (sets, own.is_empty()) {
            for matchers in self.ways(tenant, set, self.span)? {
                let found = self.logs.streams(tenant, &[matchers], range, budget)?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
        }
        Ok(own)
    }

    fn template_text(&self, tenant: &TenantId, id: TemplateId) -> Option<String> {
        self.logs.template_text(tenant, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(all: &[(&str, &str)]) -> BTreeSet<(String, String)> {
        all.iter().map(|(namespace, pod)| ((*namespace).to_owned(), (*pod).to_owned())).collect()
    }

    #[test]
    fn pods_are_named_by_what_they_share_once() {
        let all = pods(&[("shop", "cart-7d9f-a1.b"), ("shop", "cart-7d9f-c2"), ("shop", "solo")]);
        let matchers = pod_matchers(&all, "namespace", "pod").unwrap().unwrap();
        let shown: Vec<&str> = matchers.iter().map(Matcher::value).collect();
        assert_eq!(shown, [r"(?:solo)|cart\-7d9f\-(?:a1\.b|c2)", "(?:shop)"]);
        for (pod, want) in
            [("cart-7d9f-a1.b", true), ("cart-7d9f-a1xb", false), ("solo", true), ("cart", false)]
        {
            assert_eq!(matchers[0].matches(pod), want, "{pod}");
        }
    }

    #[test]
    fn a_pod_known_without_namespace_leaves_the_namespace_open() {
        let mut members =
            Members { pods: pods(&[("", "a"), ("shop", "a"), ("", "b")]), ..Members::default() };
        members.pods_once();
        assert_eq!(members.pods, pods(&[("", "b"), ("shop", "a")]));
        assert_eq!(pod_matchers(&members.pods, "namespace", "pod").unwrap().unwrap().len(), 1);
    }

    #[test]
    fn too_many_members_are_an_error_and_no_part_of_them() {
        let many: BTreeSet<(String, String)> =
            (0..4000).map(|n| (String::new(), format!("cart-{n:010}"))).collect();
        let error = pod_matchers(&many, "namespace", "pod").unwrap_err();
        assert!(error.to_string().contains("more values of pod"), "{error}");
    }

    #[test]
    fn absent_labels_pass_the_guards_and_others_do_not() {
        let cohort = [Matcher::equal("service_name", "cart"), Matcher::equal("pod", "x")];
        let way = [Matcher::equal("pod", "y")];
        let guards = guards(&cohort, &way).unwrap();
        let shown: Vec<&str> = guards.iter().map(Matcher::name).collect();
        assert_eq!(shown, ["service_name"]);
        assert!(guards[0].matches("") && guards[0].matches("cart") && !guards[0].matches("istio-proxy"));
    }
}
