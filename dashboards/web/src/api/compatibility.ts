// GET /api/v1/releases/{id}/compatibility

import type { ComparedCheck, ComparedPattern, ComparedValue, Compatibility, Handled } from "../model/compatibility.ts";
import { severityOf } from "../model/log.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { DECISIONS, decision, effect } from "./verdict_shape.ts";

export function fetchCompatibility(id: string, signal?: AbortSignal): Promise<Answer<Compatibility>> {
  return call(`releases/${encodeURIComponent(id)}/compatibility`, readCompatibility, { signal });
}

export function readCompatibility(json: Json): Compatibility {
  return {
    checks: json.get("checks").list(check),
    patterns: json.get("patterns").list(pattern),
    patternsNotListed: json.get("patterns_not_listed").numberOrNull() ?? 0,
  };
}

function check(json: Json): ComparedCheck {
  return {
    phase: json.get("phase").textOr(""),
    check: json.get("check").text(),
    by: json.get("by").textOr(""),
    harm: json.get("harm").word(["up", "down", "either"], "up"),
    vote: json.get("vote").word(["full", "veto", "none"], "full"),
    margin: json.get("margin").numberOrNull(),
    decision: decision(json.get("decision")),
    values: json.get("values").list(value),
    notListed: json.get("values_not_listed").numberOrNull() ?? 0,
  };
}

function value(json: Json): ComparedValue {
  return {
    value: json.get("value").textOr(""),
    onlyOn: json.get("only_on").maybe((one) => one.word(["canary", "baseline"])),
    tested: json.get("is_tested").bool(),
    decision: json.get("decision").maybe((one) => one.word(DECISIONS)),
    effect: json.get("effect").maybe(effect),
    pHarm: json.get("p_harm").numberOrNull(),
    baseline: handled(json.get("baseline")),
    canary: handled(json.get("canary")),
  };
}

function handled(json: Json): Handled {
  return {
    events: json.get("events").numberOrNull(),
    trials: json.get("trials").numberOrNull(),
    share: json.get("share").numberOrNull(),
  };
}

function pattern(json: Json): ComparedPattern {
  return {
    phase: json.get("phase").textOr(""),
    check: json.get("check").textOr(""),
    id: json.get("id").textOr(""),
    text: json.get("text").textOr(""),
    severity: severityOf(json.get("severity").maybe((one) => one.text())),
    change: json.get("change").textOr(""),
    baseline: json.get("baseline").numberOrNull(),
    canary: json.get("canary").numberOrNull(),
    expected: json.get("expected").numberOrNull(),
  };
}
