// POST /api/v1/query

import type { Sample } from "../model/series.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { type Enveloped, enveloped, labelSet, promValue } from "./prometheus.ts";

/** What an instant query may give. Native histograms and range vectors are counted, not drawn. */
export type Instant = { kind: "vector"; samples: readonly Sample[] } | { kind: "other"; type: string; series: number };

export function queryInstant(query: string, timeMs: number, signal?: AbortSignal): Promise<Answer<Enveloped<Instant>>> {
  return call("query", enveloped(readInstant), { form: { query, time: timeMs / 1000 }, signal });
}

export function readInstant(data: Json): Instant {
  const type = data.get("resultType").text();
  const result = data.get("result");
  const sample = (labels: Record<string, string>, pair: Json): Sample => ({
    labels,
    t: Math.round(pair.at(0).number() * 1000),
    value: promValue(pair.at(1)),
  });
  if (type === "scalar") return { kind: "vector", samples: [sample({}, result)] };
  if (type !== "vector") return { kind: "other", type, series: Array.isArray(result.raw) ? result.raw.length : 1 };
  const numeric = result.list((one) => one).filter((one) => !one.get("value").missing);
  return { kind: "vector", samples: numeric.map((one) => sample(labelSet(one.get("metric")), one.get("value"))) };
}
