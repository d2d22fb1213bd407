// GET /api/v1/policies

import type { PolicyName } from "../model/release.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";

export function fetchPolicies(signal?: AbortSignal): Promise<Answer<PolicyName[]>> {
  return call("policies", readPolicies, { signal });
}

export function readPolicies(json: Json): PolicyName[] {
  return json.get("policies").list((one) => ({
    name: one.get("name").text(),
    revision: one.get("revision").numberOrNull(),
  }));
}
