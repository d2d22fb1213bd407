// POST /api/v1/releases/{id}/replay

import {
  type Engine,
  type KayentaMetric,
  type KayentaResult,
  type PhaseReplay,
  type Replay,
  type ReplayDifference,
  warningOf,
} from "../model/replay.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { check, DECISIONS, decision, reason } from "./verdict_shape.ts";

/** An empty policy is the one that the release pinned. */
export function postReplay(
  id: string,
  asked: { policy: string; engine: Engine },
  signal?: AbortSignal,
): Promise<Answer<Replay>> {
  const { policy, engine } = asked;
  const json = policy === "" ? { engine } : { policy, engine };
  return call(`releases/${encodeURIComponent(id)}/replay`, readReplay, { method: "POST", json, signal });
}

export function readReplay(json: Json): Replay {
  const policy = json.get("policy");
  const same = json.get("same");
  return {
    engine: json.get("engine").word(["greylight", "kayenta", "both"]),
    policy: { name: policy.get("name").textOr(""), revision: policy.get("revision").numberOrNull() },
    pinned: policy.get("pinned").bool(),
    same: same.missing ? null : same.bool(),
    difference: json.get("difference").maybe(difference),
    recorded: {
      decision: decision(json.get("recorded").get("decision")),
      overridden: json.get("recorded").get("overridden").bool(),
    },
    verdict: json.get("verdict").maybe((one) => ({
      decision: decision(one.get("decision")),
      final: one.get("final").bool(),
      reasons: one.get("reasons").list(reason),
    })),
    phases: json.get("phases").list(phase),
  };
}

function difference(json: Json): ReplayDifference {
  const written = (name: string) => {
    const raw = json.get(name).raw;
    return raw === undefined || raw === null ? "" : typeof raw === "string" ? raw : JSON.stringify(raw);
  };
  return {
    look: json.get("look").numberOrNull(),
    phase: json.get("phase").textOr(""),
    field: json.get("field").textOr(""),
    recorded: written("recorded"),
    replayed: written("replayed"),
  };
}

function phase(json: Json): PhaseReplay {
  return {
    name: json.get("name").text(),
    ours: json.get("decision").maybe((one) => ({
      decision: one.word(DECISIONS),
      score: json.get("score").numberOrNull(),
      looks: json.get("looks").numberOrNull() ?? 0,
      reasons: json.get("reasons").list(reason),
      checks: json.get("checks").list(check),
    })),
    kayenta: json.get("kayenta").maybe(kayenta),
    kayentaError: json.get("kayenta_error").textOr(""),
  };
}

function kayenta(json: Json): KayentaResult {
  return {
    decision: decision(json.get("decision")),
    score: json.get("score").numberOrNull(),
    classification: json.get("classification").textOr(""),
    reason: json.get("reason").textOr(""),
    warnings: json.get("warnings").list((one) => warningOf(one.text())),
    metrics: json.get("result").get("results").list(metric),
  };
}

function metric(json: Json): KayentaMetric {
  return {
    name: json.get("name").text(),
    check: json.get("groups").list((one) => one.text())[0] ?? "",
    classification: json.get("classification").textOr(""),
    reason: json.get("classificationReason").textOr(""),
    muted: json.get("muted").bool(),
  };
}
