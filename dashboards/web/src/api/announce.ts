// POST /api/v1/policies/{name}/announce and GET /api/v1/releases/{id}/announce

import type { Amount, AnnouncedCheck, AnnouncedPhase, Announcement, Help, NewPods } from "../model/announce.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { durationOf } from "./verdict_shape.ts";

/** A release that exists, or two versions of a service. */
export type AnnounceOf =
  | { readonly kind: "release"; readonly id: string }
  | { readonly kind: "versions"; readonly service: string; readonly baseline: string; readonly canary: string };

export function postAnnounce(policy: string, of: AnnounceOf, signal?: AbortSignal): Promise<Answer<Announcement>> {
  const release =
    of.kind === "release"
      ? of.id
      : { service: of.service, baseline: { name: of.baseline }, canary: { name: of.canary } };
  return call(`policies/${encodeURIComponent(policy)}/announce`, readAnnouncement, {
    method: "POST",
    json: { release },
    signal,
  });
}

export function fetchAnnounce(release: string, signal?: AbortSignal): Promise<Answer<Announcement>> {
  return call(`releases/${encodeURIComponent(release)}/announce`, readAnnouncement, { signal });
}

export function readAnnouncement(json: Json): Announcement {
  const policy = json.get("policy");
  return {
    policy: { name: policy.get("name").textOr(""), revision: policy.get("revision").numberOrNull() },
    phases: json.get("phases").list(phase),
  };
}

function phase(json: Json): AnnouncedPhase {
  return {
    name: json.get("name").text(),
    atMostMs: durationOf(json, "at_most"),
    text: json.get("text").textOr(""),
    checks: json.get("checks").list(check),
  };
}

function check(json: Json): AnnouncedCheck {
  return {
    name: json.get("name").text(),
    kind: json.get("kind").textOr(""),
    vote: json.get("vote").word(["full", "veto", "none"], "full"),
    harm: json.get("harm").word(["up", "down", "either"], "up"),
    method: json.get("method").textOr(""),
    shift: json.get("shift").maybe(amount),
    margin: json.get("margin").maybe(amount),
    goInMs: durationOf(json, "go_in"),
    newPods: json.get("new_pods").maybe(newPods),
    values: json.get("values").list((one) => ({
      value: one.get("value").textOr(""),
      shift: one.get("shift").maybe(amount),
      goInMs: durationOf(one, "go_in"),
    })),
    helps: json.get("helps").list(help),
    reason: json.get("reason").maybe((one) => ({ code: one.get("code").textOr(""), text: one.get("text").textOr("") })),
    text: json.get("text").textOr(""),
  };
}

function amount(json: Json): Amount {
  return {
    value: json.get("value").number(),
    measure: json.get("measure").textOr(""),
    unit: json.get("unit").textOr(""),
  };
}

function newPods(json: Json): NewPods {
  const number = (name: string) => json.get(name).numberOrNull();
  return {
    comparedWith: json.get("compared_with").textOr(""),
    canary: number("canary"),
    old: number("old"),
    fresh: number("fresh"),
    births: number("births"),
    events: number("events"),
    settledMs: number("settled_ms"),
  };
}

function help(json: Json): Help {
  return {
    what: json.get("what").textOr(""),
    text: json.get("text").textOr(""),
    shift: json.get("shift").maybe(amount),
  };
}
