// A policy on stored history: what it would have refused, what it would have found.

import type { Vote } from "./release.ts";

export const BACKTEST_STATES = ["waiting", "running", "done", "failed", "cancelled", "interrupted"] as const;
export type BacktestState = (typeof BACKTEST_STATES)[number];

export interface BacktestRequest {
  readonly match: string;
  readonly start: string;
  readonly end: string;
  readonly splitBy: string;
  readonly canaryHosts: number;
  readonly runs: number;
  readonly seed: number;
  readonly effects: readonly string[];
}

export interface Backtest {
  readonly id: string;
  readonly state: BacktestState;
  readonly policy: string;
  readonly revision: number | null;
  readonly match: string;
  readonly startedAt: number | null;
  readonly range: readonly [from: number | null, to: number | null];
  readonly progress: BacktestProgress | null;
  /** Why it failed, where it did. */
  readonly error: string;
  readonly result: BacktestResult | null;
}

export interface BacktestProgress {
  readonly done: number;
  readonly of: number;
  /** waiting, reading or judging. */
  readonly work: string;
}

/** A share of runs with an interval for what it would be over many more. */
export interface Share {
  /** Null where no run could tell. */
  readonly share: number | null;
  readonly low: number;
  readonly high: number;
}

export interface BacktestResult {
  readonly runs: number;
  readonly alpha: number | null;
  readonly refused: Share;
  readonly go: { readonly share: number | null; readonly medianMs: number | null } | null;
  readonly power: readonly Power[];
  readonly restless: readonly { readonly check: string; readonly share: number | null }[];
  readonly checks: readonly BacktestCheck[];
  readonly untested: readonly { readonly check: string; readonly why: string }[];
  readonly placebos: Placebos | null;
}

export interface Power {
  readonly check: string;
  readonly effect: string;
  readonly found: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly medianMs: number | null;
}

export interface BacktestCheck {
  readonly name: string;
  readonly vote: Vote;
  readonly alarms: number | null;
  /** Releases of its phase that it let go in time, and how long that took. */
  readonly go: number | null;
  readonly goMedianMs: number | null;
  /** Releases for whose go it was the last to wait for. */
  readonly slowest: number | null;
  /** The phase without its vote. */
  readonly without: { readonly go: number | null; readonly medianMs: number | null } | null;
  readonly unit: string;
  readonly margin: Margins | null;
  readonly suggested: Margins | null;
}

/** One margin in each of its measures; null where that is not known. */
export interface Margins {
  readonly relative: number | null;
  readonly absolute: number | null;
  /** In standard deviations of the sides' difference in one interval. */
  readonly inNoise: number | null;
}

/** What played the canary. */
export interface Placebos {
  /** splits or births. */
  readonly kind: string;
  readonly units: number | null;
  readonly canaryHosts: number | null;
  /** How much of the history is independent. */
  readonly disjoint: number | null;
}

/** Power as a grid: a row each check, a column each effect, in the order in which they come. */
export function powerGrid(power: readonly Power[]): {
  effects: string[];
  rows: { check: string; cells: (Power | null)[] }[];
} {
  const effects = [...new Set(power.map((one) => one.effect))];
  const checks = [...new Set(power.map((one) => one.check))];
  return {
    effects,
    rows: checks.map((check) => ({
      check,
      cells: effects.map((effect) => power.find((one) => one.check === check && one.effect === effect) ?? null),
    })),
  };
}

/** Whether what was seen speaks against the alpha that the policy promises. */
export function holds(result: Pick<BacktestResult, "refused" | "alpha">): boolean | null {
  return result.alpha === null ? null : result.refused.low <= result.alpha;
}

/** Effects as they are typed, "5%, 10 %, 20%"; whatever else stands there is the server's to refuse. */
export function effectsOf(text: string): string[] {
  return text
    .split(/[,，;\n]/)
    .map((one) => one.replace(/\s+/g, ""))
    .filter((one) => one !== "");
}

export function isOver(state: BacktestState): boolean {
  return state !== "running" && state !== "waiting";
}
