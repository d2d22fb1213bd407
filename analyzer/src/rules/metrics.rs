//! What rules say about themselves, under Prometheus's names.

use std::sync::atomic::Ordering;
use std::time::Duration;

use greylight_wire::exposition::{MetricType, Writer};

use super::Rules;
use super::group::{GroupState, GroupStatus};
use super::notify::Counts;

type Figure = fn(&GroupState, &GroupStatus) -> f64;

/// Counters of a group, without `_total`.
const COUNTERS: [(&str, &str, Figure); 4] = [
    ("prometheus_rule_evaluations", "Evaluations of rules.", |_, s| s.n_evaluations as f64),
    ("prometheus_rule_evaluation_failures", "Evaluations of rules that failed.", |_, s| s.n_failures as f64),
    ("prometheus_rule_group_iterations", "Evaluations of groups that were due.", |_, s| {
        s.n_iterations as f64
    }),
    (
        "prometheus_rule_group_iterations_missed",
        "Evaluations of groups that were missed since the one before took too long.",
        |_, s| s.n_missed as f64,
    ),
];

/// Gauges of a group.
const GAUGES: [(&str, &str, Figure); 7] = [
    ("prometheus_rule_group_interval_seconds", "How often a group is due.", |g, _| g.interval.as_secs_f64()),
    ("prometheus_rule_group_rules", "Rules of a group.", |g, _| g.rules.len() as f64),
    (
        "prometheus_rule_group_last_duration_seconds",
        "How long the last evaluation of a group took.",
        |_, s| s.took.as_secs_f64(),
    ),
    (
        "prometheus_rule_group_last_rule_duration_sum_seconds",
        "How long its rules took in the last evaluation of a group.",
        |_, s| s.rules_took.as_secs_f64(),
    ),
    (
        "prometheus_rule_group_last_evaluation_timestamp_seconds",
        "When a group was evaluated last.",
        |_, s| s.last_at.map_or(0.0, |t| t.as_millis() as f64 / 1e3),
    ),
    ("prometheus_rule_group_last_evaluation_samples", "Series that the last evaluation gave.", |_, s| {
        s.n_samples as f64
    }),
    (
        "prometheus_rule_group_last_restore_duration_seconds",
        "How long it took to read since when alerts wait.",
        |_, s| s.restore_took.as_secs_f64(),
    ),
];

type Count = fn(&Counts) -> u64;

const NOTIFICATIONS: [(&str, &str, Count); 3] = [
    ("prometheus_notifications_sent", "Alerts sent.", |c| c.sent.load(Ordering::Relaxed)),
    ("prometheus_notifications_errors", "Alerts that an Alertmanager did not take.", |c| {
        c.errors.load(Ordering::Relaxed)
    }),
    ("prometheus_notifications_dropped", "Alerts dropped since too many waited.", |c| {
        c.dropped.load(Ordering::Relaxed)
    }),
];

impl Rules {
    /// Writes counters and gauges of every group; nothing where there is none.
    pub(crate) fn render(&self, page: &mut Writer) {
        if self.groups.is_empty() {
            return;
        }
        let states: Vec<(String, &GroupState, GroupStatus)> = self
            .groups
            .iter()
            .map(|group| (format!("{};{}", group.file, group.name), &**group, group.status.lock().clone()))
            .collect();
        let mut family = |name: &str, kind: MetricType, help: &str, series: &str, figure: Figure| {
            page.family(name, kind, help);
            for (key, group, status) in &states {
                page.sample(series, &[("rule_group", key)], figure(group, status));
            }
        };
        for (name, help, figure) in COUNTERS {
            family(name, MetricType::Counter, help, &format!("{name}_total"), figure);
        }
        for (name, help, figure) in GAUGES {
            family(name, MetricType::Gauge, help, name, figure);
        }
        let mut summary = |name: &str, help: &str, figure: fn(&GroupStatus) -> (Duration, u64)| {
            let all: Vec<(Duration, u64)> = states.iter().map(|(_, _, status)| figure(status)).collect();
            page.family(name, MetricType::Summary, help);
            let took: Duration = all.iter().map(|(took, _)| *took).sum();
            page.sample(&format!("{name}_sum"), &[], took.as_secs_f64());
            page.sample(&format!("{name}_count"), &[], all.iter().map(|(_, n)| *n).sum::<u64>() as f64);
        };
        summary("prometheus_rule_group_duration_seconds", "How long evaluations of groups took.", |s| {
            (s.all_took, s.n_iterations - s.n_missed)
        });
        summary("prometheus_rule_evaluation_duration_seconds", "How long evaluations of rules took.", |s| {
            (s.all_rules_took, s.n_evaluations)
        });
        let targets = &self.shared.notifier.targets;
        let name = "prometheus_notifications_alertmanagers_discovered";
        page.family(name, MetricType::Gauge, "Alertmanagers that alerts are sent to.");
        page.sample(name, &[], targets.len() as f64);
        for (name, help, count) in NOTIFICATIONS {
            page.family(name, MetricType::Counter, help);
            for target in targets {
                let url = target.webhook.url().to_string();
                page.sample(
                    &format!("{name}_total"),
                    &[("alertmanager", &url)],
                    count(&target.counts) as f64,
                );
            }
        }
    }
}
