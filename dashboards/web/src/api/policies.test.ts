import { describe, expect, test } from "vitest";
import { compatibilityOf, PACKS } from "../../tests/fixtures/evidence.mjs";
import { announcementOf } from "../../tests/fixtures/policies.mjs";
import { inMargins, reachOf, tally } from "../model/announce.ts";
import { effectsOf, holds, powerGrid } from "../model/backtest.ts";
import { oneSided, sortValues } from "../model/compatibility.ts";
import { warningOf } from "../model/replay.ts";
import { readAnnouncement } from "./announce.ts";
import { readBacktest } from "./backtests.ts";
import { readCompatibility } from "./compatibility.ts";
import { Json } from "./json.ts";
import { faultOf, readPolicy } from "./policy.ts";
import { readRelease } from "./release.ts";

describe("a policy", () => {
  test("is text where the server keeps it, else written from the document", () => {
    const stored = { name: "a", revision: 3, policy: { phases: [], name: "a" } };
    expect(readPolicy(new Json(stored))).toEqual({
      name: "a",
      revision: 3,
      text: "name: a\nphases: []\n",
      asSent: false,
      alpha: null,
      announced: null,
    });
    expect(readPolicy(new Json({ ...stored, text: "name: a # mine\n" }))).toMatchObject({
      text: "name: a # mine\n",
      asSent: true,
    });
  });

  test("a refusal is placed by its field, or by what its message names", () => {
    const refusal = { kind: "refused", status: 400, code: "invalid", value: "", limit: "" } as const;
    const text = "name: a\nphases:\n  - name: b\n";
    expect(faultOf(text, { ...refusal, field: "phases[0].name", message: "no" }).fault.line).toBe(3);
    expect(faultOf(text, { ...refusal, field: "", message: "bad at line 2 column 1" }).fault.line).toBe(2);
    expect(faultOf(text, { ...refusal, field: "", message: "bad" }).fault.line).toBe(1);
  });
});

describe("what can be shown", () => {
  const { phases } = readAnnouncement(new Json(announcementOf("cart-http", 13)));
  const [functional, performance] = phases;

  test("is read with durations in milliseconds", () => {
    expect(functional?.atMostMs).toBe(3_600_000);
    expect(functional?.checks[0]).toMatchObject({
      goInMs: 26 * 60_000,
    });
    expect(performance?.checks[2]?.values.map((one) => one.goInMs)).toEqual([101 * 60_000, null]);
    expect(performance?.checks[0]?.newPods).toMatchObject({ births: 34, settledMs: 720_000 });
  });

  test("a shift is held against a margin of its own measure only", () => {
    expect(performance?.checks.map(reachOf)).toEqual(["beyond", "unknown", "within"]);
    expect(functional?.checks.map(reachOf)).toEqual(["within", "no_margin"]);
    expect(inMargins(performance?.checks[0] ?? { shift: null, margin: null })).toBeCloseTo(1.7);
    const shift = { value: 1, measure: "relative", unit: "" };
    expect(inMargins({ shift, margin: { ...shift, measure: "difference" } })).toBeNull();
    expect(inMargins({ shift, margin: { ...shift, value: 0 } })).toBeNull();
  });

  test("only full votes are counted", () => {
    expect(tally(performance?.checks ?? [])).toEqual({ full: 3, within: 1, unknown: 1 });
    expect(tally(functional?.checks ?? [])).toEqual({ full: 1, within: 1, unknown: 0 });
  });

  test("absent fields are no error", () => {
    const bare = readAnnouncement(new Json({ phases: [{ name: "p", checks: [{ name: "c" }] }] }));
    expect(bare.phases[0]?.checks[0]).toMatchObject({
      shift: null,
      margin: null,
      goInMs: null,
      helps: [],
      values: [],
    });
  });
});

describe("a backtest", () => {
  test("is read while it runs and when it is done", () => {
    const running = { id: "b", state: "running", progress: { done: 3, of: 200, work: "judging" } };
    expect(readBacktest(new Json(running))).toMatchObject({ progress: { done: 3 }, result: null, policy: "" });
    const share = { share: null, low: 0, high: 1, count: 0 };
    const done = readBacktest(
      new Json({
        id: "b",
        state: "done",
        policy: { name: "x", revision: 2 },
        runs: 0,
        refused: share,
        restless: ["c"],
      }),
    );
    expect(done.result).toMatchObject({ refused: { share: null }, go: null, restless: [{ check: "c", share: null }] });
    expect(done.policy).toBe("x");
  });

  test("speaks against alpha only where the whole interval lies above it", () => {
    const refused = { share: 0.03, low: 0.011, high: 0.06 };
    expect(holds({ refused, alpha: 0.01 })).toBe(false);
    expect(holds({ refused, alpha: 0.011 })).toBe(true);
    expect(holds({ refused, alpha: null })).toBeNull();
  });

  test("power is a grid with holes", () => {
    const one = (check: string, effect: string) => ({ check, effect, found: 1, low: 1, high: 1, medianMs: null });
    const grid = powerGrid([one("a", "5%"), one("a", "10%"), one("b", "10%")]);
    expect(grid.effects).toEqual(["5%", "10%"]);
    expect(grid.rows.map((row) => row.cells.map((cell) => cell?.effect ?? null))).toEqual([
      ["5%", "10%"],
      [null, "10%"],
    ]);
  });

  test("effects are split as people type them", () => {
    expect(effectsOf("5%, 10 %，20%;\n")).toEqual(["5%", "10%", "20%"]);
  });
});

describe("the evidence beside a verdict", () => {
  test("values that only one side has come first", () => {
    const compared = readCompatibility(
      new Json(compatibilityOf({ id: "r", baseline: { name: "1" }, canary: { name: "2" } })),
    );
    const [check] = compared.checks;
    expect(
      sortValues(check?.values ?? [])
        .slice(0, 5)
        .map((one) => one.value),
    ).toEqual(["/v2/pay", "/v1/export", "/login", "/cart", "/small/0"]);
    expect(oneSided(compared)).toEqual({ canary: 1, baseline: 1 });
    expect(compared.patterns.map((one) => [one.change, one.severity])).toEqual([
      ["new", "warn"],
      ["gone", "info"],
    ]);
  });

  test("packs are read whatever form their queries and margins have", () => {
    const { packs } = readRelease(new Json({ id: "r", packs: PACKS }));
    expect(packs?.taken.map((one) => [one.margin, one.reads.length])).toEqual([
      ["0.002", 2],
      ["50%", 1],
    ]);
    expect(packs?.left[0]?.why).toContain("grpc_server_handled_total");
    expect(readRelease(new Json({ id: "r", packs: null })).packs).toBeNull();
  });

  test("Kayenta's warnings are known by their words", () => {
    expect(warningOf("a result rests on fewer than 50 baseline values")).toMatchObject({
      kind: "few_values",
      least: "50",
    });
    expect(warningOf("config.x: is no field here and means nothing")).toMatchObject({
      kind: "unknown_field",
      field: "config.x",
    });
    expect(warningOf('a.b: "up" is none of "increase", "decrease"; the default is taken')).toMatchObject({
      kind: "unknown_word",
      field: "a.b",
      value: '"up"',
      known: '"increase", "decrease"',
    });
    expect(warningOf("something new")).toEqual({ kind: "other", text: "something new" });
  });
});
