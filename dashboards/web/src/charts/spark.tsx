// Small drawings inside rows.

import { linear, linePath, round } from "../model/scale.ts";

/** A line over the last minutes, from zero. */
export function Spark({ values }: { values: readonly number[] }) {
  const high = Math.max(...values, 0) || 1;
  const x = linear(0, Math.max(1, values.length - 1), 0, 590);
  const y = linear(0, high * 1.15, 23.5, 2);
  return (
    <svg class="spark" viewBox="0 0 590 24" preserveAspectRatio="none" aria-hidden="true">
      <path class="g-line" d="M0 23.5H590" />
      <path class="l-ink" d={linePath(values.map((value, index) => [x(index), y(value)]))} />
    </svg>
  );
}

/** Counts by interval, canary above the line and baseline below, each against its own largest. */
export function MirrorBars({
  canary,
  baseline,
  label,
}: {
  canary: readonly number[];
  baseline: readonly number[];
  label: string;
}) {
  const n = Math.max(canary.length, baseline.length);
  if (n === 0) return null;
  const [up, down] = [fold(canary, n), fold(baseline, n)];
  const width = 1000 / up.length;
  const bar = (values: readonly number[], sign: 1 | -1) => {
    const top = Math.max(...values, 1);
    return values
      .map((value, index) =>
        value <= 0
          ? ""
          : `M${round(index * width)} ${sign === -1 ? 12 : 13}h${round(width * 0.72)}v${round(sign * Math.max(1.5, (value / top) * 11))}h${round(-width * 0.72)}z`,
      )
      .join("");
  };
  return (
    <svg class="spark bars" viewBox="0 0 1000 24" preserveAspectRatio="none" role="img" aria-label={label}>
      <path class="up" d={bar(up, -1)} />
      <path class="dn" d={bar(down, 1)} />
      <path class="g-line" d="M0 12.5H1000" />
    </svg>
  );
}

const BARS_MAX = 40;

/** Sums neighbours until at most forty bars are left. */
function fold(values: readonly number[], n: number): number[] {
  const each = Math.ceil(n / BARS_MAX);
  const folded: number[] = new Array(Math.ceil(n / each)).fill(0);
  for (const [index, value] of values.entries())
    folded[Math.floor(index / each)] = (folded[Math.floor(index / each)] ?? 0) + value;
  return folded;
}
