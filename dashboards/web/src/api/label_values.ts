// GET /api/v1/label/{name}/values

import { type Answer, call } from "./client.ts";
import { enveloped } from "./prometheus.ts";

export async function fetchLabelValues(name: string, match: string, signal?: AbortSignal): Promise<Answer<string[]>> {
  const read = enveloped((data) => data.list((one) => one.text()));
  const path = `label/${encodeURIComponent(name)}/values`;
  return call(path, (body) => read(body).data, { query: { "match[]": match, limit: 20_000 }, signal });
}
