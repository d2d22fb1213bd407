// The forest plot's axis, in margins: linear up to one margin, logarithmic beyond, harm to the right in every row.
// One check far gone therefore neither flattens the others nor leaves the plot.

import type { Effect, Harm } from "./release.ts";

/** Share of the width, 0 to 100, at which zero, the margin, three and ten margins lie. */
export const ZERO = 38.46;
export const MARGIN = 64.1;
const LOG_WIDTH = 14.1;
export const THREE = MARGIN + LOG_WIDTH * Math.log(3);
export const TEN = MARGIN + LOG_WIDTH * Math.log(10);

/** Where a difference of `margins` times the margin lies, as a share of the width; it may lie outside 0..100. */
export function place(margins: number): number {
  if (margins <= 1) return ZERO + (MARGIN - ZERO) * margins;
  return MARGIN + LOG_WIDTH * Math.log(margins);
}

/** An end that is drawn: at its place, or as an arrow at the edge it runs past. */
export interface End {
  readonly x: number;
  readonly arrow: boolean;
}

export interface ForestRow {
  readonly low: End;
  readonly high: End;
  readonly point: number | null;
  /** False where the check has no margin: the row then has a scale of its own and no margin line may be read from it. */
  readonly scaled: boolean;
}

/** Places an effect; harm points right whatever its sign. Null when nothing is known of it. */
export function forestRow(effect: Effect, margin: number | null, harm: Harm): ForestRow | null {
  const known = [effect.low, effect.high, effect.estimate].filter((one): one is number => one !== null);
  if (known.length === 0) return null;
  const own = Math.max(...known.map(Math.abs)) || 1;
  const unit = margin !== null && margin > 0 ? margin : own / 0.9;
  const sign = harm === "down" ? -1 : 1;
  const inMargins = (value: number | null) => (value === null ? null : (value * sign) / unit);
  const [a, b] = sign === 1 ? [effect.low, effect.high] : [effect.high, effect.low];
  const point = inMargins(effect.estimate);
  return {
    low: end(inMargins(a), "low"),
    high: end(inMargins(b), "high"),
    point: point === null ? null : clamp(place(point)),
    scaled: margin !== null && margin > 0,
  };
}

function end(margins: number | null, side: "low" | "high"): End {
  const x = margins === null ? (side === "low" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY) : place(margins);
  return { x: clamp(x), arrow: x < 0 || x > 100 };
}

function clamp(x: number): number {
  return Math.min(100, Math.max(0, x));
}

/** How near a check is to harm, for the order of rows: the interval's harmful end in margins. */
export function nearness(effect: Effect | null, margin: number | null, harm: Harm): number {
  if (effect === null) return Number.NEGATIVE_INFINITY;
  const sign = harm === "down" ? -1 : 1;
  const worst = sign === 1 ? effect.high : effect.low;
  if (worst === null) return Number.POSITIVE_INFINITY;
  return margin !== null && margin > 0 ? (worst * sign) / margin : 0;
}
