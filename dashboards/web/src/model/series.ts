// Answers of the Prometheus API as series, and what a legend says of them.

import type { Point } from "./release.ts";

export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly points: readonly Point[];
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly t: number;
  readonly value: number;
}

export type Metric = { readonly type: string; readonly unit: string; readonly help: string };

/** A label set as PromQL writes it; "{}" for the empty one. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  const { __name__: name = "", ...rest } = labels;
  const inside = Object.entries(rest)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join(", ");
  return inside === "" && name !== "" ? name : `${name}{${inside}}`;
}

/** Labels that all series of an answer share, and so tell nothing apart. */
export function sharedLabels(series: readonly { labels: Readonly<Record<string, string>> }[]): Record<string, string> {
  const [first, ...rest] = series;
  if (!first || rest.length === 0) return {};
  return Object.fromEntries(
    Object.entries(first.labels).filter(([key, value]) => rest.every((one) => one.labels[key] === value)),
  );
}

/** The name of a series beside others: only what tells it apart. */
export function shortLabel(labels: Readonly<Record<string, string>>, shared: Readonly<Record<string, string>>): string {
  const own = Object.fromEntries(Object.entries(labels).filter(([key]) => !(key in shared)));
  return labelText(Object.keys(own).length > 0 ? own : labels);
}

/** Colour of a series: its cohort if it carries one, else its turn among the six, grey beyond. */
export type Tone = "canary" | "baseline" | "s1" | "s2" | "s3" | "s4" | "s5" | "s6" | "rest";

const TURNS: readonly Tone[] = ["s1", "s2", "s3", "s4", "s5", "s6"];

export function tones(series: readonly { labels: Readonly<Record<string, string>> }[]): Tone[] {
  let turn = 0;
  return series.map(({ labels }) => {
    const track = labels.track;
    if (track === "canary" || track === "baseline") return track;
    const tone = TURNS[turn] ?? "rest";
    turn += 1;
    return tone;
  });
}

export interface Summary {
  readonly last: number | null;
  readonly min: number | null;
  readonly mean: number | null;
  readonly max: number | null;
}

export function summary(points: readonly Point[]): Summary {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  let n = 0;
  let last: number | null = null;
  for (const [, value] of points) {
    if (value === null || Number.isNaN(value)) continue;
    last = value;
    if (!Number.isFinite(value)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
    sum += value;
    n += 1;
  }
  return n === 0 ? { last, min: null, mean: null, max: null } : { last, min, mean: sum / n, max };
}

/** The columns that the chart draws: one shared time axis, a row of values a series, gaps as null. */
export function columns(
  series: readonly Series[],
  start: number,
  end: number,
  step: number,
): { times: number[]; rows: (number | null)[][] } {
  const times: number[] = [];
  for (let t = start; t <= end; t += step) times.push(t);
  const rows = series.map(({ points }) => {
    const row: (number | null)[] = new Array(times.length).fill(null);
    for (const [t, value] of points) {
      const at = Math.round((t - start) / step);
      if (at >= 0 && at < row.length) row[at] = value !== null && Number.isFinite(value) ? value : null;
    }
    return row;
  });
  return { times, rows };
}

/** Guesses a unit from a metric's name in the query, as Prometheus names carry it. */
export function unitOf(query: string): string {
  const perSecond = /\b(?:rate|irate)\s*\(/.test(query);
  if (/\bcount(?:_over_time)?\s*(?:by|without|\()/.test(query)) return "";
  if (/_duration_seconds\b/.test(query) && !perSecond) return "s";
  if (/_seconds(?:_bucket|_sum)?\b/.test(query) && /histogram_quantile|histogram_avg/.test(query)) return "s";
  if (/_bytes(?:_total)?\b/.test(query)) return perSecond ? "B/s" : "B";
  if (/_seconds_total\b/.test(query) && perSecond) return "";
  if (/_seconds\b/.test(query) && !perSecond) return "s";
  if (/_ratio\b/.test(query)) return "ratio";
  return perSecond ? "1/s" : "";
}
