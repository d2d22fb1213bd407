// GET /api/v1/logs/histogram

import { parseDuration } from "../model/duration.ts";
import type { Bucket } from "../model/log.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import type { LogQuery } from "./logs_search.ts";

export interface Histogram {
  readonly stepMs: number | null;
  readonly buckets: readonly Bucket[];
  readonly total: number;
  readonly partial: boolean;
}

export function fetchHistogram(
  ask: LogQuery & { step: string; by?: string | undefined },
  signal?: AbortSignal,
): Promise<Answer<Histogram>> {
  return call("logs/histogram", readHistogram, { query: { ...ask }, signal });
}

export function readHistogram(body: Json): Histogram {
  const step = body.get("step");
  const buckets = body.get("buckets").list((one): Bucket => {
    const by = Object.fromEntries(one.any("by", "values").entries((n) => n.number()));
    const sum = Object.values(by).reduce((a, b) => a + b, 0);
    return {
      time: one.any("time", "t_ms", "start").timeOrNull() ?? 0,
      count: one.any("count", "total").numberOrNull() ?? sum,
      by,
    };
  });
  return {
    stepMs: step.isText ? parseDuration(step.text()) : step.numberOrNull(),
    buckets,
    total: body.get("total").numberOrNull() ?? buckets.reduce((sum, one) => sum + one.count, 0),
    partial: body.get("partial").bool(),
  };
}
