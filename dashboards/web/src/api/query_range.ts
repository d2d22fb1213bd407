// POST /api/v1/query_range

import type { Point } from "../model/release.ts";
import type { Series } from "../model/series.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { type Enveloped, enveloped, labelSet, promValue } from "./prometheus.ts";

export interface RangeQuery {
  readonly query: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly stepMs: number;
}

/** By POST, because a query may be longer than a URL may be. */
export function queryRange(ask: RangeQuery, signal?: AbortSignal): Promise<Answer<Enveloped<Series[]>>> {
  const form = { query: ask.query, start: ask.startMs / 1000, end: ask.endMs / 1000, step: ask.stepMs / 1000 };
  return call("query_range", enveloped(readMatrix), { form, signal });
}

export function readMatrix(data: Json): Series[] {
  return data.get("result").list((one) => ({
    labels: labelSet(one.get("metric")),
    points: one.get("values").list((pair): Point => [Math.round(pair.at(0).number() * 1000), promValue(pair.at(1))]),
  }));
}
