// GET /api/v1/series

import { type Answer, call } from "./client.ts";
import { enveloped, labelSet } from "./prometheus.ts";

export const SERIES_LIMIT = 2000;

export async function fetchSeries(match: string, signal?: AbortSignal): Promise<Answer<Record<string, string>[]>> {
  const read = enveloped((data) => data.list(labelSet));
  return call("series", (body) => read(body).data, { query: { "match[]": match, limit: SERIES_LIMIT }, signal });
}
