//! Random expressions that are well typed, in the language that Prometheus 2.42 and 3.5 have in common.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Makes expressions over the metrics of the test.
pub(super) struct Generator<'a> {
    rng: &'a mut ChaCha8Rng,
    /// A subquery's steps lie on full minutes, and so would the ends of one inside it, where windows differ.
    in_subquery: bool,
}

const SIMPLE: [&str; 16] = [
    "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "round", "sin", "cos", "atan",
    "tanh", "deg", "rad",
];
/// What the date of NaN is hangs on the machine in Go, so these are asked of series alone.
const DATES: [&str; 6] = ["hour", "minute", "day_of_week", "days_in_month", "year", "timestamp"];
const OVER_COUNTERS: [&str; 4] = ["rate", "increase", "irate", "resets"];
const OVER_TIME: [&str; 14] = [
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "present_over_time",
    "changes",
    "delta",
    "idelta",
    "deriv",
    "resets",
];
const AGGREGATES: [&str; 6] = ["sum", "avg", "min", "max", "count", "group"];

impl<'a> Generator<'a> {
    pub(super) fn new(rng: &'a mut ChaCha8Rng) -> Self {
        Self { rng, in_subquery: false }
    }

    fn one_of<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.rng.random_range(0..of.len())]
    }

    fn number(&mut self) -> String {
        match self.rng.random_range(0..4) {
            0 => self.rng.random_range(-3..100).to_string(),
            1 => "0.25".into(),
            2 => "1e6".into(),
            _ => format!("{:.3}", self.rng.random_range(-5.0..60.0)),
        }
    }

    /// An expression of an instant vector, nested at most so deep.
    pub(super) fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.selector();
        }
        match self.rng.random_range(0..14) {
            0 => self.selector(),
            1 => {
                if self.rng.random_bool(0.2) {
                    return format!("{}({})", self.one_of(&DATES), self.selector());
                }
                format!("{}({})", self.one_of(&SIMPLE), self.vector(depth - 1))
            }
            2 | 3 => {
                let func = self.one_of(&OVER_COUNTERS);
                format!("{func}({})", self.range(&["c_total", "h_bucket"]))
            }
            4 | 5 => {
                let func = self.one_of(&OVER_TIME);
                format!("{func}({})", self.range(&["g", "flat", "c_total"]))
            }
            6 => {
                format!("quantile_over_time({}, {})", self.one_of(&["0", "0.3", "0.99"]), self.range(&["g"]))
            }
            // 2.42 moves a window that `@` has fixed from step to step here; later versions do not.
            7 => {
                let (range, ahead) = (self.one_of(&["1m", "13m"]), self.one_of(&["60", "-300", "3600"]));
                format!("predict_linear(g{}[{range}] offset 30s, {ahead})", self.matchers())
            }
            8 | 9 => self.aggregate(depth),
            10 if !self.in_subquery => self.subquery(depth),
            10 => self.aggregate(depth),
            11 => {
                let by = self.one_of(&["le", "le, job", "le, instance"]);
                let range = self.one_of(&["2m", "5m", "11m"]);
                let quantile = self.one_of(&["0.1", "0.5", "0.9", "1", "-1"]);
                format!("histogram_quantile({quantile}, sum by ({by}) (rate(h_bucket[{range}])))")
            }
            12 => self.labelled(depth),
            _ => self.binary(depth),
        }
    }

    fn matchers(&mut self) -> &'static str {
        self.one_of(&[
            "",
            "",
            "",
            "{job=\"api\"}",
            "{job!=\"api\"}",
            "{instance=~\"1|2\"}",
            "{instance!~\"[23]\",job=~\"a.+|web\"}",
            "{absent=\"\"}",
            "{instance=\"9\"}",
        ])
    }

    fn offset(&mut self) -> &'static str {
        self.one_of(&["", "", "", " offset 7m", " offset -90s", " @ 1795223000.5"])
    }

    fn selector(&mut self) -> String {
        let name = self.one_of(&["c_total", "g", "flat", "h_bucket", "info"]);
        format!("{name}{}{}", self.matchers(), self.offset())
    }

    fn range(&mut self, names: &[&'static str]) -> String {
        let (name, range) = (self.one_of(names), self.one_of(&["20s", "1m", "5m", "13m", "1h"]));
        format!("{name}{}[{range}]{}", self.matchers(), self.offset())
    }

    fn grouping(&mut self) -> &'static str {
        self.one_of(&[
            "",
            " by (job)",
            " by (instance, zone)",
            " without (instance)",
            " by ()",
            " without (le, job)",
        ])
    }

    fn aggregate(&mut self, depth: usize) -> String {
        let grouping = self.grouping();
        match self.rng.random_range(0..9) {
            // Their answers to infinity changed in 3.0.
            8 => format!("{}{grouping} ({})", self.one_of(&["stddev", "stdvar"]), self.selector()),
            0 => format!(
                "quantile{grouping} ({}, {})",
                self.one_of(&["0.2", "0.5", "1"]),
                self.vector(depth - 1)
            ),
            // Of numbers that are all different, so that no tie is broken.
            1 => {
                let op = self.one_of(&["topk", "bottomk"]);
                format!(
                    "{op}{grouping} ({}, {})",
                    self.one_of(&["1", "2", "5"]),
                    self.one_of(&["g", "c_total", "g{job=\"web\"}"])
                )
            }
            2 => format!("count_values{grouping} (\"value\", flat{})", self.matchers()),
            _ => format!("{}{grouping} ({})", self.one_of(&AGGREGATES), self.vector(depth - 1)),
        }
    }

    fn subquery(&mut self, depth: usize) -> String {
        let func =
            self.one_of(&["max_over_time", "avg_over_time", "sum_over_time", "count_over_time", "changes"]);
        let (range, step) = (self.one_of(&["5m", "17m"]), self.one_of(&["30s", "1m", "41s"]));
        self.in_subquery = true;
        let inner = self.vector(depth - 1);
        self.in_subquery = false;
        format!("{func}(({inner})[{range}:{step}]{})", self.one_of(&["", "", " offset 3m"]))
    }

    fn labelled(&mut self, depth: usize) -> String {
        let inner = self.vector(depth - 1);
        match self.rng.random_range(0..4) {
            0 => format!("label_replace({inner}, \"to\", \"$1-x\", \"job\", \"(.).*\")"),
            1 => format!("label_join({inner}, \"to\", \"/\", \"job\", \"instance\", \"none\")"),
            2 => format!("absent({inner})"),
            _ => format!("sort({inner})"),
        }
    }

    fn binary(&mut self, depth: usize) -> String {
        let left = self.vector(depth - 1);
        match self.rng.random_range(0..7) {
            0 | 1 => {
                let op = self.one_of(&["+", "-", "*", "/", "%", "^"]);
                let number = self.number();
                if self.rng.random_bool(0.5) {
                    format!("({left}) {op} {number}")
                } else {
                    format!("{number} {op} ({left})")
                }
            }
            2 => {
                let op = self.one_of(&[">", "<", ">=", "<=", "!=", "== bool", "> bool", "< bool"]);
                format!("({left}) {op} {}", self.number())
            }
            3 => {
                let op = self.one_of(&["and", "or", "unless"]);
                let on = self.one_of(&["", " on (job)", " ignoring (zone, le)"]);
                let right = self.vector(depth - 1);
                // Where one side keeps its name and the other does not, the delayed loss of names shows.
                match op {
                    "or" => format!("abs({left}) or{on} abs({right})"),
                    op => format!("({left}) {op}{on} ({right})"),
                }
            }
            4 => format!("({left}) * on (job) group_left (version) info"),
            5 => {
                let op = self.one_of(&["+", "-", "*", "/"]);
                let (a, b) = (self.one_of(&AGGREGATES), self.one_of(&AGGREGATES));
                let right = self.vector(depth - 1);
                format!("{a} by (job, instance) ({left}) {op} {b} by (job, instance) ({right})")
            }
            _ => format!(
                "-({left}) + scalar({})",
                self.one_of(&["sum(g)", "g{job=\"api\",instance=\"1\"}", "nothing"])
            ),
        }
    }
}
