// GET /api/v1/admin/status, DELETE /api/v1/queries/{id}

import type { Agent, Job, Receiver, RunningQuery, Status, StoredTable } from "../model/status.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";

export function fetchStatus(signal?: AbortSignal): Promise<Answer<Status>> {
  return call("admin/status", readStatus, { signal });
}

export function endQuery(id: string): Promise<Answer<null>> {
  return call(`queries/${encodeURIComponent(id)}`, () => null, { method: "DELETE" });
}

export function readStatus(body: Json): Status {
  const readOnly = body.get("read_only");
  return {
    version: body.get("version").textOr(""),
    startedAt: body.get("started_at").timeOrNull(),
    now: body.get("now").timeOrNull() ?? Date.now(),
    tenant: body.get("tenant").textOr(""),
    readOnly: readOnly.missing || readOnly.raw === false ? "" : readOnly.text(),
    refusing: body.get("refusing").maybe((one) => (one.isText ? one.text() : JSON.stringify(one.raw))) ?? "",
    damaged: body.get("missing").list((one) => one).length,
    head: body
      .get("head")
      .maybe((one) => ({ bytes: one.get("bytes").numberOrNull(), series: one.get("series").numberOrNull() })),
    receivers: body.get("receivers").list(receiver),
    tables: body.get("tables").list(table),
    jobs: body.get("jobs").list(job),
    agents: body.get("agents").list(agent),
    queries: body.any("queries", "running_queries").list(query),
    memory: body
      .get("memory")
      .maybe((one) => ({ used: one.get("used_bytes").numberOrNull(), limit: one.get("limit_bytes").numberOrNull() })),
    disk: body.get("disk").maybe((one) => ({
      used: one.get("used_bytes").numberOrNull(),
      total: one.get("total_bytes").numberOrNull(),
      free: one.get("free_bytes").numberOrNull(),
    })),
  };
}

function receiver(json: Json): Receiver {
  return {
    name: json.get("name").text(),
    state: json.get("state").textOr(""),
    accepted: json.get("accepted").numberOrNull(),
    refused: json.get("refused").numberOrNull(),
    unit: json.get("unit").textOr(""),
    refusals: json
      .get("refusals")
      .list((one) => ({ reason: one.get("reason").textOr(""), count: one.get("count").numberOrNull() ?? 0 })),
    lastAt: json.get("last_at").timeOrNull(),
    durableP99Ms: json.get("durable_p99_ms").numberOrNull(),
  };
}

function table(json: Json): StoredTable {
  return {
    name: json.get("name").text(),
    bytes: json.get("bytes").numberOrNull(),
    rows: json.get("rows").numberOrNull(),
    segments: json.get("segments").numberOrNull(),
    oldest: json.get("oldest").timeOrNull(),
    newest: json.get("newest").timeOrNull(),
    retention: json.get("retention").textOr(""),
  };
}

function job(json: Json): Job {
  return {
    name: json.get("name").text(),
    state: json.get("state").textOr(""),
    text: json.get("text").textOr(""),
    lastAt: json.get("last_at").timeOrNull(),
    error: json.get("error").textOr(""),
  };
}

function agent(json: Json): Agent {
  return {
    host: json.any("host", "name").textOr(""),
    state: json.get("state").textOr(""),
    role: json.get("role").textOr(""),
    version: json.get("version").textOr(""),
    lastSeen: json.get("last_seen").timeOrNull(),
    lagMs: json.get("lag_ms").numberOrNull(),
    queueBytes: json.get("queue_bytes").numberOrNull(),
    queueLimitBytes: json.get("queue_limit_bytes").numberOrNull(),
    series: json.get("series").numberOrNull(),
    clockMs: json.get("clock_ms").numberOrNull(),
  };
}

function query(json: Json): RunningQuery {
  return {
    id: json.get("id").text(),
    query: json.get("query").textOr(""),
    kind: json.get("kind").textOr(""),
    by: json.get("by").textOr(""),
    elapsedMs: json.get("elapsed_ms").numberOrNull(),
    limitMs: json.get("limit_ms").numberOrNull(),
    memoryBytes: json.get("memory_bytes").numberOrNull(),
  };
}
