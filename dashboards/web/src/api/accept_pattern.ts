// POST /api/v1/patterns/accept

import { type Answer, call } from "./client.ts";

export function acceptPattern(body: {
  service: string;
  pattern: string;
  by: string;
  why: string;
}): Promise<Answer<null>> {
  return call("patterns/accept", () => null, { method: "POST", json: body });
}
