// Log records, their severities, patterns and the text of a search.

import type { Severity } from "./release.ts";

export interface LogRecord {
  readonly id: string;
  /** Epoch milliseconds, for drawing. */
  readonly time: number;
  /** As the server wrote it, with its nanoseconds, for copying. */
  readonly timeText: string;
  readonly severity: Severity;
  readonly body: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly attributes: Readonly<Record<string, string>>;
  readonly traceId: string;
  readonly spanId: string;
  readonly pattern: string;
}

export interface LogPattern {
  readonly id: string;
  readonly text: string;
  readonly severity: Severity;
  readonly count: number;
  readonly example: string;
}

export interface Bucket {
  readonly time: number;
  readonly count: number;
  readonly by: Readonly<Record<string, number>>;
}

const SEVERITIES: readonly Severity[] = ["fatal", "error", "warn", "info", "debug", "trace", "unset"];

/** Reads a severity from a word or an OpenTelemetry number. */
export function severityOf(raw: string | number | null): Severity {
  if (typeof raw === "number") {
    if (raw >= 21) return "fatal";
    if (raw >= 17) return "error";
    if (raw >= 13) return "warn";
    if (raw >= 9) return "info";
    if (raw >= 5) return "debug";
    return raw >= 1 ? "trace" : "unset";
  }
  const word = (raw ?? "").toLowerCase().replace(/\d+$/, "");
  if (/^\d/.test(raw ?? "")) return severityOf(Number(raw));
  switch (word) {
    case "trace":
    case "debug":
    case "info":
    case "warn":
    case "error":
    case "fatal":
      return word;
    case "warning":
      return "warn";
    case "err":
      return "error";
    case "critical":
    case "crit":
    case "alert":
    case "emerg":
    case "emergency":
    case "panic":
      return "fatal";
    case "information":
    case "notice":
      return "info";
    default:
      return "unset";
  }
}

/** Three kinds that a histogram stacks: what went wrong, what might, the rest. */
export type Tier = "error" | "warn" | "other";

export function tierOf(severity: Severity): Tier {
  if (severity === "error" || severity === "fatal") return "error";
  return severity === "warn" ? "warn" : "other";
}

export interface Stack {
  readonly time: number;
  readonly error: number;
  readonly warn: number;
  readonly other: number;
}

/** Folds counts by severity into the three tiers; what no severity claims is "other". */
export function stacks(buckets: readonly Bucket[]): Stack[] {
  return buckets.map((bucket) => {
    const sums = { error: 0, warn: 0, other: 0 };
    let claimed = 0;
    for (const [word, amount] of Object.entries(bucket.by)) {
      sums[tierOf(severityOf(word))] += amount;
      claimed += amount;
    }
    sums.other += Math.max(0, bucket.count - claimed);
    return { time: bucket.time, ...sums };
  });
}

export function bySeverity(a: Severity, b: Severity): number {
  return SEVERITIES.indexOf(a) - SEVERITIES.indexOf(b);
}

export interface Piece {
  readonly text: string;
  readonly variable: boolean;
}

/** Splits a template at its `<*>` (or `<name>`) marks. */
export function pieces(template: string): Piece[] {
  return template
    .split(/(<[*\w]+>)/)
    .filter((part) => part !== "")
    .map((text) => ({ text, variable: /^<[*\w]+>$/.test(text) }));
}

/**
 * A search that finds a template's records: its constant parts as phrases of whole words.
 * A part of a word that touches a variable cannot be searched for and is left out.
 */
export function templateQuery(template: string): string {
  const parts = pieces(template);
  const phrases = parts.flatMap((part, index) => {
    if (part.variable) return [];
    const afterVariable = index > 0;
    const beforeVariable = index < parts.length - 1;
    let text = part.text;
    if (afterVariable) text = text.replace(/^[^\s]+/, "");
    if (beforeVariable) text = text.replace(/[^\s]+$/, "");
    text = text.trim();
    return /[\p{L}\p{N}]/u.test(text) ? [`"${text.replace(/(["\\])/g, "\\$1")}"`] : [];
  });
  return phrases.join(" AND ");
}

/**
 * Marks in a body what a template calls variable; without a fitting template the body is one constant piece. A template
 * is that of the message: what stands before it, such as time and level, is constant.
 */
export function variables(body: string, template: string): Piece[] {
  const parts = pieces(template);
  if (parts.some((part) => part.variable)) {
    for (let start = 0; start >= 0; start = nextStart(body, parts[0], start)) {
      const found = aligned(body, start, parts);
      if (found) {
        const header = { text: body.slice(0, start), variable: false };
        return [header, ...found].filter((one) => one.text !== "");
      }
    }
  }
  return [{ text: body, variable: false }];
}

/** The next place at which a message may begin that starts with a template's first part; -1 when there is none. */
function nextStart(body: string, first: Piece | undefined, after: number): number {
  return first && !first.variable ? body.indexOf(first.text, after + 1) : -1;
}

function aligned(body: string, start: number, parts: readonly Piece[]): Piece[] | null {
  const found: Piece[] = [];
  let at = start;
  for (const [index, part] of parts.entries()) {
    if (!part.variable) {
      if (!body.startsWith(part.text, at)) return null;
      found.push(part);
      at += part.text.length;
      continue;
    }
    const next = parts[index + 1];
    const until = next ? body.indexOf(next.text, at + 1) : body.length;
    if (until < 0) return null;
    // Before a variable that a message begins with, the last blank ends the header.
    const from = index === 0 ? body.lastIndexOf(" ", until - 1) + 1 : at;
    found.push({ text: body.slice(at, from), variable: false }, { text: body.slice(from, until), variable: true });
    at = until;
  }
  return at === body.length ? found : null;
}

/** One filter beside the query: a field is, or is not, a value. */
export interface Filter {
  readonly field: string;
  readonly value: string;
  readonly not: boolean;
}

const BARE = /^[\p{L}\p{N}_.\-/@]+$/u;

/** A value as the query language takes it: bare where that is safe, else quoted. */
export function quoteValue(value: string): string {
  if (BARE.test(value) && !/^(?:AND|OR|NOT)$/.test(value)) return value;
  return `"${value.replace(/(["\\])/g, "\\$1")}"`;
}

/** Joins the typed query and the chips into the one text that the server is asked. */
export function withFilters(query: string, filters: readonly Filter[]): string {
  const chips = filters.map(({ field, value, not }) => `${not ? "NOT " : ""}${field}:${quoteValue(value)}`);
  const typed = query.trim();
  if (chips.length === 0) return typed;
  const own = typed === "" || typed === "*" ? [] : [/\bOR\b/.test(typed) ? `(${typed})` : typed];
  return [...own, ...chips].join(" AND ");
}

/** Chips in the address: `field=value`, with `!` in front for "is not". */
export function writeFilter(filter: Filter): string {
  return `${filter.not ? "!" : ""}${filter.field}=${filter.value}`;
}

export function readFilter(text: string): Filter | null {
  const not = text.startsWith("!");
  const rest = not ? text.slice(1) : text;
  const cut = rest.indexOf("=");
  return cut <= 0 ? null : { field: rest.slice(0, cut), value: rest.slice(cut + 1), not };
}

/** Adds a chip, or removes it when the same one is there; its opposite gives way. */
export function toggleFilter(filters: readonly Filter[], filter: Filter): Filter[] {
  const same = (one: Filter) => one.field === filter.field && one.value === filter.value;
  const present = filters.some((one) => same(one) && one.not === filter.not);
  const rest = filters.filter((one) => !same(one));
  return present ? rest : [...rest, filter];
}

export interface FacetValue {
  readonly value: string;
  readonly count: number;
}

/** Counts the values of each field over records, fields that tell most first. */
export function facetsOf(records: readonly LogRecord[]): { field: string; values: FacetValue[] }[] {
  const fields = new Map<string, Map<string, number>>();
  const add = (field: string, value: string) => {
    const counts = fields.get(field) ?? new Map<string, number>();
    counts.set(value, (counts.get(value) ?? 0) + 1);
    fields.set(field, counts);
  };
  for (const record of records) {
    if (record.severity !== "unset") add("severity", record.severity);
    for (const [field, value] of Object.entries(record.labels)) add(field, value);
    for (const [field, value] of Object.entries(record.attributes)) add(field, value);
  }
  const rank = (field: string) => {
    const at = FIRST_FIELDS.indexOf(field);
    return at < 0 ? FIRST_FIELDS.length : at;
  };
  return [...fields]
    .map(([field, counts]) => ({
      field,
      values: [...counts]
        .map(([value, n]) => ({ value, count: n }))
        .sort((a, b) => b.count - a.count || a.value.localeCompare(b.value)),
    }))
    .filter(({ values }) => values.length < records.length || values.length <= 3)
    .sort((a, b) => rank(a.field) - rank(b.field) || a.field.localeCompare(b.field));
}

const FIRST_FIELDS = [
  "severity",
  "track",
  "service_name",
  "service_version",
  "instance",
  "host.name",
  "host_name",
  "pod",
  "job",
];

/** The host a record came from, by whichever name it carries. */
export function hostOf(record: LogRecord): string {
  for (const name of ["instance", "pod", "k8s_pod_name", "host_name", "host.name", "host", "hostname"]) {
    const value = record.labels[name] ?? record.attributes[name];
    if (value) return value;
  }
  return record.labels.service_name ?? "";
}

/** The cohort a record carries, if any. */
export function trackOf(record: LogRecord): "canary" | "baseline" | null {
  const track = record.labels.track ?? record.attributes.track ?? record.attributes["greylight.track"];
  return track === "canary" || track === "baseline" ? track : null;
}
