// GET, PUT and DELETE /api/v1/policies/{name}, and POST /api/v1/policies/check

import type { Checked, StoredPolicy } from "../model/policy.ts";
import { lineNamed, lineOf } from "../model/yaml_place.ts";
import { toYaml } from "../model/yaml_write.ts";
import { readAnnouncement } from "./announce.ts";
import { type Answer, type ApiError, call } from "./client.ts";
import type { Json } from "./json.ts";

const path = (name: string) => `policies/${encodeURIComponent(name)}`;

export function fetchPolicy(name: string, signal?: AbortSignal): Promise<Answer<StoredPolicy>> {
  return call(path(name), readPolicy, { signal });
}

export function putPolicy(name: string, text: string): Promise<Answer<StoredPolicy>> {
  return call(path(name), readPolicy, { method: "PUT", text });
}

export function deletePolicy(name: string): Promise<Answer<null>> {
  return call(path(name), () => null, { method: "DELETE" });
}

/** Asks what a text is worth without storing it. Only what the server could not say at all is an error. */
export async function checkPolicy(text: string, signal?: AbortSignal): Promise<Answer<Checked>> {
  const answer = await call(
    "policies/check",
    (json): Checked => ({ kind: "fine", name: json.get("name").textOr("") }),
    {
      method: "POST",
      text,
      signal,
    },
  );
  if (answer.ok || !isFault(answer.error)) return answer;
  return { ok: true, value: faultOf(text, answer.error) };
}

type Refused = Extract<ApiError, { kind: "refused" }>;

/** The text is at fault, not the server or the way to it. */
export function isFault(error: ApiError): error is Refused {
  return error.kind === "refused" && error.status === 400;
}

/** A refusal of a policy, with the line of the text that it speaks of. */
export function faultOf(text: string, error: Refused): Extract<Checked, { kind: "fault" }> {
  const { field, message, value } = error;
  const line = field === "" ? (lineNamed(message) ?? 1) : lineOf(text, field);
  return { kind: "fault", fault: { field, message, value, line } };
}

export function readPolicy(json: Json): StoredPolicy {
  const sent = json.get("text");
  // What a tool sent as JSON is written as YAML, which people read.
  const isYaml = sent.isText && !sent.text().trimStart().startsWith("{");
  return {
    name: json.get("name").text(),
    revision: json.get("revision").numberOrNull(),
    text: isYaml ? sent.text() : toYaml(json.get("policy").raw ?? {}),
    asSent: isYaml,
    alpha: json.get("policy").get("alpha").numberOrNull(),
    announced: json.get("announced").maybe(readAnnouncement),
  };
}
