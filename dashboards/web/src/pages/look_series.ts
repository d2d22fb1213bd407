// Lines over looks for one check, or one quantile of it.

import type { DifferenceLook } from "../charts/difference.tsx";
import type { Look, Point, Side } from "../model/release.ts";

/** The effect at each look that has one. */
export function differenceLooks(
  looks: readonly Look[],
  check: { name: string; phase: string },
  q: number | null,
): DifferenceLook[] {
  return looks.flatMap((look): DifferenceLook[] => {
    const found = look.checks.find((one) => one.name === check.name && one.phase === check.phase);
    const effect = q === null ? found?.effect : (found?.quantiles.find((one) => one.q === q)?.effect ?? found?.effect);
    return found && effect && effect.estimate !== null ? [{ at: look.at, effect, decision: found.decision }] : [];
  });
}

/** The value that each look had in hand for a side. */
export function valuesSoFar(
  looks: readonly Look[],
  check: { name: string; phase: string },
  side: Side,
  q: number | null,
): Point[] {
  return looks.flatMap((look): Point[] => {
    const found = look.checks.find((one) => one.name === check.name && one.phase === check.phase);
    if (!found) return [];
    const quantile = q === null ? undefined : found.quantiles.find((one) => one.q === q);
    return [[look.at, quantile ? quantile[side] : found.values[side]]];
  });
}
