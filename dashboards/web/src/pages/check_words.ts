// How a check is called and its effect worded, the same in the list, the band and the table.

import { texts } from "../app/locale.ts";
import { type EffectText, fixed } from "../model/format.ts";
import type { Check, Quantile } from "../model/release.ts";

/** "p99" for 0.99, "p99.9" for 0.999. */
export function quantileName(q: number): string {
  const hundredths = q * 100;
  return `p${fixed(hundredths, Number.isInteger(Math.round(hundredths * 1e6) / 1e6) ? 0 : 1)}`;
}

export function checkTitle(check: { name: string }, quantile: Quantile | null): string {
  return quantile ? `${check.name} ${quantileName(quantile.q)}` : check.name;
}

/** The interval in words, low to high, whichever ends it has. */
export function rangeWords(range: EffectText["range"]): string {
  const t = texts();
  switch (range.kind) {
    case "both":
      return t.fromTo(range.low, range.high);
    case "at_most":
      return t.atMost(range.high);
    case "at_least":
      return t.atLeast(range.low);
    case "none":
      return t.none;
  }
}

/** The end of the interval that speaks of harm: the most it may be. */
export function worstEnd(check: Pick<Check, "harm">, written: EffectText): string {
  const t = texts();
  return check.harm === "down" ? t.atLeast(written.low) : t.atMost(written.high);
}
