// GET /api/v1/releases/{id}/looks

import type { Look } from "../model/release.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { checkReading, decision } from "./verdict_shape.ts";

export function fetchLooks(id: string, signal?: AbortSignal): Promise<Answer<Look[]>> {
  return call(`releases/${encodeURIComponent(id)}/looks`, readLooks, { signal });
}

export function readLooks(body: Json): Look[] {
  const numbered = new Map<string, number>();
  const list = body.isList ? body : body.get("looks");
  return list.list((json) => {
    const phase = json.get("phase").textOr("");
    const turn = (numbered.get(phase) ?? 0) + 1;
    numbered.set(phase, turn);
    return {
      at: json.any("at", "at_ms").timeOrNull() ?? 0,
      phase,
      number: json.any("look", "number").numberOrNull() ?? turn,
      decision: decision(json.get("decision")),
      checks: json.get("checks").list((one) => checkReading(one, phase)),
    };
  });
}
