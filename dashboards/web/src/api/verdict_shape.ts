// Readers of the parts that releases, verdicts and looks share.

import { parseDuration } from "../model/duration.ts";
import { severityOf } from "../model/log.ts";
import type {
  Check,
  CheckReading,
  Cohort,
  Decision,
  Effect,
  History,
  Override,
  Pattern,
  PatternExample,
  Phase,
  Point,
  PolicyName,
  Quantile,
  Query,
  Reason,
  Side,
  TimeLeft,
  UnitValue,
  Values,
} from "../model/release.ts";
import { unitOf } from "../model/series.ts";
import type { Json } from "./json.ts";

export const DECISIONS = ["go", "no_go", "inconclusive"] as const;
const SIDES = ["canary", "baseline"] as const;

export function decision(json: Json): Decision {
  return json.word(DECISIONS, "inconclusive");
}

/** A duration in its own text, or milliseconds under the same name with `_ms`. */
export function durationOf(parent: Json, name: string): number | null {
  const text = parent.get(name);
  if (text.isText) return parseDuration(text.text());
  const plain = text.numberOrNull();
  return plain ?? parent.get(`${name}_ms`).numberOrNull();
}

export function timeLeft(json: Json): TimeLeft | null {
  if (json.missing) return null;
  if (json.isText) {
    const ms = parseDuration(json.text());
    return { lowMs: ms, highMs: ms };
  }
  return { lowMs: durationOf(json, "low"), highMs: durationOf(json, "high") };
}

export function policyName(json: Json): PolicyName | null {
  if (json.missing) return null;
  if (json.isText) return { name: json.text(), revision: null };
  return { name: json.get("name").textOr(""), revision: json.get("revision").numberOrNull() };
}

export function reason(json: Json): Reason {
  return { code: json.get("code").textOr(""), check: json.get("check").textOr(""), text: json.get("text").textOr("") };
}

export function phase(json: Json): Phase {
  return {
    name: json.get("name").text(),
    decision: json.get("decision").word(["waiting", ...DECISIONS], "waiting"),
    startedAt: json.get("started_at").timeOrNull(),
    decidedAt: json.get("decided_at").timeOrNull(),
    looks: json.get("looks").numberOrNull(),
    atLeastMs: durationOf(json, "at_least"),
    atMostMs: durationOf(json, "at_most"),
    trafficShare: json.get("traffic_share").numberOrNull(),
  };
}

export function override(json: Json): Override {
  return {
    decision: decision(json.get("decision")),
    by: json.get("by").textOr(""),
    why: json.get("why").textOr(""),
    at: json.any("at", "time").timeOrNull(),
  };
}

export function cohort(json: Json): Cohort {
  return {
    name: json.get("name").textOr(""),
    units: json.get("units").numberOrNull(),
    requests: json.get("requests").numberOrNull(),
    silent: json.get("silent").list((one) => one.text()),
  };
}

export function effect(json: Json): Effect {
  return {
    estimate: json.get("estimate").numberOrNull(),
    low: json.get("low").numberOrNull(),
    high: json.get("high").numberOrNull(),
    unit: json.get("unit").textOr(""),
    measure: json.get("measure").textOr(""),
  };
}

function quantile(json: Json, whole: Effect | null): Quantile {
  const own = effect(json);
  const inherited = { unit: own.unit || (whole?.unit ?? ""), measure: own.measure || (whole?.measure ?? "") };
  return {
    q: json.any("q", "at", "quantile").number(),
    effect: { ...own, ...inherited },
    baseline: json.get("baseline").numberOrNull(),
    canary: json.get("canary").numberOrNull(),
    decision: json.get("decision").maybe(decision),
    decidedAt: json.get("decided_at").timeOrNull(),
  };
}

function values(json: Json): Values {
  return {
    baseline: json.get("baseline").numberOrNull(),
    canary: json.get("canary").numberOrNull(),
    unit: json.get("unit").textOr(""),
  };
}

/** What looks and verdicts have in common of a check. `inPhase` names the look's phase where the check does not. */
export function checkReading(json: Json, inPhase: string): CheckReading {
  const whole = json.get("effect").maybe(effect);
  const n = json.get("n");
  return {
    name: json.get("name").text(),
    phase: json.get("phase").textOr(inPhase),
    decision: decision(json.get("decision")),
    values: values(json.get("values")),
    effect: whole,
    quantiles: json.get("effects").list((one) => quantile(one, whole)),
    margin: json.get("margin").numberOrNull(),
    pHarm: json.get("p_harm").numberOrNull(),
    level: json.get("level").numberOrNull(),
    pGo: json.get("p_go").numberOrNull(),
    levelGo: json.get("level_go").numberOrNull(),
    n: {
      baseline: n.get("baseline").numberOrNull(),
      canary: n.get("canary").numberOrNull(),
      effective: n.get("effective").numberOrNull(),
    },
    spent: json.get("spent").numberOrNull(),
    vote: json.get("vote").word(["full", "veto", "none"], "full"),
  };
}

export function check(json: Json): Check {
  const reading = checkReading(json, "");
  const asked = queries(json.get("queries"));
  // Where the judge calls its unit just "value", the queries' names tell it.
  const unit = reading.values.unit === "value" ? unitOf(asked.map((one) => one.text).join(" ")) : reading.values.unit;
  return {
    ...reading,
    values: { ...reading.values, unit },
    kind: json.get("kind").textOr(""),
    harm: json.get("harm").word(["up", "down", "either"], "up"),
    budget: json.get("budget").numberOrNull(),
    method: json.get("method").textOr(""),
    decidedAt: json.get("decided_at").timeOrNull(),
    since: json.get("since").timeOrNull(),
    timeLeft: timeLeft(json.get("time_left")),
    queries: asked,
    units: json.get("units").list(unitValue),
    history: json.get("history").maybe(history),
    patterns: json.get("patterns").list(pattern),
  };
}

function queries(json: Json): Query[] {
  if (json.missing) return [];
  if (json.isList) {
    return json.list((one) =>
      one.isText
        ? { side: null, text: one.text() }
        : { side: one.get("side").maybe((side) => side.word(SIDES)), text: one.get("query").textOr("") },
    );
  }
  return SIDES.flatMap((side): Query[] => {
    const one = json.get(side);
    if (one.missing) return [];
    return one.isList ? one.list((text) => ({ side, text: text.text() })) : [{ side, text: one.text() }];
  });
}

function unitValue(json: Json): UnitValue {
  if (json.isText) return { unit: json.text(), side: null, value: null, n: null };
  return {
    unit: json.any("unit", "name").textOr(""),
    side: json.any("cohort", "side").maybe((side) => side.word(SIDES)),
    value: json.get("value").numberOrNull(),
    n: json.get("n").numberOrNull(),
  };
}

function history(json: Json): History {
  const points = (side: Side) => json.get(side).list((pair): Point => [pair.at(0).number(), pair.at(1).numberOrNull()]);
  return { canary: points("canary"), baseline: points("baseline") };
}

function pattern(json: Json): Pattern {
  const counts = json.get("counts_by_interval");
  const numbers = (list: Json) => list.list((one) => one.numberOrNull() ?? 0);
  return {
    id: json.get("id").textOr(""),
    text: json.get("text").textOr(""),
    severity: severityOf(json.get("severity").maybe((one) => one.text())),
    change: json.get("change").word(["new", "more", "fewer", "gone", "same"], "same"),
    baseline: json.get("baseline").numberOrNull(),
    canary: json.get("canary").numberOrNull(),
    expected: json.get("expected").numberOrNull(),
    low: json.get("low").numberOrNull(),
    high: json.get("high").numberOrNull(),
    firstSeen: json.get("first_seen").timeOrNull(),
    units: json.get("units").numberOrNull(),
    unitsTotal: json.get("units_total").numberOrNull(),
    accepted: json.get("accepted").bool(),
    counts: counts.isList
      ? countPairs(counts)
      : { canary: numbers(counts.get("canary")), baseline: numbers(counts.get("baseline")) },
    examples: json.get("examples").list(example),
  };
}

/** `[baseline, canary]` for each interval, or the canary's count alone. */
function countPairs(list: Json): Pattern["counts"] {
  const pairs = list.list((one): [number, number] =>
    one.isList ? [one.at(0).numberOrNull() ?? 0, one.at(1).numberOrNull() ?? 0] : [0, one.numberOrNull() ?? 0],
  );
  return { baseline: pairs.map(([baseline]) => baseline), canary: pairs.map(([, canary]) => canary) };
}

function example(json: Json): PatternExample {
  if (json.isText) return { time: null, body: json.text(), unit: "" };
  const labels = json.get("labels");
  return {
    time: json.get("time").timeOrNull(),
    body: json.get("body").textOr(""),
    unit: labels.any("instance", "pod", "k8s_pod_name", "host_name").textOr(json.get("unit").textOr("")),
  };
}
