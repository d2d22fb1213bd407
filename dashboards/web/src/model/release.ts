// The words of a release, its verdict and its looks, as the pages hold them after parsing.

export type Decision = "go" | "no_go" | "inconclusive";
export type PhaseDecision = Decision | "waiting";
export type ReleaseState = "pending" | "running" | "decided" | "cancelled" | "failed";
export type Vote = "full" | "veto" | "none";
export type Harm = "up" | "down" | "either";
export type Side = "canary" | "baseline";
export type PatternChange = "new" | "more" | "fewer" | "gone" | "same";
export type Severity = "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "unset";

/** An estimate with an interval that holds at all looks; an end that is null is unbounded. */
export interface Effect {
  readonly estimate: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly unit: string;
  readonly measure: string;
}

export interface Quantile {
  readonly q: number;
  readonly effect: Effect;
  readonly baseline: number | null;
  readonly canary: number | null;
  readonly decision: Decision | null;
  readonly decidedAt: number | null;
}

export interface Values {
  readonly baseline: number | null;
  readonly canary: number | null;
  readonly unit: string;
}

export interface Sizes {
  readonly baseline: number | null;
  readonly canary: number | null;
  readonly effective: number | null;
}

export interface UnitValue {
  readonly unit: string;
  readonly side: Side | null;
  readonly value: number | null;
  readonly n: number | null;
}

export interface Query {
  readonly side: Side | null;
  readonly text: string;
}

export interface History {
  readonly canary: readonly Point[];
  readonly baseline: readonly Point[];
}

/** A time in milliseconds and a value; null breaks the line. */
export type Point = readonly [t: number, value: number | null];

/** What a look and a verdict both say of a check. */
export interface CheckReading {
  readonly name: string;
  readonly phase: string;
  readonly decision: Decision;
  readonly values: Values;
  readonly effect: Effect | null;
  readonly quantiles: readonly Quantile[];
  readonly margin: number | null;
  readonly pHarm: number | null;
  readonly level: number | null;
  readonly pGo: number | null;
  readonly levelGo: number | null;
  readonly n: Sizes;
  readonly spent: number | null;
  readonly vote: Vote;
}

export interface Check extends CheckReading {
  readonly kind: string;
  readonly harm: Harm;
  readonly budget: number | null;
  readonly method: string;
  readonly decidedAt: number | null;
  readonly since: number | null;
  readonly timeLeft: TimeLeft | null;
  readonly queries: readonly Query[];
  readonly units: readonly UnitValue[];
  readonly history: History | null;
  readonly patterns: readonly Pattern[];
}

export interface TimeLeft {
  readonly lowMs: number | null;
  readonly highMs: number | null;
}

export interface Pattern {
  readonly id: string;
  readonly text: string;
  readonly severity: Severity;
  readonly change: PatternChange;
  readonly baseline: number | null;
  readonly canary: number | null;
  readonly expected: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly firstSeen: number | null;
  readonly units: number | null;
  readonly unitsTotal: number | null;
  readonly accepted: boolean;
  readonly counts: { readonly canary: readonly number[]; readonly baseline: readonly number[] };
  readonly examples: readonly PatternExample[];
}

export interface PatternExample {
  readonly time: number | null;
  readonly body: string;
  readonly unit: string;
}

export interface Phase {
  readonly name: string;
  readonly decision: PhaseDecision;
  readonly startedAt: number | null;
  readonly decidedAt: number | null;
  readonly looks: number | null;
  readonly atLeastMs: number | null;
  readonly atMostMs: number | null;
  readonly trafficShare: number | null;
}

export interface Reason {
  readonly code: string;
  readonly check: string;
  readonly text: string;
}

export interface Validity {
  readonly name: string;
  readonly ok: boolean;
  readonly text: string;
}

export interface Cohort {
  readonly name: string;
  readonly units: number | null;
  readonly requests: number | null;
  readonly silent: readonly string[];
}

export interface Override {
  readonly decision: Decision;
  readonly by: string;
  readonly why: string;
  readonly at: number | null;
}

export interface PolicyName {
  readonly name: string;
  readonly revision: number | null;
}

export interface Verdict {
  readonly revision: number;
  readonly decision: Decision;
  readonly final: boolean;
  readonly phase: string;
  readonly policy: PolicyName;
  readonly startedAt: number | null;
  readonly decidedAt: number | null;
  readonly watermark: number | null;
  readonly expiresAt: number | null;
  readonly by: string;
  readonly alpha: number | null;
  readonly alphaSpent: number | null;
  readonly timeLeft: TimeLeft | null;
  readonly cohorts: { readonly canary: Cohort | null; readonly baseline: Cohort | null };
  readonly phases: readonly Phase[];
  readonly validity: readonly Validity[];
  readonly reasons: readonly Reason[];
  readonly checks: readonly Check[];
  readonly override: Override | null;
  readonly evidence: {
    readonly from: number | null;
    readonly to: number | null;
    readonly rows: number | null;
    readonly digest: string;
  } | null;
}

export interface Look {
  readonly at: number;
  readonly phase: string;
  readonly number: number;
  readonly decision: Decision;
  readonly checks: readonly CheckReading[];
}

export interface EvidencePoint {
  readonly phase: string;
  /** 0 to 1: how near the strongest evidence of harm is to its boundary. */
  readonly harm: number;
  /** 0 to 1: how near the weakest evidence for go is to its boundary. */
  readonly go: number;
}

export interface ReleaseSummary {
  readonly id: string;
  readonly key: string;
  readonly service: string;
  readonly environment: string;
  readonly region: string;
  readonly kind: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: ReleaseState;
  readonly baseline: string;
  readonly canary: string;
  readonly policy: PolicyName | null;
  readonly by: string;
  readonly start: number | null;
  readonly decidedAt: number | null;
  readonly decision: Decision;
  readonly final: boolean;
  readonly phase: string;
  readonly overriddenBy: string;
  readonly timeToDecideMs: number | null;
  readonly timeLeft: TimeLeft | null;
  readonly phases: readonly Phase[];
  readonly reasons: readonly Reason[];
  readonly decidingCheck: Check | null;
  readonly evidence: readonly EvidencePoint[];
  /** What the deploy tool did last: promoted, rolled_back or paused. */
  readonly outcome: string;
  readonly newPatterns: Readonly<Record<string, number>> | null;
}

export interface Outcome {
  readonly action: string;
  readonly trafficShare: number | null;
  readonly by: string;
  readonly time: number | null;
}

export interface Release extends ReleaseSummary {
  readonly match: { readonly canary: string; readonly baseline: string };
  readonly intervalMs: number | null;
  readonly override: Override | null;
  readonly outcomes: readonly Outcome[];
  readonly packs: Packs | null;
}

/** Which checks ready-made packs took for a policy that needs no settings, and which they left. */
export interface Packs {
  readonly taken: readonly TakenCheck[];
  readonly left: readonly { readonly pack: string; readonly check: string; readonly why: string }[];
}

export interface TakenCheck {
  readonly pack: string;
  readonly check: string;
  readonly phase: string;
  /** Which of the ways to read it was found. */
  readonly source: string;
  readonly reads: readonly string[];
  readonly vote: string;
  readonly margin: string;
  readonly why: string;
  readonly note: string;
}

export interface Attempt {
  readonly at: number | null;
  readonly status: number | null;
  readonly tookMs: number | null;
  readonly error: string;
  /** The receiver took it. */
  readonly taken: boolean;
}

export interface Delivery {
  readonly id: string;
  readonly type: string;
  readonly revision: number | null;
  readonly decision: Decision | null;
  readonly final: boolean;
  readonly phase: string;
  readonly to: string;
  readonly state: string;
  readonly nextAt: number | null;
  /** The attempts that are kept; the server may keep only the last. */
  readonly attempts: readonly Attempt[];
  readonly nAttempts: number;
  readonly body: unknown;
}

/** What a row, a badge and the plate show. "overridden" is a decision with an author, so it is not one of these. */
export type Sign = "go" | "no_go" | "inconclusive" | "running" | "pending" | "no_data" | "cancelled" | "failed";

/** Chooses the sign of a release from its state and verdict. */
export function signOf(release: {
  state: ReleaseState;
  decision: Decision;
  final: boolean;
  reasons: readonly Reason[];
}): Sign {
  switch (release.state) {
    case "cancelled":
      return "cancelled";
    case "failed":
      return "failed";
    case "pending":
      return "pending";
    case "running":
      return release.final || release.decision === "no_go" ? decided(release) : "running";
    case "decided":
      return decided(release);
  }
}

const NO_DATA_CODES: ReadonlySet<string> = new Set(["no_data", "stale_data"]);

function decided(release: { decision: Decision; reasons: readonly Reason[] }): Sign {
  const onlyMissing = release.reasons.length > 0 && release.reasons.every((reason) => NO_DATA_CODES.has(reason.code));
  return release.decision === "inconclusive" && onlyMissing ? "no_data" : release.decision;
}

/** The sign of one check: missing data is its own sign, with its cause in the reason. */
export function signOfCheck(check: CheckReading, reasons: readonly Reason[]): { sign: Sign; reason: Reason | null } {
  const reason =
    reasons.find((one) => one.check === check.name || one.check === `${check.phase}/${check.name}`) ?? null;
  if (check.decision === "inconclusive" && reason && NO_DATA_CODES.has(reason.code)) return { sign: "no_data", reason };
  return { sign: check.decision, reason };
}

/** A check is named by its phase as well: the same name may stand in two phases. */
export function checkId(check: { phase: string; name: string }): string {
  return `${check.phase}/${check.name}`;
}
