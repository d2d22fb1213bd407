// GET /api/v1/releases

import type { EvidencePoint, ReleaseSummary } from "../model/release.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { check, decision, durationOf, phase, policyName, reason, timeLeft } from "./verdict_shape.ts";

export interface ReleasesQuery {
  readonly service?: string | undefined;
  readonly state?: string | undefined;
  readonly decision?: string | undefined;
  readonly environment?: string | undefined;
  readonly label?: string | undefined;
  readonly start?: string | undefined;
  readonly end?: string | undefined;
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

export interface ReleasesPage {
  readonly releases: readonly ReleaseSummary[];
  readonly cursor: string | null;
}

export function fetchReleases(query: ReleasesQuery, signal?: AbortSignal): Promise<Answer<ReleasesPage>> {
  return call("releases", readReleases, { query: { ...query }, signal });
}

export function readReleases(body: Json): ReleasesPage {
  const items = body.isList ? body : body.any("releases", "items");
  return {
    releases: items.list(releaseSummary),
    cursor: body.isList ? null : body.get("cursor").maybe((one) => one.text()),
  };
}

export const STATES = ["pending", "running", "decided", "cancelled", "failed"] as const;

/** An item of the list; the release itself has the same fields and more. */
export function releaseSummary(json: Json): ReleaseSummary {
  // The single release carries its verdict; the list carries the verdict's main fields itself.
  const verdict = json.get("verdict");
  const pick = (name: string) => {
    const own = json.get(name);
    return own.missing ? verdict.get(name) : own;
  };
  const names = (side: "canary" | "baseline") => {
    const cohort = json.get(side);
    return cohort.isText ? cohort.text() : cohort.get("name").textOr("");
  };
  const override = pick("override");
  return {
    id: json.get("id").text(),
    key: json.get("key").textOr(""),
    service: json.get("service").textOr(""),
    environment: json.get("environment").textOr(""),
    region: json.get("region").textOr(""),
    kind: json.get("kind").textOr("deploy"),
    labels: Object.fromEntries(json.get("labels").entries((one) => one.text())),
    state: json.get("state").word(STATES, "pending"),
    baseline: names("baseline"),
    canary: names("canary"),
    policy: policyName(json.get("policy").missing ? verdict.get("policy") : json.get("policy")),
    by: pick("by").textOr(""),
    start: json.any("start", "started_at").timeOrNull(),
    decidedAt: pick("decided_at").timeOrNull(),
    decision: decision(pick("decision")),
    final: pick("final").bool(),
    phase: pick("phase").textOr(""),
    overriddenBy: json.get("overridden_by").textOr(override.missing ? "" : override.get("by").textOr("")),
    timeToDecideMs: durationOf(json, "time_to_decide"),
    timeLeft: timeLeft(pick("time_left")),
    phases: pick("phases").list(phase),
    reasons: pick("reasons").list(reason),
    decidingCheck: json.get("deciding_check").isText ? null : json.get("deciding_check").maybe(check),
    evidence: json.get("evidence").isList ? json.get("evidence").list(evidencePoint) : [],
    outcome: json.get("last_outcome").get("action").textOr(""),
    newPatterns: json
      .get("new_patterns")
      .maybe((counts) =>
        typeof counts.raw === "number"
          ? { error: counts.number() }
          : Object.fromEntries(counts.entries((one) => one.number())),
      ),
  };
}

function evidencePoint(json: Json): EvidencePoint {
  return {
    phase: json.get("phase").textOr(""),
    harm: json.get("harm").numberOrNull() ?? 0,
    go: json.get("go").numberOrNull() ?? 0,
  };
}
