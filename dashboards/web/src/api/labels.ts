// GET /api/v1/labels

import { type Answer, call } from "./client.ts";
import { enveloped } from "./prometheus.ts";

export async function fetchLabels(match: string, signal?: AbortSignal): Promise<Answer<string[]>> {
  const read = enveloped((data) => data.list((one) => one.text()));
  return call("labels", (body) => read(body).data, { query: { "match[]": match, limit: 2000 }, signal });
}
