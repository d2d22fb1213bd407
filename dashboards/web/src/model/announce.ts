// What a policy can show of a release, said before it is started.

import type { Harm, Vote } from "./release.ts";

export interface Announcement {
  readonly policy: { readonly name: string; readonly revision: number | null };
  readonly phases: readonly AnnouncedPhase[];
}

export interface AnnouncedPhase {
  readonly name: string;
  readonly atMostMs: number | null;
  /** The server's sentence. */
  readonly text: string;
  readonly checks: readonly AnnouncedCheck[];
}

export interface AnnouncedCheck {
  readonly name: string;
  readonly kind: string;
  readonly vote: Vote;
  readonly harm: Harm;
  readonly method: string;
  /** Found within the phase in 80 % of cases; null where it cannot be said, and `reason` says why. */
  readonly shift: Amount | null;
  readonly margin: Amount | null;
  /** How long a good release needs until its go. */
  readonly goInMs: number | null;
  readonly newPods: NewPods | null;
  readonly values: readonly AnnouncedValue[];
  readonly helps: readonly Help[];
  readonly reason: { readonly code: string; readonly text: string } | null;
  readonly text: string;
}

/** A size of a difference: a share of the baseline where it is relative, else in the metric's unit. */
export interface Amount {
  readonly value: number;
  readonly measure: string;
  readonly unit: string;
}

export interface NewPods {
  readonly comparedWith: string;
  readonly canary: number | null;
  readonly old: number | null;
  readonly fresh: number | null;
  readonly births: number | null;
  readonly events: number | null;
  readonly settledMs: number | null;
}

export interface Help {
  /** fresh_pods, pods, births, margin, longer or history. */
  readonly what: string;
  readonly text: string;
  /** What would be found then. */
  readonly shift: Amount | null;
}

/** One value of a check that is tested value by value. */
export interface AnnouncedValue {
  readonly value: string;
  readonly shift: Amount | null;
  readonly goInMs: number | null;
}

/** How the shift stands to the margin. */
export type Reach = "within" | "beyond" | "no_margin" | "unknown";

export function reachOf(check: Pick<AnnouncedCheck, "shift" | "margin">): Reach {
  if (check.shift === null) return "unknown";
  if (check.margin === null || check.margin.measure !== check.shift.measure) return "no_margin";
  return check.shift.value <= check.margin.value ? "within" : "beyond";
}

/** Where the shift lies in margins, for the same axis as the forest plot; null where it has none. */
export function inMargins(check: Pick<AnnouncedCheck, "shift" | "margin">): number | null {
  if (check.shift === null || check.margin === null || !(check.margin.value > 0)) return null;
  return check.margin.measure === check.shift.measure ? check.shift.value / check.margin.value : null;
}

/** How many of the checks with a full vote will find a harm as large as their margin. */
export function tally(checks: readonly AnnouncedCheck[]): { full: number; within: number; unknown: number } {
  const full = checks.filter((one) => one.vote === "full");
  return {
    full: full.length,
    within: full.filter((one) => reachOf(one) === "within").length,
    unknown: full.filter((one) => reachOf(one) === "unknown").length,
  };
}
