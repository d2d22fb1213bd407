// Just enough of PromQL's lexis to colour a query and to complete the word at the cursor. The server judges what is valid.

export type TokenKind = "function" | "label" | "string" | "punctuation" | "plain";

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
}

export const FUNCTIONS: readonly string[] = [
  "abs",
  "absent",
  "absent_over_time",
  "avg",
  "avg_over_time",
  "bottomk",
  "ceil",
  "changes",
  "clamp",
  "clamp_max",
  "clamp_min",
  "count",
  "count_over_time",
  "count_values",
  "delta",
  "deriv",
  "exp",
  "floor",
  "group",
  "histogram_avg",
  "histogram_count",
  "histogram_fraction",
  "histogram_quantile",
  "histogram_sum",
  "increase",
  "irate",
  "label_join",
  "label_replace",
  "last_over_time",
  "ln",
  "log10",
  "log2",
  "max",
  "max_over_time",
  "min",
  "min_over_time",
  "predict_linear",
  "present_over_time",
  "quantile",
  "quantile_over_time",
  "rate",
  "resets",
  "round",
  "scalar",
  "sgn",
  "sort",
  "sort_desc",
  "sqrt",
  "stddev",
  "stddev_over_time",
  "sum",
  "sum_over_time",
  "time",
  "timestamp",
  "topk",
  "vector",
];

const KEYWORDS: ReadonlySet<string> = new Set([
  ...FUNCTIONS,
  "by",
  "without",
  "on",
  "ignoring",
  "group_left",
  "group_right",
  "offset",
  "bool",
  "and",
  "or",
  "unless",
  "atan2",
]);

const LEXER =
  /("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|`[^`]*`?)|([A-Za-z_:][\w:.]*)|([(){}[\],])|(\s+)|([^\sA-Za-z_:(){}[\],"'`]+)/g;

/** Cuts a query into coloured pieces; the pieces joined are the query. */
export function tokens(query: string): Token[] {
  const found: Token[] = [];
  let depth = 0;
  for (const [, text, word, bracket, blank, rest] of query.matchAll(LEXER)) {
    if (text !== undefined) found.push({ kind: "string", text });
    else if (word !== undefined)
      found.push({ kind: depth > 0 ? "label" : KEYWORDS.has(word) ? "function" : "plain", text: word });
    else if (bracket !== undefined) {
      if (bracket === "{") depth += 1;
      if (bracket === "}") depth = Math.max(0, depth - 1);
      found.push({ kind: "punctuation", text: bracket });
    } else found.push({ kind: "plain", text: blank ?? rest ?? "" });
  }
  return found;
}

/** What may be written at the cursor. */
export type Slot =
  | { kind: "name"; from: number; prefix: string }
  | { kind: "label"; from: number; prefix: string; metric: string }
  | { kind: "value"; from: number; prefix: string; metric: string; label: string }
  | { kind: "nothing" };

/** Finds which word stands at the cursor: a metric or function, a label of its metric, or a label's value. */
export function slotAt(query: string, cursor: number): Slot {
  const before = query.slice(0, cursor);
  const open = before.lastIndexOf("{");
  if (open > before.lastIndexOf("}")) {
    const metric = /([A-Za-z_:][\w:]*)\s*$/.exec(before.slice(0, open))?.[1] ?? "";
    const inside = before.slice(open + 1);
    const value = /([A-Za-z_][\w.]*)\s*(?:=~|!~|!=|=)\s*"([^"]*)$/.exec(inside);
    if (value)
      return {
        kind: "value",
        from: cursor - (value[2] ?? "").length,
        prefix: value[2] ?? "",
        metric,
        label: value[1] ?? "",
      };
    const label = /(?:^|,)\s*([A-Za-z_][\w.]*)?$/.exec(inside);
    return label
      ? { kind: "label", from: cursor - (label[1] ?? "").length, prefix: label[1] ?? "", metric }
      : { kind: "nothing" };
  }
  if ((before.match(/"/g)?.length ?? 0) % 2 === 1) return { kind: "nothing" };
  const word = /[A-Za-z_:][\w:]*$/.exec(before)?.[0] ?? "";
  if (word === "") return { kind: "nothing" };
  const grouping = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)$/.exec(before);
  if (grouping) return { kind: "label", from: cursor - word.length, prefix: word, metric: "" };
  return { kind: "name", from: cursor - word.length, prefix: word };
}

/** Ranks candidates: those that begin with the prefix, then those that hold it, at most `limit`. */
export function rank(candidates: readonly string[], prefix: string, limit = 12): string[] {
  const want = prefix.toLowerCase();
  const begins: string[] = [];
  const holds: string[] = [];
  for (const one of candidates) {
    const at = one.toLowerCase().indexOf(want);
    if (at === 0) begins.push(one);
    else if (at > 0) holds.push(one);
  }
  return [...begins, ...holds].filter((one) => one !== prefix).slice(0, limit);
}

/** The column that a parse error names ("1:5: parse error: ..."), counted from one; null when it names none. */
export function errorColumn(message: string): number | null {
  const found = /\b1:(\d+):/.exec(message);
  return found ? Number(found[1]) : null;
}
