// GET /api/v1/releases/{id}/verdict, at once or when its revision rises

import type { Verdict } from "../model/release.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { check, cohort, decision, override, phase, policyName, reason, timeLeft } from "./verdict_shape.ts";

export interface Wait {
  /** The revision that is already known. */
  readonly after: number;
  readonly wait: string;
}

export function fetchVerdict(id: string, wait: Wait | null, signal?: AbortSignal): Promise<Answer<Verdict>> {
  return call(`releases/${encodeURIComponent(id)}/verdict`, readVerdict, { query: { ...wait }, signal });
}

export function readVerdict(json: Json): Verdict {
  const evidence = json.get("evidence");
  const range = evidence.get("range");
  return {
    revision: json.get("revision").numberOrNull() ?? 0,
    decision: decision(json.get("decision")),
    final: json.get("final").bool(),
    phase: json.get("phase").textOr(""),
    policy: policyName(json.get("policy")) ?? { name: "", revision: null },
    startedAt: json.get("started_at").timeOrNull(),
    decidedAt: json.get("decided_at").timeOrNull(),
    watermark: json.get("watermark").timeOrNull(),
    expiresAt: json.get("expires_at").timeOrNull(),
    by: json.get("by").textOr(""),
    alpha: json.get("alpha").numberOrNull(),
    alphaSpent: json.get("alpha_spent").numberOrNull(),
    timeLeft: timeLeft(json.get("time_left")),
    cohorts: {
      canary: json.get("cohorts").get("canary").maybe(cohort),
      baseline: json.get("cohorts").get("baseline").maybe(cohort),
    },
    phases: json.get("phases").list(phase),
    validity: json.get("validity").list((one) => ({
      name: one.get("name").textOr(""),
      ok: one.get("ok").bool(true),
      text: one.get("text").textOr(""),
    })),
    reasons: json.get("reasons").list(reason),
    checks: json.get("checks").list(check),
    override: json.get("override").maybe(override),
    evidence: evidence.missing
      ? null
      : {
          from: range.isList ? range.at(0).timeOrNull() : null,
          to: range.isList ? range.at(1).timeOrNull() : null,
          rows: evidence.get("rows").numberOrNull(),
          digest: evidence.get("digest").textOr(""),
        },
  };
}
