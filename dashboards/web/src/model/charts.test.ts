import { describe, expect, test } from "vitest";
import { chance } from "../../tests/fixtures/data.mjs";
import { crossing, decades, evidenceAxis, evidenceLine, evidenceOf, looksAllowed } from "./evidence.ts";
import { forestRow, MARGIN, nearness, place, TEN, THREE, ZERO } from "./forest.ts";
import type { CheckReading, Effect, Look } from "./release.ts";
import { bandPath, extent, linear, linePath, ticks, timeTicks } from "./scale.ts";
import { fold } from "./sides.ts";

const effect = (estimate: number | null, low: number | null, high: number | null): Effect => ({
  estimate,
  low,
  high,
  unit: "ratio",
  measure: "difference",
});

describe("the forest axis", () => {
  test("zero, margin, three and ten margins have their places", () => {
    expect(place(0)).toBeCloseTo(ZERO);
    expect(place(1)).toBeCloseTo(MARGIN);
    expect(place(3)).toBeCloseTo(THREE);
    expect(place(10)).toBeCloseTo(TEN);
  });

  test("it never turns back", () => {
    const random = chance(3);
    for (let turn = 0; turn < 1000; turn += 1) {
      const a = random.normal() * 5;
      const b = a + random.next();
      expect(place(b)).toBeGreaterThanOrEqual(place(a));
    }
  });

  test("harm points right whatever its sign", () => {
    const up = forestRow(effect(0.05, 0.02, 0.08), 0.1, "up");
    const down = forestRow(effect(-0.05, -0.08, -0.02), 0.1, "down");
    expect(down).toEqual(up);
    expect(up?.point).toBeGreaterThan(ZERO);
  });

  test("an end past the edge is an arrow at the edge", () => {
    expect(forestRow(effect(0, null, 100), 0.1, "up")).toMatchObject({
      low: { x: 0, arrow: true },
      high: { x: 100, arrow: true },
    });
  });

  test("without a margin a row has a scale of its own", () => {
    expect(forestRow(effect(4, 1.7, 8.8), null, "up")?.scaled).toBe(false);
    expect(forestRow(effect(null, null, null), 0.1, "up")).toBeNull();
  });

  test("nearness orders by the harmful end", () => {
    expect(nearness(effect(0, -1, 0.09), 0.1, "up")).toBeGreaterThan(nearness(effect(0, -1, 0.01), 0.1, "up"));
    expect(nearness(effect(0, -0.09, 1), 0.1, "down")).toBeGreaterThan(nearness(effect(0, -0.01, 1), 0.1, "down"));
  });
});

describe("evidence", () => {
  const reading = (over: Partial<CheckReading>): CheckReading => ({
    name: "error share",
    phase: "tenth",
    decision: "inconclusive",
    values: { baseline: 1, canary: 1, unit: "" },
    effect: null,
    quantiles: [],
    margin: 0.1,
    pHarm: 0.5,
    level: 0.001,
    pGo: 0.2,
    levelGo: 0.01,
    n: { baseline: 1, canary: 1, effective: 1 },
    spent: 0,
    vote: "full",
    ...over,
  });
  const look = (number: number, over: Partial<CheckReading>, phase = "tenth"): Look => ({
    at: number * 1000,
    phase,
    number,
    decision: "inconclusive",
    checks: [reading({ ...over, phase })],
  });

  test("only the looks of the check's own phase are taken, in order", () => {
    const found = evidenceOf([look(2, {}), look(1, {}), look(1, {}, "half")], "tenth", "error share");
    expect(found.map((one) => one.number)).toEqual([1, 2]);
  });

  test("the first look that decides is the crossing", () => {
    const looks = evidenceOf(
      [look(1, {}), look(2, { decision: "go" }), look(3, { decision: "go" })],
      "tenth",
      "error share",
    );
    expect(crossing(looks)?.number).toBe(2);
  });

  test("a p of zero is as far as the axis goes, and p above one lies at one", () => {
    expect([
      decades(0, 16),
      decades(1, 16),
      decades(1.2, 16),
      decades(0.001, 16),
      decades(1e-30, 16),
      decades(null, 16),
    ]).toEqual([16, 0, 0, 3, 16, null]);
  });

  test("the axis holds every p and level", () => {
    const looks = evidenceOf([look(1, { pHarm: 1e-9, level: 1e-4, pGo: 0.3, levelGo: 1e-5 })], "tenth", "error share");
    const axis = evidenceAxis(looks);
    expect(axis.harm).toBeGreaterThan(9);
    expect(axis.go).toBeGreaterThan(5);
    expect(axis.ticks).toContain(0);
  });

  test("a row's line is the strongest evidence of harm and the weakest for go", () => {
    const both: Look = {
      ...look(1, {}),
      checks: [
        reading({ pHarm: 0.1, level: 0.01, pGo: 0.001, levelGo: 0.01 }),
        reading({ name: "latency", pHarm: 0.01, level: 0.01, pGo: 0.1, levelGo: 0.01 }),
        reading({ name: "patterns", vote: "veto", pHarm: null, level: null, pGo: null, levelGo: null }),
      ],
    };
    expect(evidenceLine([both], 80)).toEqual([{ phase: "tenth", harm: 1, go: 0.5 }]);
    const many = Array.from({ length: 300 }, (_one, index) => ({ ...both, number: index }));
    expect(evidenceLine(many, 80).length).toBeLessThanOrEqual(81);
  });

  test("a phase allows as many looks as intervals fit", () => {
    expect([looksAllowed(7_200_000, 60_000), looksAllowed(30_000, 500), looksAllowed(null, 500)]).toEqual([
      120,
      60,
      null,
    ]);
  });
});

describe("scales", () => {
  test("ticks are round, inside, and include zero where it is", () => {
    const random = chance(9);
    for (let turn = 0; turn < 300; turn += 1) {
      const low = random.normal() * 10 ** Math.floor(random.next() * 8 - 4);
      const high = low + random.next() * 10 ** Math.floor(random.next() * 8 - 4) + 1e-9;
      const found = ticks(low, high, 5);
      expect(found.length).toBeLessThanOrEqual(8);
      for (const tick of found) {
        expect(tick).toBeGreaterThanOrEqual(low - (high - low) * 1e-6);
        expect(tick).toBeLessThanOrEqual(high + (high - low) * 1e-6);
      }
    }
    expect(ticks(-1, 1, 4)).toContain(0);
  });

  test("moments are round", () =>
    expect(timeTicks(0, 3_600_000, 4)).toEqual([0, 900_000, 1_800_000, 2_700_000, 3_600_000]));
  test("a hole lifts the pen", () =>
    expect(
      linePath([
        [0, 1],
        [1, null],
        [2, 3],
        [3, 4],
      ]),
    ).toBe("M0 1M2 3L3 4"));
  test("no points, no band", () => expect(bandPath([])).toBe(""));
  test("no finite value, no extent", () => expect(extent([null, Number.NaN, Number.POSITIVE_INFINITY])).toBeNull());
  test("one value still has a width", () => expect(linear(...(extent([5]) ?? [0, 0]), 0, 100)(5)).toBeCloseTo(50));
});

describe("hosts of a side", () => {
  test("a median over its band, and a hole that is not joined", () => {
    const found = fold([
      {
        labels: {},
        points: [
          [0, 1],
          [1000, 2],
          [4000, 3],
        ],
      },
      {
        labels: {},
        points: [
          [0, 3],
          [1000, 4],
        ],
      },
      {
        labels: {},
        points: [
          [0, 5],
          [1000, Number.NaN],
        ],
      },
    ]);
    expect(found.line).toEqual([
      [0, 3],
      [1000, 3],
      [2000, null],
      [4000, 3],
    ]);
    expect(found.band).toEqual([
      [0, 1, 5],
      [1000, 2, 4],
    ]);
  });
});
