// GET /api/v1/logs/patterns

import { type LogPattern, severityOf } from "../model/log.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { type LogQuery, readRecord } from "./logs_search.ts";

export interface Patterns {
  readonly patterns: readonly LogPattern[];
  readonly partial: boolean;
}

export function fetchPatterns(ask: LogQuery & { limit: number }, signal?: AbortSignal): Promise<Answer<Patterns>> {
  return call("logs/patterns", readPatterns, { query: { ...ask }, signal });
}

export function readPatterns(body: Json): Patterns {
  return { patterns: body.get("patterns").list(pattern), partial: body.get("partial").bool() };
}

function pattern(json: Json): LogPattern {
  const example = json.get("example");
  return {
    id: json.get("id").textOr(""),
    text: json.get("text").textOr(""),
    severity: severityOf(json.get("severity").maybe((one) => one.text())),
    count: json.get("count").numberOrNull() ?? 0,
    example: example.missing ? "" : example.isText ? example.text() : readRecord(example).body,
  };
}
