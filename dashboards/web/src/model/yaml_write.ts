// A policy that was stored as JSON as YAML text, for editing.

/** The order in which a policy is read; keys that are not listed come after these, as they stand. */
const ORDER: readonly string[] = [
  "name",
  "kind",
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
  "weight",
  "lasts",
  "scope",
  "starts",
  "traffic_share",
  "ramp",
  "baseline",
  "events",
  "trials",
  "value",
  "histogram",
  "values",
  "users",
  "logs",
  "severity",
  "match",
  "by",
  "by_limit",
  "source",
  "harm",
  "margin",
  "tolerated",
  "vote",
  "missing",
  "minimum",
  "relative",
  "absolute",
  "at",
  "at_least",
  "at_most",
  "checks",
  "phases",
];
const RANK = new Map(ORDER.map((key, index) => [key, index]));
const INLINE_MAX = 78;

/** Writes a JSON value as YAML: mappings in the order of the contract, short ones on one line. */
export function toYaml(document: unknown): string {
  if (!isMap(document) || Object.keys(document).length === 0) return `${flow(document)}\n`;
  return `${block(document, 0).join("\n")}\n`;
}

type Fields = Readonly<Record<string, unknown>>;

function isMap(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fieldsOf(map: Fields): [string, unknown][] {
  const rank = (key: string) => RANK.get(key) ?? ORDER.length;
  return Object.entries(map)
    .map((pair, index) => ({ pair, index }))
    .sort((a, b) => rank(a.pair[0]) - rank(b.pair[0]) || a.index - b.index)
    .map(({ pair }) => pair);
}

function block(map: Fields, indent: number): string[] {
  const pad = " ".repeat(indent);
  return fieldsOf(map).flatMap(([key, value]) => field(`${pad}${scalar(key)}:`, value, indent));
}

function field(head: string, value: unknown, indent: number): string[] {
  const pad = " ".repeat(indent + 2);
  if (typeof value === "string" && value.includes("\n")) {
    const lines = text(value);
    return lines
      ? [`${head} ${lines.mark}`, ...lines.body.map((line) => (line === "" ? "" : pad + line))]
      : [`${head} ${quoted(value)}`];
  }
  const short = `${head} ${flow(value)}`;
  const hasParts = (isMap(value) && Object.keys(value).length > 0) || (Array.isArray(value) && value.length > 0);
  if (!hasParts || (isShallow(value) && short.length <= INLINE_MAX))
    return [hasParts ? short : `${head} ${outer(value)}`];
  if (isMap(value)) return [head, ...block(value, indent + 2)];
  const items = Array.isArray(value) ? value : [];
  return [head, ...items.flatMap((item) => entry(item, indent + 2))];
}

function entry(item: unknown, indent: number): string[] {
  const pad = " ".repeat(indent);
  if (!isMap(item) || Object.keys(item).length === 0) return [`${pad}- ${outer(item)}`];
  const [first = "", ...rest] = block(item, indent + 2);
  return [`${pad}- ${first.trimStart()}`, ...rest];
}

/** Only scalars inside: reads well on one line. A list of mappings never does. */
function isShallow(value: unknown): boolean {
  const inner = Array.isArray(value) ? value : isMap(value) ? Object.values(value) : [];
  return inner.every((one) => !isMap(one) && !(Array.isArray(value) && Array.isArray(one)) && !hasBreak(one));
}

function hasBreak(value: unknown): boolean {
  return typeof value === "string" && value.includes("\n");
}

/** A value on one line, inside braces or brackets. */
function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  if (isMap(value)) {
    const pairs = fieldsOf(value).map(([key, one]) => `${scalar(key)}: ${flow(one)}`);
    return pairs.length === 0 ? "{}" : `{ ${pairs.join(", ")} }`;
  }
  if (typeof value === "string") return isPlain(value) && !/[,[\]{}]/.test(value) ? value : quoted(value);
  return JSON.stringify(value) ?? "null";
}

/** A value on one line, outside of any brackets. */
function outer(value: unknown): string {
  return typeof value === "string" ? scalar(value) : flow(value);
}

function scalar(value: string): string {
  return isPlain(value) ? value : quoted(value);
}

/** Whether YAML reads the bare text as this very string, and nothing else. */
function isPlain(value: string): boolean {
  if (value === "" || value !== value.trim()) return false;
  if (/[\p{Cc}\ufeff]/u.test(value)) return false;
  if (/^[-?:,[\]{}#&*!|>'"%@`]/.test(value)) return false;
  if (/:(?:\s|$)|\s#/.test(value)) return false;
  // What YAML 1.1 or 1.2 takes for null, a boolean, a number or a date.
  if (/^(?:null|true|false|yes|no|on|off|y|n|~)$/i.test(value)) return false;
  return !/^[-+.\d]/.test(value) || /^\d+(?:\.\d+)?(?:ms|[smhdw]|%)$/.test(value);
}

function quoted(value: string): string {
  return /[\p{Cc}\ufeff']/u.test(value) ? JSON.stringify(value) : `'${value}'`;
}

/** A text of several lines, kept as it is; null where YAML's block style cannot say it. */
function text(value: string): { mark: string; body: string[] } | null {
  if (/^[ \n]|(?!\n)\p{Cc}| \n|\n\n$/u.test(value)) return null;
  const ends = value.endsWith("\n");
  return { mark: ends ? "|" : "|-", body: (ends ? value.slice(0, -1) : value).split("\n") };
}
