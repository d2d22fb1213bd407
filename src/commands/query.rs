//! `greylight query`: asks a server and prints tables.

use serde_json::{Value, json};

use super::{chart, exit};
use crate::cli::{OutputFormat, PromqlFormat, Query, QueryLogs, QueryPromql, QuerySql, SqlFormat};
use crate::client::Client;

type Rows = Vec<Vec<String>>;

/// Runs one of the query commands.
pub(crate) async fn run(query: Query) -> anyhow::Result<u8> {
    match query {
        Query::Promql(args) => promql(args).await?,
        Query::Logs(args) => logs(args).await?,
        Query::Sql(args) => sql(args).await?,
    }
    Ok(exit::OK)
}

async fn promql(args: QueryPromql) -> anyhow::Result<()> {
    let client = Client::new(&args.remote)?;
    let mut query = vec![("query", args.expr.clone())];
    let range = match (args.start, args.end, args.since) {
        (Some(start), Some(end), _) => Some((start, end, args.step.unwrap_or_else(|| "1m".into()))),
        (_, _, Some(since)) => {
            let now_s = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
            let step = args.step.unwrap_or_else(|| format!("{:.3}", since.as_secs_f64() / 100.0));
            Some(((now_s - since.as_secs_f64()).to_string(), now_s.to_string(), step))
        }
        _ => None,
    };
    let format = args.format.unwrap_or(match range {
        Some(_) => PromqlFormat::Chart,
        None => PromqlFormat::Table,
    });
    let path = if let Some((start, end, step)) = range {
        query.extend([("start", start), ("end", end), ("step", step)]);
        "/api/v1/query_range"
    } else {
        query.extend(args.time.map(|t| ("time", t)));
        "/api/v1/query"
    };
    let answer = client.get(path, &query).await?;
    for word in ["warnings", "infos"] {
        for note in answer[word].as_array().into_iter().flatten() {
            eprintln!("{}", note.as_str().unwrap_or_default());
        }
    }
    let data = &answer["data"];
    match format {
        PromqlFormat::Chart => print!("{}", chart::draw(&chart_series(data))),
        PromqlFormat::Table => print_answer(OutputFormat::Table, data, prometheus_rows(data))?,
        PromqlFormat::Json => print_answer(OutputFormat::Json, data, prometheus_rows(data))?,
        PromqlFormat::Csv => print_answer(OutputFormat::Csv, data, prometheus_rows(data))?,
    }
    Ok(())
}

/// Returns the numbers of each series of an answer, with their times in seconds.
fn chart_series(data: &Value) -> Vec<chart::Series> {
    let point = |p: &Value| Some((p[0].as_f64()?, p[1].as_str()?.parse().ok()?));
    let rows = data["result"].as_array().into_iter().flatten().filter(|row| row.is_object());
    rows.map(|row| {
        let values = row["values"].as_array().into_iter().flatten().filter_map(point);
        let points = values.chain(point(&row["value"])).collect();
        chart::Series { name: series_name(&row["metric"]), points }
    })
    .collect()
}

/// Flattens any result of the Prometheus API: one row a sample.
fn prometheus_rows(data: &Value) -> Rows {
    let mut rows = vec![vec!["SERIES".to_string(), "TIME".into(), "VALUE".into()]];
    let mut push = |series: &str, sample: &Value| {
        let time =
            sample[0].as_f64().and_then(|s| jiff::Timestamp::from_millisecond((s * 1e3).round() as i64).ok());
        let time = time.map_or_else(|| "-".to_string(), |t| t.to_string());
        let value = if sample[1].is_object() { histogram_text(&sample[1]) } else { text(&sample[1]) };
        rows.push(vec![series.to_string(), time, value]);
    };
    match data["resultType"].as_str() {
        Some("scalar" | "string") => push("", &data["result"]),
        _ => {
            for series in data["result"].as_array().into_iter().flatten() {
                let name = series_name(&series["metric"]);
                for kind in ["values", "histograms"] {
                    series[kind].as_array().into_iter().flatten().for_each(|sample| push(&name, sample));
                }
                for kind in ["value", "histogram"] {
                    if !series[kind].is_null() {
                        push(&name, &series[kind]);
                    }
                }
            }
        }
    }
    rows
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_string()
}

/// Writes a native histogram in one line, as Prometheus does: `{count:4, sum:5, (0.5,1]:1, (1,2]:3}`.
fn histogram_text(histogram: &Value) -> String {
    let mut out = format!("{{count:{}, sum:{}", text(&histogram["count"]), text(&histogram["sum"]));
    for bucket in histogram["buckets"].as_array().into_iter().flatten() {
        // Which ends belong to it.
        let (left, right) = match bucket[0].as_u64() {
            Some(0) => ('(', ']'),
            Some(1) => ('[', ')'),
            Some(3) => ('[', ']'),
            _ => ('(', ')'),
        };
        let [lower, upper, count] = [1, 2, 3].map(|i| text(&bucket[i]));
        out.push_str(&format!(", {left}{lower},{upper}{right}:{count}"));
    }
    out.push('}');
    out
}

fn series_name(metric: &Value) -> String {
    let labels = metric.as_object().into_iter().flatten().filter(|(name, _)| *name != "__name__");
    let inside: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}{{{}}}", metric["__name__"].as_str().unwrap_or(""), inside.join(", "))
}

async fn logs(args: QueryLogs) -> anyhow::Result<()> {
    let client = Client::new(&args.remote)?;
    let now = jiff::Timestamp::now();
    let span = jiff::SignedDuration::try_from(args.since)?;
    let body = json!({ "query": args.query, "match": args.r#match, "limit": args.limit,
        "start": now.checked_sub(span)?.to_string(), "end": now.to_string() });
    let answer = client.post("/api/v1/logs/search", &body).await?;
    if answer["partial"].as_bool() == Some(true) {
        eprintln!("the answer is partial: some stored data could not be read");
    }
    let mut rows = vec![vec!["TIME".to_string(), "SEVERITY".into(), "LABELS".into(), "BODY".into()]];
    for record in answer["records"].as_array().into_iter().flatten() {
        let field = |name: &str| record[name].as_str().unwrap_or("").to_string();
        rows.push(vec![field("time"), field("severity"), series_name(&record["labels"]), field("body")]);
    }
    print_answer(args.output.format, &answer["records"], rows)
}

async fn sql(args: QuerySql) -> anyhow::Result<()> {
    let client = Client::new(&args.remote)?;
    let format = match args.format {
        SqlFormat::Csv => "csv",
        SqlFormat::Arrow => "arrow",
        SqlFormat::Table | SqlFormat::Json => "json",
    };
    let body = json!({ "query": args.query, "format": format, "limit": args.limit });
    if format != "json" {
        let (bytes, truncated) = client.post_for_bytes("/api/v1/sql", &body).await?;
        if truncated {
            eprintln!("there are more rows; raise --limit");
        }
        std::io::Write::write_all(&mut std::io::stdout().lock(), &bytes)?;
        return Ok(());
    }
    let answer = client.post("/api/v1/sql", &body).await?;
    let names = answer["columns"].as_array().into_iter().flatten();
    let mut rows = vec![names.map(|c| c["name"].as_str().unwrap_or("").to_string()).collect::<Vec<_>>()];
    for row in answer["rows"].as_array().into_iter().flatten() {
        rows.push(row.as_array().into_iter().flatten().map(cell).collect());
    }
    if answer["truncated"].as_bool() == Some(true) {
        eprintln!("there are more rows; raise --limit");
    }
    let format = if args.format == SqlFormat::Json { OutputFormat::Json } else { OutputFormat::Table };
    print_answer(format, &answer, rows)
}

fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn print_answer(format: OutputFormat, raw: &Value, rows: Rows) -> anyhow::Result<()> {
    match format {
        OutputFormat::Json => println!("{}", serde_json::to_string_pretty(raw)?),
        OutputFormat::Table => print!("{}", table(&rows)),
        OutputFormat::Csv => {
            for row in &rows {
                println!("{}", row.iter().map(|c| csv(c)).collect::<Vec<_>>().join(","));
            }
        }
    }
    Ok(())
}

fn csv(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.into()
    }
}

/// Lays rows out in columns; the first row is the header. Control characters cannot reach the terminal.
pub(crate) fn table<R: AsRef<[String]>>(rows: &[R]) -> String {
    let clean =
        |cell: &String| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let rows: Vec<Vec<String>> = rows.iter().map(|r| r.as_ref().iter().map(clean).collect()).collect();
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_hold_no_control_characters() {
        let rows = [vec!["A".to_string(), "B".into()], vec!["long".into(), "x\u{1b}[31m".into()]];
        assert_eq!(table(&rows), "A     B\nlong  x [31m\n");
    }

    #[test]
    fn both_shapes_of_prometheus_results_become_rows() {
        let data = json!({ "resultType": "vector", "result": [
            { "metric": { "__name__": "up", "job": "a" }, "value": [1.5, "1"] } ] });
        assert_eq!(prometheus_rows(&data)[1], ["up{job=\"a\"}", "1970-01-01T00:00:01.5Z", "1"]);
    }

    #[test]
    fn histograms_have_rows_too() {
        let histogram = json!({ "count": "3", "sum": "2.5",
            "buckets": [[3, "-0.5", "0.5", "1"], [0, "1", "2", "2"]] });
        let data = json!({ "resultType": "matrix", "result": [{ "metric": { "__name__": "h" },
            "values": [[0, "1"]], "histograms": [[60, histogram]] }] });
        let rows = prometheus_rows(&data);
        assert_eq!((rows.len(), rows[1][2].as_str()), (3, "1"));
        assert_eq!(rows[2][2], "{count:3, sum:2.5, [-0.5,0.5]:1, (1,2]:2}");
    }
}
