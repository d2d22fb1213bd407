// What one side of a release handles and the other does not.

import type { Decision, Effect, Harm, Severity, Side, Vote } from "./release.ts";

export interface Compatibility {
  readonly checks: readonly ComparedCheck[];
  readonly patterns: readonly ComparedPattern[];
  readonly patternsNotListed: number;
}

/** A check that is made value by value: of each route, caller or code. */
export interface ComparedCheck {
  readonly phase: string;
  readonly check: string;
  /** The label or field whose values are told apart. */
  readonly by: string;
  readonly harm: Harm;
  readonly vote: Vote;
  readonly margin: number | null;
  readonly decision: Decision;
  readonly values: readonly ComparedValue[];
  readonly notListed: number;
}

export interface ComparedValue {
  readonly value: string;
  readonly onlyOn: Side | null;
  /** It has a test of its own; the others are pooled. */
  readonly tested: boolean;
  readonly decision: Decision | null;
  readonly effect: Effect | null;
  readonly pHarm: number | null;
  readonly baseline: Handled;
  readonly canary: Handled;
}

export interface Handled {
  readonly events: number | null;
  readonly trials: number | null;
  readonly share: number | null;
}

export interface ComparedPattern {
  readonly phase: string;
  readonly check: string;
  readonly id: string;
  readonly text: string;
  readonly severity: Severity;
  /** new: on the canary alone and never before; gone: on the baseline alone. */
  readonly change: string;
  readonly baseline: number | null;
  readonly canary: number | null;
  readonly expected: number | null;
}

/** Values that speak first: on one side only, then those that refuse, then those that cannot go yet. */
export function sortValues(values: readonly ComparedValue[]): ComparedValue[] {
  const rank = (one: ComparedValue) =>
    one.onlyOn !== null ? 0 : one.decision === "no_go" ? 1 : one.decision === "inconclusive" ? 2 : one.tested ? 3 : 4;
  return values
    .map((one, index) => ({ one, index }))
    .sort((a, b) => rank(a.one) - rank(b.one) || a.index - b.index)
    .map(({ one }) => one);
}

/** How many values only one side has, over all checks. */
export function oneSided(compared: Compatibility): Readonly<Record<Side, number>> {
  const all = compared.checks.flatMap((check) => check.values);
  const of = (side: Side) => new Set(all.filter((one) => one.onlyOn === side).map((one) => one.value)).size;
  return { canary: of("canary"), baseline: of("baseline") };
}
