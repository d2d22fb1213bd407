// Evidence over looks: p of harm upward, p of go downward, each with the level it must reach, on a log axis.

import type { CheckReading, Decision, EvidencePoint, Look } from "./release.ts";

export interface EvidenceLook {
  readonly number: number;
  readonly at: number;
  readonly decision: Decision;
  readonly pHarm: number | null;
  readonly level: number | null;
  readonly pGo: number | null;
  readonly levelGo: number | null;
}

/** The looks at one check of one phase, in order. */
export function evidenceOf(looks: readonly Look[], phase: string, name: string): EvidenceLook[] {
  const found: EvidenceLook[] = [];
  for (const look of looks) {
    const check = look.checks.find((one) => one.name === name && one.phase === phase);
    if (!check) continue;
    found.push({
      number: look.number,
      at: look.at,
      decision: check.decision,
      pHarm: check.pHarm,
      level: check.level,
      pGo: check.pGo,
      levelGo: check.levelGo,
    });
  }
  return found.sort((a, b) => a.number - b.number);
}

/** Orders of magnitude that p lies below one; a p of zero is as far as the axis goes. */
export function decades(p: number | null, ceiling: number): number | null {
  if (p === null) return null;
  if (p <= 0) return ceiling;
  return Math.min(ceiling, Math.max(0, -Math.log10(p)));
}

export interface EvidenceAxis {
  readonly harm: number;
  readonly go: number;
  readonly ticks: readonly number[];
}

const DECADES_MAX = 16;

/** How many decades each half needs, and which to label. Signed: harm above zero, go below. */
export function evidenceAxis(looks: readonly EvidenceLook[]): EvidenceAxis {
  const reach = (values: (number | null)[]) => {
    const found = values.map((one) => decades(one, DECADES_MAX)).filter((one): one is number => one !== null);
    return Math.min(DECADES_MAX, Math.max(2, ...found) * 1.08 + 0.4);
  };
  const harm = reach(looks.flatMap((look) => [look.pHarm, look.level]));
  const go = reach(looks.flatMap((look) => [look.pGo, look.levelGo]));
  const step = [1, 2, 4, 5].find((one) => (harm + go) / one <= 8) ?? 8;
  const ticks: number[] = [];
  for (let k = -Math.floor(go / step) * step; k <= harm; k += step) ticks.push(k);
  return { harm, go, ticks };
}

/** The first look at which the check crossed, and which way. */
export function crossing(looks: readonly EvidenceLook[]): EvidenceLook | null {
  return looks.find((look) => look.decision !== "inconclusive") ?? null;
}

/** Looks that the phase allows at most; null when its policy is not known. */
export function looksAllowed(atMostMs: number | null, intervalMs: number | null): number | null {
  if (atMostMs === null || intervalMs === null || intervalMs <= 0) return null;
  return Math.floor(atMostMs / intervalMs);
}

/** How far p has come to its level, as a share of the way on the log axis: 1 where it has reached it. */
function reached(p: number | null, level: number | null): number | null {
  if (p === null || level === null || level >= 1) return null;
  if (p <= 0) return 1;
  return Math.max(0, Math.min(1, Math.log(p) / Math.log(level)));
}

/** The small line of a release: at each look the strongest evidence of harm, and the weakest for go among full votes. */
export function evidenceLine(looks: readonly Look[], most: number): EvidencePoint[] {
  const each = Math.max(1, Math.ceil(looks.length / most));
  const taken = looks.filter((_look, index) => index % each === 0 || index === looks.length - 1);
  return taken.map((look) => {
    const harm = look.checks.map((check) => reached(check.pHarm, check.level) ?? 0);
    const go = look.checks.filter((check) => check.vote === "full").map(goOf);
    return { phase: look.phase, harm: Math.max(0, ...harm), go: go.length === 0 ? 0 : Math.min(...go) };
  });
}

/** A check that went stays gone: first of two decides. */
function goOf(check: CheckReading): number {
  return check.decision === "go" ? 1 : (reached(check.pGo, check.levelGo) ?? 0);
}
