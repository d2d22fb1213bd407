// Prometheus durations (90s, 5m, 1h30m) and ranges of time as the address bar holds them.

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};

/** Reads a duration into milliseconds; null when it is not one. */
export function parseDuration(text: string): number | null {
  if (text === "0") return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|[smhdwy]))+$/.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdwy])/g)) {
    total += Number(amount) * (UNIT_MS[unit ?? ""] ?? 0);
  }
  return total;
}

/** Writes milliseconds as the shortest duration that says exactly the same. */
export function writeDuration(ms: number): string {
  if (ms === 0) return "0s";
  let rest = Math.round(ms);
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"] as const) {
    const size = UNIT_MS[unit] ?? 1;
    const whole = Math.floor(rest / size);
    if (whole > 0) {
      text += `${whole}${unit}`;
      rest -= whole * size;
    }
  }
  return text;
}

/** One end of a range: "now", "now-90m", a date with or without a time, epoch milliseconds. */
export function parseMoment(text: string, now: number, utc: boolean): number | null {
  const clean = text.trim();
  const relative = /^now(?:\s*-\s*(\S+))?$/.exec(clean);
  if (relative) {
    if (relative[1] === undefined) return now;
    const back = parseDuration(relative[1]);
    return back === null ? null : now - back;
  }
  if (/^\d{12,14}$/.test(clean)) return Number(clean);
  const date = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,3})\d*)?)?(Z)?)?$/.exec(clean);
  if (!date) return null;
  const [, y, mo, d, h = "0", mi = "0", s = "0", ms = "0", zulu] = date;
  const fields = [y, mo, d, h, mi, s].map(Number) as [number, number, number, number, number, number];
  const [year, month, dayOfMonth, hour, minute, second] = fields;
  if (month < 1 || month > 12 || dayOfMonth < 1 || dayOfMonth > 31 || hour > 23 || minute > 59 || second > 59)
    return null;
  const milli = Number(ms.padEnd(3, "0"));
  return utc || zulu
    ? Date.UTC(year, month - 1, dayOfMonth, hour, minute, second, milli)
    : new Date(year, month - 1, dayOfMonth, hour, minute, second, milli).getTime();
}

/** A range as it stands in the address: relative ends stay relative until somebody pins them. */
export interface Range {
  readonly from: string;
  readonly to: string;
}

export interface Resolved {
  readonly start: number;
  readonly end: number;
}

/** Turns both ends into times; null when one does not parse or the range is empty. */
export function resolve(range: Range, now: number, utc: boolean): Resolved | null {
  const start = parseMoment(range.from, now, utc);
  const end = parseMoment(range.to, now, utc);
  return start === null || end === null || start >= end ? null : { start, end };
}

/** The same span, moved by half of itself. */
export function shift(range: Resolved, direction: -1 | 1): Range {
  const by = ((range.end - range.start) / 2) * direction;
  return { from: String(Math.round(range.start + by)), to: String(Math.round(range.end + by)) };
}

const STEPS_MS = [
  1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000,
  10_800_000, 21_600_000, 43_200_000, 86_400_000, 604_800_000,
];

/** The smallest round step that gives at most `points` of them over the span. */
export function stepFor(spanMs: number, points: number, leastMs = 1000): number {
  const least = Math.max(spanMs / points, leastMs);
  return STEPS_MS.find((step) => step >= least) ?? Math.ceil(least / 604_800_000) * 604_800_000;
}

/** The range that Grafana writes as `$__rate_interval`: four steps of data, one minute at least. */
export function rateInterval(stepMs: number): string {
  return writeDuration(Math.max(stepMs + 15_000, 60_000));
}
