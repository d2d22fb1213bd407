// GET /api/v1/metadata

import type { Metric } from "../model/series.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { enveloped } from "./prometheus.ts";

export async function fetchMetadata(signal?: AbortSignal): Promise<Answer<ReadonlyMap<string, Metric>>> {
  const read = enveloped(readMetadata);
  return call("metadata", (body) => read(body).data, { query: { limit: 20_000, limit_per_metric: 1 }, signal });
}

export function readMetadata(data: Json): ReadonlyMap<string, Metric> {
  const first = (list: Json): Metric | null =>
    list.list((one) => ({
      type: one.get("type").textOr(""),
      unit: one.get("unit").textOr(""),
      help: one.get("help").textOr(""),
    }))[0] ?? null;
  return new Map(data.entries(first).filter((pair): pair is [string, Metric] => pair[1] !== null));
}
