import { describe, expect, test } from "vitest";
import { Json } from "../api/json.ts";
import { readPinned } from "../api/look_data.ts";
import { isWide, ofBuckets, ofPinned, ofPoints, ofValues, quantileOf, shareAt } from "./spread.ts";

describe("values", () => {
  const spread = ofValues([4, 1, 3, 2, Number.NaN]);
  test("rise in steps", () => {
    expect(spread?.points).toEqual([
      [1, 0.25],
      [2, 0.5],
      [3, 0.75],
      [4, 1],
    ]);
    expect(
      spread && [quantileOf(spread, 0.5), quantileOf(spread, 0.51), shareAt(spread, 0.9), shareAt(spread, 3.5)],
    ).toEqual([2, 3, 0, 0.75]);
  });

  test("many are thinned, and the largest stays", () => {
    const many = ofValues(Array.from({ length: 10_001 }, (_one, index) => index));
    expect(many?.points.length).toBeLessThan(420);
    expect(many?.points.at(-1)).toEqual([10_000, 1]);
    expect(many?.n).toBe(10_001);
  });

  test("none is no spread, and the history before the start does not count", () => {
    expect(ofValues([])).toBeNull();
    const points = [
      [1, 5],
      [2, null],
      [3, 7],
    ] as const;
    expect(ofPoints(points, 2)?.points).toEqual([[7, 1]]);
  });
});

describe("buckets", () => {
  const spread = ofBuckets([
    [0.1, 0],
    [0.2, 5],
    [0.4, 5],
    [Number.POSITIVE_INFINITY, 10],
  ]);
  test("rise in lines from the lower edge, and what has no edge has no value", () => {
    expect(spread?.points).toEqual([
      [0.1, 0],
      [0.2, 0.25],
      [0.4, 0.5],
    ]);
    expect(spread && [quantileOf(spread, 0.125), quantileOf(spread, 0.9), shareAt(spread, 0.3)]).toEqual([
      expect.closeTo(0.15),
      null,
      expect.closeTo(0.375),
    ]);
  });

  test("empty ones are no spread", () => {
    expect(ofBuckets([[1, 0]])).toBeNull();
    expect(ofBuckets([])).toBeNull();
  });

  test("a logarithmic axis is for values far apart and positive", () => {
    expect(isWide([ofValues([0.01, 10]) ?? { points: [], n: 0, stepped: true }])).toBe(true);
    expect(isWide([ofValues([1, 10]) ?? { points: [], n: 0, stepped: true }])).toBe(false);
    expect(isWide([ofValues([-1, 1000]) ?? { points: [], n: 0, stepped: true }])).toBe(false);
  });
});

describe("what looks pinned", () => {
  const check = { phase: "p", name: "c" };
  const look = (phase: string, baseline: unknown) => ({
    phase,
    data: { c: { baseline, canary: { values: [[1], null] } } },
  });

  test("is added up over the looks of the check's phase", () => {
    const counts = (row: number[]) => ({ le: [1, "+Inf"], counts: [row, null] });
    const found = readPinned(
      new Json({ looks: [look("p", counts([2, 0])), look("p", counts([3, 1])), look("other", counts([99, 0]))] }),
      check,
    );
    expect(found && ofPinned(found.baseline)?.n).toBe(6);
    expect(found?.canary.values).toEqual([1, 1]);
  });

  test("is null where the looks come without", () => {
    expect(readPinned(new Json({ looks: [{ phase: "p" }] }), check)).toBeNull();
  });

  test("means have a value each host and interval", () => {
    const series = {
      series: [
        { instance: "a", t_ms: [1, 2], v: [1, null] },
        { instance: "b", t_ms: [1], v: [3] },
      ],
    };
    expect(readPinned(new Json({ looks: [look("p", series)] }), check)?.baseline.values).toEqual([1, 3]);
  });
});
