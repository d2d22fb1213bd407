// What the band beside the plate says. Decides which sentence, from numbers alone; the dictionary words it.
// It never says more than was shown: "no worse than the margin", not "no problem found".

import { nearness } from "./forest.ts";
import type { Check, Decision, Reason, ReleaseState, TimeLeft, Verdict } from "./release.ts";

export type Headline =
  | { kind: "go"; full: number }
  | { kind: "overridden"; decision: Decision; by: string; why: string }
  | { kind: "worse"; check: Check }
  | { kind: "patterns"; check: Check; fresh: number; more: number }
  | { kind: "refused"; reasons: number }
  | { kind: "running_clear"; waiting: number; timeLeft: TimeLeft | null }
  | { kind: "running_hurt"; check: Check }
  | { kind: "time_out"; missing: number; full: number }
  | { kind: "waiting_phase"; phase: string }
  | { kind: "no_data" }
  | { kind: "cancelled" }
  | { kind: "failed" }
  | { kind: "pending" };

/** Checks that hold up go: a full vote and no go yet. */
export function waitingChecks(verdict: Verdict): Check[] {
  return verdict.checks.filter(
    (check) => check.vote === "full" && check.phase === verdict.phase && check.decision === "inconclusive",
  );
}

/** The check that stands closest to harm: those that refuse first, then those with a margin, nearest first. */
export function closest(checks: readonly Check[]): Check | null {
  return order(checks)[0] ?? null;
}

/** The check that speaks for the whole verdict: one that refused, else the full vote closest to harm. */
export function deciding(checks: readonly Check[]): Check | null {
  const refused = checks.filter((check) => check.decision === "no_go");
  const judged = checks.filter(
    (check) => check.vote === "full" && (check.effect !== null || check.quantiles.length > 0),
  );
  return closest(refused) ?? closest(judged) ?? closest(checks);
}

const RANK: Readonly<Record<Decision, number>> = { no_go: 0, inconclusive: 1, go: 2 };

/** Rows as the table shows them: no-go on top, then by how near the interval's harmful end is to the margin. */
export function order(checks: readonly Check[]): Check[] {
  return [...checks].sort(
    (a, b) => RANK[a.decision] - RANK[b.decision] || nearest(b) - nearest(a) || a.name.localeCompare(b.name),
  );
}

function nearest(check: Check): number {
  const effects = check.quantiles.length > 0 ? check.quantiles.map((one) => one.effect) : [check.effect];
  return Math.max(...effects.map((effect) => nearness(effect, check.margin, check.harm)));
}

/** The quantile of a check that is closest to harm, which speaks for it; null for a check without quantiles. */
export function leading<T extends Check>(check: T): T["quantiles"][number] | null {
  const sorted = [...check.quantiles].sort(
    (a, b) => nearness(b.effect, check.margin, check.harm) - nearness(a.effect, check.margin, check.harm),
  );
  return sorted[0] ?? null;
}

/** Chooses the sentence for a release. */
export function headline(state: ReleaseState, verdict: Verdict): Headline {
  if (verdict.override) return { kind: "overridden", ...verdict.override };
  if (state === "cancelled" || state === "failed") return { kind: state };
  switch (verdict.decision) {
    case "go":
      return { kind: "go", full: verdict.checks.filter((check) => check.vote === "full").length };
    case "no_go":
      return refused(verdict);
    case "inconclusive":
      return verdict.final ? undecided(verdict) : underWay(state, verdict);
  }
}

function refused(verdict: Verdict): Headline {
  const check = closest(verdict.checks.filter((one) => one.decision === "no_go"));
  if (check === null) return { kind: "refused", reasons: verdict.reasons.length };
  return harmful(check);
}

function harmful(check: Check): Headline {
  if (check.kind !== "patterns") return { kind: "worse", check };
  const of = (change: string) => check.patterns.filter((one) => one.change === change).length;
  return { kind: "patterns", check, fresh: of("new"), more: of("more") };
}

function undecided(verdict: Verdict): Headline {
  if (verdict.reasons.length > 0 && verdict.reasons.every((one) => isMissing(one))) return { kind: "no_data" };
  const full = verdict.checks.filter((check) => check.vote === "full");
  return {
    kind: "time_out",
    missing: full.filter((check) => check.decision === "inconclusive").length,
    full: full.length,
  };
}

function underWay(state: ReleaseState, verdict: Verdict): Headline {
  const phase = verdict.phases.find((one) => one.name === verdict.phase);
  if (phase?.decision === "waiting") return { kind: "waiting_phase", phase: phase.name };
  if (state === "pending" || verdict.checks.length === 0) return { kind: "pending" };
  const hurt = closest(verdict.checks.filter((check) => check.decision === "no_go"));
  if (hurt) return { kind: "running_hurt", check: hurt };
  return { kind: "running_clear", waiting: waitingChecks(verdict).length, timeLeft: verdict.timeLeft };
}

function isMissing(reason: Reason): boolean {
  return reason.code === "no_data" || reason.code === "stale_data";
}

/** Reasons worth a line in the band, without repeating what the headline says, the gravest first. */
export function weighty(verdict: Verdict, limit = 4): { shown: Reason[]; left: number } {
  const grave = (reason: Reason) => (reason.code === "harm_shown" ? 0 : isMissing(reason) ? 1 : 2);
  const open = verdict.reasons.filter((one) => one.code !== "below_margin" && one.code !== "override");
  const harm = open.filter((one) => one.code === "harm_shown");
  // What else is open does not matter once harm is shown.
  const wanted = verdict.decision === "go" ? [] : verdict.decision === "no_go" && harm.length > 0 ? harm : open;
  const sorted = [...wanted].sort((a, b) => grave(a) - grave(b));
  return { shown: sorted.slice(0, limit), left: Math.max(0, sorted.length - limit) };
}
