// GET /api/v1/logs/context

import type { LogRecord } from "../model/log.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { readRecord } from "./logs_search.ts";

export interface Context {
  /** In the order of time. */
  readonly before: readonly LogRecord[];
  readonly after: readonly LogRecord[];
}

export function fetchContext(id: string, each: number, signal?: AbortSignal): Promise<Answer<Context>> {
  return call("logs/context", (body) => readContext(body, id), { query: { id, before: each, after: each }, signal });
}

export function readContext(body: Json, id: string): Context {
  const ordered = (list: LogRecord[]) => [...list].sort((a, b) => a.time - b.time);
  const whole = body.get("records");
  if (!whole.missing) {
    const records = ordered(whole.list(readRecord));
    const at = records.findIndex((one) => one.id === id);
    return { before: records.slice(0, Math.max(0, at)), after: records.slice(at + 1) };
  }
  return { before: ordered(body.get("before").list(readRecord)), after: ordered(body.get("after").list(readRecord)) };
}
