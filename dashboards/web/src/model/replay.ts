// A release judged again from what it pinned, ours beside Kayenta's judge.

import type { Check, Decision, PolicyName, Reason } from "./release.ts";

export const ENGINES = ["both", "greylight", "kayenta"] as const;
export type Engine = (typeof ENGINES)[number];

export interface Replay {
  readonly engine: Engine;
  readonly policy: PolicyName;
  /** Judged by the policy that the release pinned. */
  readonly pinned: boolean;
  /** Null where another policy judged, or only Kayenta. */
  readonly same: boolean | null;
  readonly difference: ReplayDifference | null;
  readonly recorded: { readonly decision: Decision; readonly overridden: boolean };
  readonly verdict: {
    readonly decision: Decision;
    readonly final: boolean;
    readonly reasons: readonly Reason[];
  } | null;
  readonly phases: readonly PhaseReplay[];
}

/** What differs first from the record; without a look it is the verdict. */
export interface ReplayDifference {
  readonly look: number | null;
  readonly phase: string;
  readonly field: string;
  readonly recorded: string;
  readonly replayed: string;
}

export interface PhaseReplay {
  readonly name: string;
  readonly ours: PhaseLook | null;
  readonly kayenta: KayentaResult | null;
  readonly kayentaError: string;
}

/** The last look of a phase. */
export interface PhaseLook {
  readonly decision: Decision;
  readonly score: number | null;
  readonly looks: number;
  readonly reasons: readonly Reason[];
  readonly checks: readonly Check[];
}

export interface KayentaResult {
  readonly decision: Decision;
  readonly score: number | null;
  /** Pass, Marginal or Fail. */
  readonly classification: string;
  readonly reason: string;
  readonly warnings: readonly Warning[];
  readonly metrics: readonly KayentaMetric[];
}

/** What the judge warns of. Those that are not known here keep the server's words. */
export type Warning =
  | { readonly kind: "few_values"; readonly least: string; readonly text: string }
  | { readonly kind: "unknown_field"; readonly field: string; readonly text: string }
  | {
      readonly kind: "unknown_word";
      readonly field: string;
      readonly value: string;
      readonly known: string;
      readonly text: string;
    }
  | { readonly kind: "other"; readonly text: string };

/** The server sends sentences without a code; these are all that it has. */
export function warningOf(text: string): Warning {
  const few = /^a result rests on fewer than (\d+) baseline values$/.exec(text);
  if (few) return { kind: "few_values", least: few[1] ?? "", text };
  const field = /^(\S+): is no field here and means nothing$/.exec(text);
  if (field) return { kind: "unknown_field", field: field[1] ?? "", text };
  const word = /^(\S+): (.+) is none of (.+); the default is taken$/.exec(text);
  if (word) return { kind: "unknown_word", field: word[1] ?? "", value: word[2] ?? "", known: word[3] ?? "", text };
  return { kind: "other", text };
}

export interface KayentaMetric {
  readonly name: string;
  /** The check that it was made of. */
  readonly check: string;
  /** Pass, High, Low, Nodata, NodataFailMetric or Error. */
  readonly classification: string;
  readonly reason: string;
  readonly muted: boolean;
}

/** A check and the metrics by which Kayenta saw it; with engine kayenta there are only these. */
export interface BesideRow {
  readonly name: string;
  readonly check: Check | null;
  readonly metrics: readonly KayentaMetric[];
}

export function besideRows(phase: PhaseReplay): BesideRow[] {
  const checks = phase.ours?.checks ?? [];
  const metrics = phase.kayenta?.metrics ?? [];
  const known = new Set(checks.map((one) => one.name));
  const others = [...new Set(metrics.map((one) => one.check))].filter((name) => !known.has(name));
  return [
    ...checks.map((check) => ({ name: check.name, check })),
    ...others.map((name) => ({ name, check: null })),
  ].map((row) => ({ ...row, metrics: metrics.filter((one) => one.check === row.name) }));
}

/** How two judges of the same data stand to each other. */
export type Meaning = "agree" | "kayenta_refuses" | "kayenta_passes_harm" | "kayenta_passes_open" | "marginal";

export function meaning(phase: PhaseReplay): Meaning | null {
  if (phase.ours === null || phase.kayenta === null) return null;
  const [ours, theirs] = [phase.ours.decision, phase.kayenta.decision];
  if (ours === theirs) return "agree";
  if (theirs === "no_go") return "kayenta_refuses";
  if (theirs === "inconclusive") return "marginal";
  return ours === "no_go" ? "kayenta_passes_harm" : "kayenta_passes_open";
}
