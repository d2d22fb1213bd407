// GET and POST /api/v1/backtests, GET and DELETE /api/v1/backtests/{id}

import {
  BACKTEST_STATES,
  type Backtest,
  type BacktestCheck,
  type BacktestProgress,
  type BacktestRequest,
  type BacktestResult,
  type Margins,
  type Power,
} from "../model/backtest.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";
import { durationOf } from "./verdict_shape.ts";

export function fetchBacktests(signal?: AbortSignal): Promise<Answer<Backtest[]>> {
  return call("backtests", (json) => (json.isList ? json : json.get("backtests")).list(readBacktest), { signal });
}

export function fetchBacktest(id: string, signal?: AbortSignal): Promise<Answer<Backtest>> {
  return call(`backtests/${encodeURIComponent(id)}`, readBacktest, { signal });
}

/** Answers with the id of what was started. */
export function startBacktest(policy: string, asked: BacktestRequest): Promise<Answer<string>> {
  const json = {
    policy,
    match: asked.match,
    range: [asked.start, asked.end],
    split_by: asked.splitBy,
    canary_hosts: asked.canaryHosts,
    runs: asked.runs,
    seed: asked.seed,
    effects: asked.effects,
  };
  return call("backtests", (one) => one.get("id").text(), { method: "POST", json });
}

export function endBacktest(id: string): Promise<Answer<null>> {
  return call(`backtests/${encodeURIComponent(id)}`, () => null, { method: "DELETE" });
}

export function readBacktest(json: Json): Backtest {
  const request = json.get("request");
  const policy = json.get("policy");
  const range = request.get("range");
  const error = json.get("error");
  return {
    id: json.get("id").text(),
    state: json.get("state").word(BACKTEST_STATES, "running"),
    policy: policy.missing ? "" : policy.isText ? policy.text() : policy.get("name").textOr(""),
    match: request.get("match").textOr(""),
    revision: policy.missing || policy.isText ? null : policy.get("revision").numberOrNull(),
    startedAt: json.get("created_at").timeOrNull(),
    range: range.isList ? [range.at(0).timeOrNull(), range.at(1).timeOrNull()] : [null, null],
    progress: json.get("progress").maybe(progress),
    error: error.missing ? "" : error.isText ? error.text() : error.get("message").textOr(""),
    // The report stands beside the state, once it is there.
    result: json.get("refused").missing ? null : result(json),
  };
}

function progress(json: Json): BacktestProgress {
  return {
    done: json.get("done").numberOrNull() ?? 0,
    of: json.get("of").numberOrNull() ?? 0,
    work: json.get("work").textOr(""),
  };
}

function result(json: Json): BacktestResult {
  const refused = json.get("refused");
  return {
    runs: json.get("runs").numberOrNull() ?? 0,
    alpha: json.get("alpha").numberOrNull(),
    refused: {
      share: refused.get("share").numberOrNull(),
      low: refused.get("low").numberOrNull() ?? 0,
      high: refused.get("high").numberOrNull() ?? 1,
    },
    go: json
      .get("go")
      .maybe((one) => ({ share: one.get("share").numberOrNull(), medianMs: durationOf(one, "median") })),
    power: json.get("power").list(power),
    restless: json
      .get("restless")
      .list((one) =>
        one.isText
          ? { check: one.text(), share: null }
          : { check: one.get("check").textOr(""), share: one.get("share").numberOrNull() },
      ),
    checks: json.get("checks").list(check),
    untested: json
      .get("untested")
      .list((one) => ({ check: one.get("check").textOr(""), why: one.get("why").textOr("") })),
    placebos: json.get("placebos").maybe((one) => ({
      kind: one.get("kind").textOr(""),
      units: one.get("units").numberOrNull(),
      canaryHosts: one.get("canary_hosts").numberOrNull(),
      disjoint: one.get("disjoint").numberOrNull(),
    })),
  };
}

function power(json: Json): Power {
  return {
    check: json.get("check").text(),
    effect: json.get("effect").text(),
    found: json.get("found").numberOrNull(),
    low: json.get("low").numberOrNull(),
    high: json.get("high").numberOrNull(),
    medianMs: durationOf(json, "median"),
  };
}

function check(json: Json): BacktestCheck {
  return {
    name: json.get("name").text(),
    vote: json.get("vote").word(["full", "veto", "none"], "full"),
    alarms: json.get("alarms").numberOrNull(),
    go: json.get("go").numberOrNull(),
    goMedianMs: durationOf(json, "go_median"),
    slowest: json.get("slowest").numberOrNull(),
    without: json
      .get("without")
      .maybe((one) => ({ go: one.get("go").numberOrNull(), medianMs: durationOf(one, "median") })),
    unit: json.get("unit").textOr(""),
    margin: json.get("margin").maybe(margins),
    suggested: json.get("suggested_margin").maybe(margins),
  };
}

function margins(json: Json): Margins {
  return {
    relative: json.get("relative").numberOrNull(),
    absolute: json.get("absolute").numberOrNull(),
    inNoise: json.get("in_noise").numberOrNull(),
  };
}
