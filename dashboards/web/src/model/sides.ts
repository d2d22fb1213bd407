// Many hosts of one side as a median with a band.

import type { Point } from "./release.ts";
import type { Series } from "./series.ts";

export interface Folded {
  readonly line: Point[];
  readonly band: (readonly [t: number, low: number, high: number])[];
}

/** The median host at each time, and the lowest and highest where there are at least two. */
export function fold(series: readonly Series[]): Folded {
  const at = new Map<number, number[]>();
  for (const { points } of series) {
    for (const [t, value] of points) {
      if (value === null || !Number.isFinite(value)) continue;
      const values = at.get(t) ?? [];
      values.push(value);
      at.set(t, values);
    }
  }
  const times = [...at.keys()].sort((a, b) => a - b);
  const step = Math.min(...times.slice(1).map((t, index) => t - (times[index] ?? t)));
  const line: Point[] = [];
  const band: [number, number, number][] = [];
  for (const [index, t] of times.entries()) {
    const before = times[index - 1];
    // A hole of more than one step breaks the line rather than being joined.
    if (before !== undefined && t - before > step * 1.5) line.push([before + step, null]);
    const values = (at.get(t) ?? []).sort((a, b) => a - b);
    const middle = values.length >> 1;
    const median =
      values.length % 2 === 1 ? (values[middle] ?? 0) : ((values[middle - 1] ?? 0) + (values[middle] ?? 0)) / 2;
    line.push([t, median]);
    if (values.length > 1) band.push([t, values[0] ?? median, values.at(-1) ?? median]);
  }
  return { line, band };
}
