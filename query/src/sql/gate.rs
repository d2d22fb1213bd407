//! What may be asked: one `SELECT`, over tables by name, with functions from a list.
//!
//! Size is counted on tokens first, since even parsing recurses, and on the tree before planning.

use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, ObjectName, Query, SetExpr, Statement as SqlStatement, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use greylight_store::model::{ErrorKind, Problem};

/// Bytes of a statement.
const BYTES_MAX: usize = 16 * 1024;
/// Words and signs: four for each part of the tree leave room for names and commas.
const TOKENS_MAX: usize = 4 * NODES_MAX;
/// Parts of the tree.
const NODES_MAX: usize = 500;
/// Nesting of parentheses.
const DEPTH_MAX: usize = 64;

/// Why a statement is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// It cannot be read.
    #[error("{0}")]
    Syntax(String),
    /// It is too large.
    #[error("query has more than {limit} {what}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It is no single `SELECT`.
    #[error("only a single SELECT statement is answered here, not {0}")]
    NotSelect(String),
    /// It uses a function that is not on the list.
    #[error("function {0:?} is not available")]
    Function(String),
    /// It reads from something else than a table.
    #[error(
        "FROM takes the names of tables, metrics('label', ...), histograms('label', ...) and subqueries only, not {0:?}"
    )]
    Source(String),
}

impl GateError {
    pub(super) fn problem(&self) -> Problem {
        match self {
            Self::TooLarge { limit, .. } => Problem::new(ErrorKind::Limit, self).field("query").limit(*limit),
            _ => Problem::new(ErrorKind::Invalid, self).field("query"),
        }
    }
}

/// Functions that may be called. What makes large values out of small ones (`repeat`, `lpad`,
/// `generate_series`, `range`) is left out: it works outside the memory pool.
const FUNCTIONS: &[&str] = &[
    // Aggregates and windows.
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "cume_dist",
    "delta",
    "dense_rank",
    "first_value",
    "grouping",
    "increase",
    "lag",
    "last_value",
    "lead",
    "max",
    "mean",
    "median",
    "min",
    "nth_value",
    "ntile",
    "percent_rank",
    "percentile_cont",
    "rank",
    "rate",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "row_number",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_samp",
    "var_sample",
    // Numbers.
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "cbrt",
    "ceil",
    "cos",
    "degrees",
    "exp",
    "floor",
    "greatest",
    "isnan",
    "iszero",
    "least",
    "ln",
    "log",
    "log10",
    "log2",
    "nanvl",
    "pi",
    "pow",
    "power",
    "radians",
    "round",
    "signum",
    "sin",
    "sqrt",
    "tan",
    "trunc",
    // Texts.
    "ascii",
    "bit_length",
    "btrim",
    "char_length",
    "character_length",
    "chr",
    "concat",
    "concat_ws",
    "contains",
    "ends_with",
    "initcap",
    "instr",
    "left",
    "length",
    "lower",
    "ltrim",
    "octet_length",
    "position",
    "regexp_count",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "replace",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "translate",
    "trim",
    "upper",
    // Times.
    "current_date",
    "current_time",
    "current_timestamp",
    "date_bin",
    "date_part",
    "date_trunc",
    "datepart",
    "datetrunc",
    "extract",
    "from_unixtime",
    "now",
    "time_bucket",
    "to_char",
    "to_date",
    "to_local_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    "today",
    // Values of any kind.
    "arrow_cast",
    "arrow_typeof",
    "cardinality",
    "coalesce",
    "get_field",
    "ifnull",
    "map_entries",
    "map_extract",
    "map_keys",
    "map_values",
    "element_at",
    "nullif",
    "nvl",
    "nvl2",
    "array_element",
    "array_has",
    "array_length",
    "array_to_string",
    "array_distinct",
    "array_sort",
];

/// Tells whether a function may be called.
pub(super) fn is_allowed(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// Reads a statement and refuses what may not be asked.
pub(super) fn check(text: &str) -> Result<Statement, GateError> {
    if text.len() > BYTES_MAX {
        return Err(GateError::TooLarge { what: "bytes", limit: BYTES_MAX });
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize().map_err(|e| GateError::Syntax(e.to_string()))?;
    check_tokens(&tokens)?;
    let mut statements = DFParser::parse_sql_with_dialect(text, &dialect)
        .map_err(|e| GateError::Syntax(e.strip_backtrace()))?;
    let statement = match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => statement,
        (None, _) => return Err(GateError::NotSelect("an empty text".into())),
        (Some(_), _) => return Err(GateError::NotSelect("several statements".into())),
    };
    let query = match &statement {
        Statement::Statement(inner) => match &**inner {
            SqlStatement::Query(query) => query,
            other => return Err(GateError::NotSelect(first_word(&other.to_string()))),
        },
        other => return Err(GateError::NotSelect(first_word(&other.to_string()))),
    };
    let mut visitor = Gate { nodes: 0 };
    match query.visit(&mut visitor) {
        ControlFlow::Continue(()) => Ok(statement),
        ControlFlow::Break(error) => Err(error),
    }
}

fn check_tokens(tokens: &[Token]) -> Result<(), GateError> {
    let mut depth = 0usize;
    let mut n = 0;
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        n += 1;
        if depth > DEPTH_MAX {
            return Err(GateError::TooLarge { what: "levels of parentheses", limit: DEPTH_MAX });
        }
        if n > TOKENS_MAX {
            return Err(GateError::TooLarge { what: "words", limit: TOKENS_MAX });
        }
    }
    Ok(())
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or("").to_uppercase()
}

struct Gate {
    nodes: usize,
}

impl Gate {
    fn count(&mut self) -> ControlFlow<GateError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return ControlFlow::Break(GateError::TooLarge { what: "parts", limit: NODES_MAX });
        }
        ControlFlow::Continue(())
    }

    fn check_name(&self, name: &ObjectName) -> ControlFlow<GateError> {
        let name = name.to_string().to_lowercase();
        if is_allowed(name.trim_matches('"')) {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(GateError::Function(name))
    }
}

/// Tables that take labels for columns.
const WITH_LABELS: [&str; 2] = ["metrics", "histograms"];

impl Visitor for Gate {
    type Break = GateError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<GateError> {
        self.count()?;
        if !matches!(
            &*query.body,
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::SetOperation { .. } | SetExpr::Values(_)
        ) {
            return ControlFlow::Break(GateError::NotSelect(first_word(&query.body.to_string())));
        }
        if let SetExpr::Select(select) = &*query.body
            && select.into.is_some()
        {
            return ControlFlow::Break(GateError::NotSelect("SELECT INTO".into()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<GateError> {
        self.count()?;
        match factor {
            // Which labels it names is looked at when it is planned.
            TableFactor::Table { name, args: Some(_), .. } if WITH_LABELS.contains(&&*name.to_string()) => {
                ControlFlow::Continue(())
            }
            TableFactor::Table { args: None, .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            other => {
                let text: String = other.to_string().chars().take(80).collect();
                ControlFlow::Break(GateError::Source(text))
            }
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<GateError> {
        self.count()?;
        match expr {
            Expr::Function(Function { name, .. }) => self.check_name(name),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        check(text).map(|s| s.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn only_a_single_select_passes() {
        assert!(
            check("SELECT name, count(*) FROM metrics WHERE time > now() GROUP BY 1 ORDER BY 2 LIMIT 5")
                .is_ok()
        );
        assert!(check("WITH a AS (SELECT 1 AS x) SELECT x FROM a UNION ALL SELECT 2").is_ok());
        assert!(refused("DROP TABLE metrics").contains("not DROP"));
        assert!(refused("INSERT INTO metrics VALUES (1)").contains("not INSERT"));
        assert!(refused("SELECT 1; SELECT 2").contains("several statements"));
        assert!(refused("COPY metrics TO '/tmp/x'").contains("only a single SELECT"));
        assert!(
            refused("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'")
                .contains("only a single SELECT")
        );
        assert!(refused("EXPLAIN SELECT 1").contains("not EXPLAIN"));
        assert!(refused("SET x = 1").contains("not SET"));
        assert!(refused("").contains("empty text"));
    }

    #[test]
    fn functions_and_sources_come_from_a_list() {
        assert!(refused("SELECT * FROM generate_series(1, 10000000000)").contains("FROM takes"));
        assert!(refused("SELECT repeat('x', 1000000000)").contains("repeat"));
        assert!(refused("SELECT unnest(range(1, 10000000000))").contains("not available"));
        assert!(refused("SELECT * FROM read_csv('/etc/passwd')").contains("FROM takes"));
    }

    #[test]
    fn large_statements_are_refused_before_they_are_planned() {
        let ors = vec!["name = 'a'"; 20_000].join(" OR ");
        assert!(refused(&format!("SELECT 1 FROM metrics WHERE {ors}")).contains("more than 16384 bytes"));
        let ors = vec!["1=1"; 1000].join(" OR ");
        assert!(refused(&format!("SELECT 1 WHERE {ors}")).contains("more than 2000 words"));
        let sums = vec!["1"; 900].join("+");
        assert!(refused(&format!("SELECT {sums}")).contains("more than 500 parts"));
        let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert!(refused(&deep).contains("64 levels"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = check(&text);
        }
    }
}
