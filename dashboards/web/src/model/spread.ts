// How the values of one side are spread: the share of them at or below each value.

import type { Point } from "./release.ts";

/** What looks pinned of one side of a check: raw values, or counts between edges. */
export interface Pinned {
  readonly values: readonly number[];
  /** Upper edge and own count of each bucket; the last edge may be infinite. */
  readonly buckets: readonly (readonly [edge: number, count: number])[];
}

/** Shares that rise from above 0 to 1 with their values; between them lies a line for buckets, a step for values. */
export interface Spread {
  readonly points: readonly (readonly [value: number, share: number])[];
  readonly n: number;
  readonly stepped: boolean;
}

const POINTS_MAX = 400;

export function ofValues(values: readonly number[]): Spread | null {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const each = Math.max(1, Math.ceil(sorted.length / POINTS_MAX));
  const points = sorted.flatMap((value, index): [number, number][] =>
    index % each === 0 || index === sorted.length - 1 ? [[value, (index + 1) / sorted.length]] : [],
  );
  return { points, n: sorted.length, stepped: true };
}

/** The line begins at the lower edge of the first bucket that holds anything. What lies above the last edge has no end. */
export function ofBuckets(buckets: Pinned["buckets"]): Spread | null {
  const sums = new Map<number, number>();
  for (const [edge, count] of buckets) sums.set(edge, (sums.get(edge) ?? 0) + count);
  const edges = [...sums].sort(([a], [b]) => a - b);
  const n = edges.reduce((sum, [, count]) => sum + count, 0);
  if (n <= 0) return null;
  const points: [number, number][] = [];
  let below = 0;
  for (const [index, [edge, count]] of edges.entries()) {
    if (below === 0 && count === 0) continue;
    if (points.length === 0) points.push([edges[index - 1]?.[0] ?? Math.min(0, edge), 0]);
    below += count;
    if (Number.isFinite(edge)) points.push([edge, below / n]);
    if (below === n) break;
  }
  return points.length < 2 ? null : { points, n, stepped: false };
}

export function ofPinned(pinned: Pinned): Spread | null {
  return pinned.buckets.length > 0 ? ofBuckets(pinned.buckets) : ofValues(pinned.values);
}

/** Values by interval, from a moment on. */
export function ofPoints(points: readonly Point[], from: number | null): Spread | null {
  return ofValues(points.flatMap(([at, value]) => (value === null || (from !== null && at < from) ? [] : [value])));
}

/** The value that this share lies at or below; null where it lies above the last edge. */
export function quantileOf(spread: Spread, share: number): number | null {
  let before: readonly [number, number] | null = null;
  for (const point of spread.points) {
    if (point[1] >= share - 1e-12) {
      if (spread.stepped || before === null || point[1] === before[1]) return point[0];
      return before[0] + ((share - before[1]) / (point[1] - before[1])) * (point[0] - before[0]);
    }
    before = point;
  }
  return null;
}

/** The share at or below a value. */
export function shareAt(spread: Spread, value: number): number {
  let before: readonly [number, number] | null = null;
  for (const point of spread.points) {
    if (point[0] > value) {
      if (before === null) return 0;
      if (spread.stepped) return before[1];
      return before[1] + ((value - before[0]) / (point[0] - before[0])) * (point[1] - before[1]);
    }
    before = point;
  }
  return before?.[1] ?? 0;
}

/** Whether the values want a logarithmic axis: all positive, and far apart. */
export function isWide(spreads: readonly Spread[]): boolean {
  const low = Math.min(...spreads.map((one) => quantileOf(one, 0.01) ?? 0));
  const high = Math.max(...spreads.map((one) => one.points.at(-1)?.[0] ?? 0));
  return low > 0 && high / low > 50;
}
