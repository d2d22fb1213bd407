// GET and DELETE /api/v1/releases/{id}

import type { Outcome, Release } from "../model/release.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { releaseSummary } from "./releases.ts";
import { durationOf, override } from "./verdict_shape.ts";

export function fetchRelease(id: string, signal?: AbortSignal): Promise<Answer<Release>> {
  return call(`releases/${encodeURIComponent(id)}`, readRelease, { signal });
}

export function cancelRelease(id: string): Promise<Answer<null>> {
  return call(`releases/${encodeURIComponent(id)}`, () => null, { method: "DELETE" });
}

export function readRelease(json: Json): Release {
  const match = (side: "canary" | "baseline") => (json.get(side).isText ? "" : json.get(side).get("match").textOr(""));
  return {
    ...releaseSummary(json),
    match: { canary: match("canary"), baseline: match("baseline") },
    intervalMs:
      durationOf(json, "interval") ?? (json.get("policy").isText ? null : durationOf(json.get("policy"), "interval")),
    override: json.get("override").maybe(override),
    outcomes: json.get("outcomes").list(outcome),
  };
}

function outcome(json: Json): Outcome {
  return {
    action: json.get("action").textOr(""),
    trafficShare: json.get("traffic_share").numberOrNull(),
    by: json.get("by").textOr(""),
    time: json.any("time", "at").timeOrNull(),
  };
}
