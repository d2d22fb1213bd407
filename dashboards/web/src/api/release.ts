// GET and DELETE /api/v1/releases/{id}

import type { Outcome, Packs, Release, TakenCheck } from "../model/release.ts";
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
    packs: json.get("packs").maybe(packs),
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

function packs(json: Json): Packs {
  return {
    taken: json.get("taken").list(taken),
    left: json.get("left").list((one) => ({
      pack: one.get("pack").textOr(""),
      check: one.get("check").textOr(""),
      why: one.get("why").textOr(""),
    })),
  };
}

function taken(json: Json): TakenCheck {
  const text = (name: string) => json.get(name).textOr("");
  const reads = json.get("reads");
  return {
    pack: text("pack"),
    check: text("check"),
    phase: text("phase"),
    source: text("source"),
    reads: reads.isText
      ? [reads.text()]
      : reads.isList
        ? reads.list(written)
        : reads.entries(written).map(([, one]) => one),
    vote: text("vote"),
    margin: json.get("margin").maybe(margin) ?? "",
    why: text("why"),
    note: text("note"),
  };
}

/** `{ relative: 10% }` or `{ absolute: 0.002 }`, as a policy writes it. */
function margin(json: Json): string {
  if (typeof json.raw !== "object") return written(json);
  return json.any("relative", "absolute").maybe(written) ?? written(json);
}

/** A text, or what stands there as JSON: queries may be either. */
function written(json: Json): string {
  return json.isText ? json.text() : typeof json.raw === "number" ? json.text() : JSON.stringify(json.raw);
}
