//! From YAML or JSON text to a [`Policy`].

use std::collections::HashSet;

use serde_json::Value;

use super::error::PolicyError;
use super::fields::{Field, Fields};
use super::kinds::kind;
use super::queries::check_queries;
use super::span::Span;
use super::{
    Alpha, Amount, Births, By, Check, CheckKind, Harm, Margin, Minimum, Missing, Needs, Phase, Policy, Scope,
    Starts, Vote,
};

/// Whether a check must say where its data comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queries {
    /// It must: the policy is for releases.
    Required,
    /// It need not: the data comes with the request (`POST /api/v1/judge`).
    Optional,
}

// Boundaries of longer phases would take seconds to compute; a week of minutes is 10,080.
const LOOKS_MAX: u64 = 20_000;

/// Reads a policy as a user would write it in a file, queries required.
///
/// # Errors
/// [`PolicyError`] with the field's path, its value and what is allowed.
pub fn check(text: &str) -> Result<Policy, PolicyError> {
    let document = document(text)?;
    let policy = from_document(&document, Queries::Required)?;
    check_queries(&document)?;
    Ok(policy)
}

/// Reads a policy from YAML or JSON text.
///
/// # Errors
/// [`PolicyError`] with the field's path, its value and what is allowed.
pub fn parse(text: &str, queries: Queries) -> Result<Policy, PolicyError> {
    from_document(&document(text)?, queries)
}

/// Reads YAML or JSON text into a JSON document, as policies are stored.
///
/// # Errors
/// [`PolicyError::Syntax`] if it is neither, or a key comes twice.
pub fn document(text: &str) -> Result<Value, PolicyError> {
    // JSON first where it looks like JSON: its messages are clearer than those of a YAML reader.
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    serde_saphyr::from_str(text).map_err(|error| PolicyError::Syntax { detail: error.to_string() })
}

/// Reads a policy from a JSON document.
///
/// # Errors
/// [`PolicyError::Field`] with the field's path, its value and what is allowed.
pub fn from_document(document: &Value, queries: Queries) -> Result<Policy, PolicyError> {
    const KEYS: [&str; 13] = [
        "name",
        "alpha",
        "alpha_go",
        "interval",
        "delay",
        "pre_period",
        "warm_up",
        "unit",
        "share_tolerance",
        "births",
        "valid_for",
        "phases",
        "checks",
    ];
    let root = Field::root(document);
    let fields = root.fields(&KEYS)?;
    let alpha = |key: &str, default: f64| -> Result<Alpha, PolicyError> {
        let wanted = "a chance above 0 and below 1";
        let value = fields.get(key).map(|field| field.part(wanted, |part| 0.0 < part && part < 1.0));
        Ok(Alpha::new(value.transpose()?.unwrap_or(default))
            .expect("the reader and the default are inside (0, 1)"))
    };
    let span = |key: &str, least_ms: u64, default_ms: u64| match fields.get(key) {
        Some(field) => field.span(least_ms),
        None => Ok(Span::from_millis(default_ms)),
    };
    let interval = span("interval", 1, 60_000)?;
    let shared = match fields.get("checks") {
        Some(field) => checks(&field, queries)?,
        None => Vec::new(),
    };
    let policy = Policy {
        name: fields.required("name")?.string()?,
        alpha: alpha("alpha", 0.01)?,
        alpha_go: alpha("alpha_go", 0.05)?,
        delay: span("delay", 0, 15_000)?,
        pre_period: span("pre_period", 0, 86_400_000)?,
        warm_up: warm_up(&fields, &interval)?,
        unit: match fields.get("unit") {
            Some(field) => field.strings()?,
            None => ["pod", "k8s_pod_name", "instance"].map(str::to_owned).to_vec(),
        },
        share_tolerance: match fields.get("share_tolerance") {
            Some(field) => share_tolerance(&field)?,
            None => 0.2,
        },
        births: fields.get("births").map(|field| births(&field)).transpose()?,
        valid_for: span("valid_for", 1, 3_600_000)?,
        phases: phases(&fields.required("phases")?, &interval, &shared, queries)?,
        interval,
    };
    Ok(policy)
}

fn warm_up(fields: &Fields<'_>, interval: &Span) -> Result<Span, PolicyError> {
    let Some(field) = fields.get("warm_up") else {
        return Ok(Span::from_millis(120_000));
    };
    let span = field.span(0)?;
    if span.millis() / interval.millis() > LOOKS_MAX {
        return Err(field.conflict(format!("more than {LOOKS_MAX} intervals of {interval}")));
    }
    Ok(span)
}

fn share_tolerance(field: &Field<'_>) -> Result<f64, PolicyError> {
    let wanted = "a part above 0 such as 20%";
    field.fields(&["relative"])?.required("relative")?.part(wanted, |part| part > 0.0)
}

fn births(field: &Field<'_>) -> Result<Births, PolicyError> {
    const WINDOW_MS: u64 = 30 * 86_400_000;
    const AT_MOST: usize = 100;
    let fields = field.fields(&["window", "at_most"])?;
    Ok(Births {
        window: fields.get("window").map_or(Ok(Span::from_millis(WINDOW_MS)), |field| field.span(1))?,
        at_most: fields.get("at_most").map_or(Ok(AT_MOST), |field| count(&field))?,
    })
}

fn count(field: &Field<'_>) -> Result<usize, PolicyError> {
    let wanted = "a whole number from 1 to 1000";
    let number = field.number(wanted, |number| number.fract() == 0.0 && (1.0..=1_000.0).contains(&number))?;
    Ok(number as usize)
}

fn phases(
    field: &Field<'_>,
    interval: &Span,
    shared: &[Check],
    queries: Queries,
) -> Result<Vec<Phase>, PolicyError> {
    let items = field.items()?;
    if items.is_empty() {
        return Err(field.wants("at least one phase"));
    }
    let mut names = HashSet::new();
    let mut phases = Vec::with_capacity(items.len());
    for item in &items {
        let phase = phase(item, interval, shared, queries)?;
        if !names.insert(phase.name.clone()) {
            return Err(item.conflict(format!("two phases are named {:?}", phase.name)));
        }
        phases.push(phase);
    }
    Ok(phases)
}

fn phase(
    field: &Field<'_>,
    interval: &Span,
    shared: &[Check],
    queries: Queries,
) -> Result<Phase, PolicyError> {
    const KEYS: [&str; 9] =
        ["name", "weight", "lasts", "scope", "starts", "traffic_share", "ramp", "baseline", "checks"];
    let fields = field.fields(&KEYS)?;
    let (at_least, at_most) = lasts(&fields.required("lasts")?, interval)?;
    let mut all = match fields.get("checks") {
        Some(field) => checks(&field, queries)?,
        None => Vec::new(),
    };
    all.extend_from_slice(shared);
    if all.is_empty() {
        return Err(field.conflict("a phase needs at least one check, its own or one of the policy level"));
    }
    let mut names = HashSet::new();
    if let Some(twice) = all.iter().find(|check| !names.insert(check.name.as_str())) {
        return Err(field.conflict(format!("two checks of the phase are named {:?}", twice.name)));
    }
    let share = fields.get("traffic_share").map(|field| traffic_share(&field)).transpose()?;
    let is_before = fields.get("baseline").map(|field| is_before(&field)).transpose()?.unwrap_or(false);
    match (is_before, share, fields.get("traffic_share")) {
        (false, Some(1.0), Some(field)) => {
            return Err(field.conflict(
                "a share of 1 leaves no baseline beside the canary; say `baseline: { when: before }` to compare it \
                 with what its units did before",
            ));
        }
        (true, Some(share), Some(field)) if share < 1.0 => {
            return Err(field.conflict(
                "a canary that is compared with what its units did before has no share: leave it out, or say 1",
            ));
        }
        _ => {}
    }
    if is_before {
        only_series(field, &fields, &all)?;
    }
    Ok(Phase {
        name: fields.required("name")?.string()?,
        is_before,
        weight: weight(&fields)?,
        at_least,
        at_most,
        scope: fields.get("scope").map(|field| scope(&field)).transpose()?.unwrap_or_default(),
        starts: match fields.get("starts") {
            Some(field) => field.word(&[("next", Starts::Next), ("on_call", Starts::OnCall)])?,
            None => Starts::Next,
        },
        traffic_share: share.filter(|share| *share < 1.0),
        ramp: match fields.get("ramp") {
            Some(field) => ramp(&field, fields.get("traffic_share").is_some())?,
            None => Vec::new(),
        },
        checks: all,
    })
}

fn weight(fields: &Fields<'_>) -> Result<f64, PolicyError> {
    match fields.get("weight") {
        Some(field) => {
            field.number("a number above 0 and at most 1000000", |weight| 0.0 < weight && weight <= 1e6)
        }
        None => Ok(1.0),
    }
}

fn lasts(field: &Field<'_>, interval: &Span) -> Result<(Span, Span), PolicyError> {
    let fields = field.fields(&["at_least", "at_most"])?;
    let at_most = fields.required("at_most")?;
    let longest = at_most.span(interval.millis())?;
    if longest.millis() / interval.millis() > LOOKS_MAX {
        return Err(at_most
            .conflict(format!("more than {LOOKS_MAX} intervals of {interval}: take a longer interval")));
    }
    let at_least = match fields.get("at_least") {
        Some(field) => {
            let span = field.span(0)?;
            if span.millis() > longest.millis() {
                return Err(field.conflict(format!("at_least is longer than at_most, {longest}")));
            }
            span
        }
        None => Span::from_millis(0),
    };
    Ok((at_least, longest))
}

fn scope(field: &Field<'_>) -> Result<Scope, PolicyError> {
    // An unquoted `{zone="edge-1"}` is a YAML mapping, which must not pass for the two-sided form.
    let is_sides = field
        .value()
        .as_object()
        .is_some_and(|map| map.keys().any(|key| key == "baseline" || key == "canary"));
    if !is_sides {
        return Ok(Scope::Both(field.string()?));
    }
    let fields = field.fields(&["baseline", "canary"])?;
    Ok(Scope::Sides {
        baseline: fields.required("baseline")?.string()?,
        canary: fields.required("canary")?.string()?,
    })
}

fn traffic_share(field: &Field<'_>) -> Result<f64, PolicyError> {
    field.part("a share above 0 and at most 1", |share| 0.0 < share && share <= 1.0)
}

/// Reads `{ when: before }`, the only thing that a phase can say of its baseline.
fn is_before(field: &Field<'_>) -> Result<bool, PolicyError> {
    field.fields(&["when"])?.required("when")?.word(&[("before", true)])
}

/// Refuses kinds that need a baseline beside the canary.
fn only_series(phase: &Field<'_>, fields: &Fields<'_>, checks: &[Check]) -> Result<(), PolicyError> {
    if let Some(field) = fields.get("ramp") {
        return Err(field.conflict("a canary that is compared with what its units did before has no share"));
    }
    let is_series = |check: &&Check| {
        matches!(check.kind, CheckKind::Mean { .. } | CheckKind::Distribution { .. }) && check.by.is_none()
    };
    match checks.iter().find(|check| !is_series(check)) {
        None => Ok(()),
        Some(check) => {
            let what = if check.by.is_some() { "checks with `by`" } else { check.kind.word() };
            Err(phase.conflict(format!(
                "means and distributions can be compared with what was before, and check {:?} is of {what}: counts need a \
                 baseline at the same time",
                check.name
            )))
        }
    }
}

fn ramp(field: &Field<'_>, has_share: bool) -> Result<Vec<f64>, PolicyError> {
    const STEPS: std::ops::RangeInclusive<usize> = 2..=1_000;
    if has_share {
        return Err(field.conflict("the phase declares one traffic_share already; leave one of them out"));
    }
    let items = field.items()?;
    if !STEPS.contains(&items.len()) {
        return Err(field.wants("a list of 2 to 1000 shares, such as [1%, 5%, 25%, 50%]"));
    }
    (items.iter())
        .map(|item| item.part("a share above 0 and below 1", |share| 0.0 < share && share < 1.0))
        .collect()
}

fn checks(field: &Field<'_>, queries: Queries) -> Result<Vec<Check>, PolicyError> {
    field.items()?.iter().map(|item| check_of(item, queries)).collect()
}

/// Keys that checks of every kind share.
const CHECK_KEYS: [&str; 10] =
    ["name", "kind", "harm", "margin", "tolerated", "vote", "weight", "missing", "minimum", "source"];
/// Kinds without a margin: they can refuse and never go.
fn is_marginless(kind: &CheckKind) -> bool {
    matches!(kind, CheckKind::Patterns { .. } | CheckKind::Composite)
}

fn check_of(field: &Field<'_>, queries: Queries) -> Result<Check, PolicyError> {
    let own: &[&str] = match field.value().get("kind").and_then(Value::as_str) {
        Some("ratio") => &["events", "trials", "by", "by_limit"],
        Some("count") => &["events", "by", "by_limit"],
        Some("mean") => &["value"],
        Some("distribution") => &["histogram", "values", "by", "by_limit"],
        Some("patterns") => &["logs", "severity", "trials"],
        Some("users") => &["users"],
        Some("composite") => &[],
        _ => &[
            "events",
            "trials",
            "value",
            "histogram",
            "values",
            "logs",
            "severity",
            "users",
            "by",
            "by_limit",
        ],
    };
    let known: Vec<&str> = CHECK_KEYS.iter().chain(own).copied().collect();
    let fields = field.fields(&known)?;
    let name = fields.required("name")?.string()?;
    let kind = kind(&fields, queries)?;
    let margin = fields.get("margin").map(|field| margin(&field, &kind)).transpose()?;
    let harm = match fields.get("harm") {
        Some(field) => field.word(&[("up", Harm::Up), ("down", Harm::Down), ("either", Harm::Either)])?,
        None => Harm::Up,
    };
    if let Some(Margin { amount: Amount::Relative(part), .. }) = &margin
        && *part >= 1.0
        && harm != Harm::Up
    {
        return Err(field.conflict("a relative margin for harm downwards must be below 100%"));
    }
    let check = Check {
        name,
        vote: vote(field, &fields, &kind, margin.is_some())?,
        harm,
        tolerated: tolerated(&fields, &kind)?,
        weight: weight(&fields)?,
        missing: match fields.get("missing") {
            Some(field) => {
                field.word(&[("inconclusive", Missing::Inconclusive), ("no_go", Missing::NoGo)])?
            }
            None => Missing::Inconclusive,
        },
        minimum: fields.get("minimum").map(|field| minimum(&field)).transpose()?.unwrap_or_default(),
        by: by(&fields)?,
        source: fields.get("source").map(|field| field.string()).transpose()?,
        kind,
        margin,
    };
    if let Some(field) = fields.get("source") {
        readable_elsewhere(&field, &check, queries)?;
    }
    Ok(check)
}

/// Refuses a source of checks that no single other store can serve.
fn readable_elsewhere(field: &Field<'_>, check: &Check, queries: Queries) -> Result<(), PolicyError> {
    let what = match check.needs() {
        Needs::Series | Needs::Records => return Ok(()),
        // The data comes with the request.
        Needs::Nothing if queries == Queries::Optional && check.kind != CheckKind::Composite => return Ok(()),
        Needs::Nothing => "reads nothing of its own",
        Needs::Both => "reads both series and log records, and a source has one of them",
        Needs::LogQl => return Err(field.not_yet("a value in LogQL")),
        Needs::Sql => "reads SQL, which is answered by this server's store alone",
    };
    Err(field.conflict(format!("a {} check that {what}: leave `source` out", check.kind.word())))
}

fn by(fields: &Fields<'_>) -> Result<Option<By>, PolicyError> {
    const LIMIT: usize = 20;
    let limit = fields.get("by_limit").map(|field| Ok((count(&field)?, field))).transpose()?;
    match (fields.get("by"), limit) {
        (Some(name), limit) => {
            Ok(Some(By { name: name.string()?, limit: limit.map_or(LIMIT, |(limit, _)| limit) }))
        }
        (None, Some((_, field))) => Err(field.conflict("`by_limit` without `by`")),
        (None, None) => Ok(None),
    }
}

fn vote(
    check: &Field<'_>,
    fields: &Fields<'_>,
    kind: &CheckKind,
    has_margin: bool,
) -> Result<Vote, PolicyError> {
    let is_marginless = is_marginless(kind);
    let Some(field) = fields.get("vote") else {
        return match (has_margin, is_marginless) {
            (_, true) => Ok(Vote::Veto),
            (true, false) => Ok(Vote::Full),
            (false, false) => Err(check.conflict(
                "a check without a margin can never go: give it a margin, or say `vote: veto` or `vote: none`",
            )),
        };
    };
    let vote = field.word(&[("full", Vote::Full), ("veto", Vote::Veto), ("none", Vote::None)])?;
    match vote {
        Vote::Full if is_marginless => {
            Err(field.conflict(format!("{} checks have no margin: `veto` or `none`", kind.word())))
        }
        Vote::Full if !has_margin => Err(field.conflict("a full vote needs a margin")),
        vote => Ok(vote),
    }
}

fn amount(
    field: &Field<'_>,
    keys: &[&str],
    allowed: impl Fn(f64) -> bool,
    wanted: &str,
) -> Result<Amount, PolicyError> {
    let fields = field.fields(keys)?;
    match (fields.get("absolute"), fields.get("relative")) {
        (Some(field), None) => Ok(Amount::Absolute(field.number(wanted, allowed)?)),
        (None, Some(field)) => Ok(Amount::Relative(field.part(&format!("{wanted}, such as 10%"), allowed)?)),
        _ => Err(field.wants("either `absolute` or `relative`")),
    }
}

fn margin(field: &Field<'_>, kind: &CheckKind) -> Result<Margin, PolicyError> {
    let keys: &[&str] = match kind {
        kind if is_marginless(kind) => {
            return Err(field.conflict(format!("{} checks have no margin", kind.word())));
        }
        CheckKind::Distribution { .. } => &["absolute", "relative", "at"],
        _ => &["absolute", "relative"],
    };
    let amount = amount(field, keys, |number| number > 0.0, "a number above 0")?;
    let at = match field.fields(keys)?.get("at") {
        None => Vec::new(),
        Some(list) => (list.items()?.iter())
            .map(|item| item.number("a quantile above 0 and below 1", |q| 0.0 < q && q < 1.0))
            .collect::<Result<_, _>>()?,
    };
    Ok(Margin { amount, at })
}

fn tolerated(fields: &Fields<'_>, kind: &CheckKind) -> Result<Amount, PolicyError> {
    let Some(field) = fields.get("tolerated") else {
        return Ok(Amount::Relative(0.0));
    };
    let amount = amount(&field, &["absolute", "relative"], |number| number >= 0.0, "a number of at least 0")?;
    match (kind, amount) {
        (kind, _) if is_marginless(kind) => {
            Err(field.conflict(format!("{} checks have no tolerated harm", kind.word())))
        }
        (
            CheckKind::Ratio { .. } | CheckKind::Count { .. } | CheckKind::Users { .. },
            Amount::Absolute(_),
        ) => Err(field.conflict("tolerated harm of ratios, counts and users is relative")),
        _ => Ok(amount),
    }
}

fn minimum(field: &Field<'_>) -> Result<Minimum, PolicyError> {
    let fields = field.fields(&["events", "trials"])?;
    let number = |key: &str| match fields.get(key) {
        Some(field) => field.number("a number of at least 0", |number| number >= 0.0),
        None => Ok(0.0),
    };
    Ok(Minimum { events: number("events")?, trials: number("trials")? })
}
