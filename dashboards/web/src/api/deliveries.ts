// GET /api/v1/releases/{id}/deliveries

import type { Attempt, Delivery } from "../model/release.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { decision } from "./verdict_shape.ts";

export function fetchDeliveries(id: string, signal?: AbortSignal): Promise<Answer<Delivery[]>> {
  return call(`releases/${encodeURIComponent(id)}/deliveries`, readDeliveries, { signal });
}

export function readDeliveries(body: Json): Delivery[] {
  return (body.isList ? body : body.any("deliveries", "items")).list((json) => ({
    id: json.get("id").text(),
    type: json.get("type").textOr(""),
    revision: json.get("revision").numberOrNull(),
    decision: json.get("decision").maybe(decision),
    final: json.get("final").bool(),
    phase: json.get("phase").textOr(""),
    to: json.any("to", "url", "name").textOr(""),
    state: json.get("state").textOr(""),
    nextAt: json.get("next_at").timeOrNull(),
    attempts: json.get("attempts").list(attempt),
    nAttempts: json.get("n_attempts").numberOrNull() ?? json.get("attempts").list((one) => one).length,
    body: json.get("body").raw ?? null,
  }));
}

function attempt(json: Json): Attempt {
  const status = json.get("status").numberOrNull();
  return {
    at: json.any("at", "time").timeOrNull(),
    status,
    tookMs: json.get("took_ms").numberOrNull(),
    error: json.get("error").textOr(""),
    taken: status === null ? json.get("error").missing : status >= 200 && status < 300,
  };
}
