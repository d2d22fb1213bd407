// GET /api/v1/logs/search

import { type LogRecord, severityOf } from "../model/log.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";

export interface LogQuery {
  readonly order?: "newest" | "oldest" | undefined;
  readonly query: string;
  readonly match?: string | undefined;
  readonly start: string;
  readonly end: string;
}

export interface LogsPage {
  readonly records: readonly LogRecord[];
  readonly cursor: string | null;
  readonly partial: boolean;
  readonly warnings: readonly string[];
  readonly stats: {
    readonly elapsedMs: number | null;
    readonly scanned: number | null;
    readonly bytes: number | null;
    readonly segments: number | null;
  };
}

export function searchLogs(
  ask: LogQuery & { limit: number; cursor?: string | undefined },
  signal?: AbortSignal,
): Promise<Answer<LogsPage>> {
  return call("logs/search", readLogsPage, { query: { ...ask }, signal });
}

export function readLogsPage(body: Json): LogsPage {
  const stats = body.get("stats");
  return {
    records: body.get("records").list(readRecord),
    cursor: body.get("cursor").maybe((one) => one.text()) || null,
    partial: body.get("partial").bool(),
    warnings: body.get("warnings").list((one) => one.text()),
    stats: {
      elapsedMs: stats.get("elapsed_ms").numberOrNull(),
      scanned: stats.any("scanned", "rows_scanned", "records_scanned").numberOrNull(),
      bytes: stats.any("bytes", "bytes_read").numberOrNull(),
      segments: stats.any("segments", "segments_read").numberOrNull(),
    },
  };
}

export function readRecord(json: Json): LogRecord {
  const severity = json.get("severity");
  return {
    id: json.get("id").textOr(""),
    time: json.get("time").timeOrNull() ?? 0,
    timeText: json.get("time").textOr(""),
    severity: severityOf(typeof severity.raw === "number" ? severity.number() : severity.maybe((one) => one.text())),
    body: json.get("body").maybe(written) ?? "",
    labels: Object.fromEntries(json.get("labels").entries(written)),
    attributes: Object.fromEntries(json.get("attributes").entries(written)),
    traceId: json.get("trace_id").textOr(""),
    spanId: json.get("span_id").textOr(""),
    pattern: readPatternText(json.get("pattern")),
  };
}

function readPatternText(json: Json): string {
  if (json.missing) return "";
  return typeof json.raw === "object" ? json.get("text").textOr("") : json.text();
}

/** Attributes may be structured; those are shown as the JSON they are. */
function written(json: Json): string {
  return json.missing ? "" : typeof json.raw === "object" ? JSON.stringify(json.raw) : json.text();
}
