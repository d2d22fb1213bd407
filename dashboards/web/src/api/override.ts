// POST /api/v1/releases/{id}/override

import type { Decision } from "../model/release.ts";
import { type Answer, call } from "./client.ts";

export function postOverride(id: string, body: { decision: Decision; by: string; why: string }): Promise<Answer<null>> {
  return call(`releases/${encodeURIComponent(id)}/override`, () => null, { method: "POST", json: body });
}
