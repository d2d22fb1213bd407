import { describe, expect, test } from "vitest";
import {
  bytes,
  clock,
  count,
  day,
  effectText,
  fixed,
  measured,
  measuredPair,
  moment,
  percent,
  plain,
  probability,
  ratio,
  span,
  stamp,
  startOfDay,
} from "./format.ts";

/** A no-break space reads badly in a test. */
const spaced = (text: string) => text.replaceAll("\u00a0", " ");
const AT = Date.UTC(2026, 10, 19, 14, 12, 59, 871);

describe("numbers", () => {
  test.each([
    [0, 0, "0"],
    [-0.04, 1, "0.0"],
    [-0.06, 1, "−0.1"],
    [1234567.891, 2, "1,234,567.89"],
    [999, 0, "999"],
    [1000, 0, "1,000"],
  ])("fixed(%d, %d) is %s", (value, digits, want) => expect(fixed(value, digits)).toBe(want));

  test.each([
    [0.0017, "0.0017"],
    [0.000024, "0.000024"],
    [0.01, "0.01"],
    [1, "1"],
    [0, "0"],
    [9.8e-13, "9.8 × 10⁻¹³"],
    [null, "–"],
  ])("probability(%d) is %s", (value, want) => expect(spaced(probability(value))).toBe(want));

  test.each([
    [0, "0"],
    [3, "3"],
    [1204, "1,204"],
    [701_000, "701 k"],
    [4_600_000, "4.60 M"],
    [null, "–"],
  ])("count(%d) is %s", (value, want) => expect(spaced(count(value))).toBe(want));

  test.each([
    [512, "512 B"],
    [641728512, "612 MiB"],
    [103293943808, "96.2 GiB"],
  ])("bytes(%d) is %s", (value, want) => expect(spaced(bytes(value))).toBe(want));

  test.each([
    [0.199, "19.9 %"],
    [0.01, "1 %"],
    [1, "100 %"],
    [0.005, "0.5 %"],
  ])("percent(%d) is %s", (value, want) => expect(spaced(percent(value))).toBe(want));

  test("what is not finite is named", () => {
    expect([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map(plain)).toEqual([
      "NaN",
      "+Inf",
      "−Inf",
    ]);
  });

  test("ratios keep two decimals while small", () => {
    expect([1.157, 0.68, 12.34, 812.4].map(ratio)).toEqual(["1.16", "0.68", "12.3", "812"]);
  });
});

describe("values with units", () => {
  test.each([
    [0.212, "seconds", "212 ms"],
    [0.0000312, "s", "31.2 µs"],
    [2.5, "s", "2.50 s"],
    [0.00052, "ratio", "0.0520 %"],
    [0, "1/h", "0 / h"],
    [641728512, "bytes", "612 MiB"],
    [1500, "ms", "1.50 s"],
    [17, "", "17"],
    [null, "s", "–"],
  ])("measured(%d, %s) is %s", (value, unit, want) => expect(spaced(measured(value, unit))).toBe(want));

  test.each([
    [0.99982, 0.99981, "ratio", "99.982 %", "99.981 %"],
    [0.212, 0.219, "seconds", "212 ms", "219 ms"],
    [0.942, 0.941, "ratio", "94.2 %", "94.1 %"],
    [0, 0, "1/h", "0 / h", "0 / h"],
    [0.0019, null, "seconds", "1.90 ms", "–"],
  ])("a pair tells %d and %d apart", (a, b, unit, wantA, wantB) => {
    expect(measuredPair(a, b, unit).map(spaced)).toEqual([wantA, wantB]);
  });
});

describe("effects", () => {
  const effect = (estimate: number, low: number | null, high: number | null, unit: string, measure = "difference") => ({
    estimate,
    low,
    high,
    unit,
    measure,
  });

  test("differences of shares are points, with the decimals of the interval", () => {
    const text = effectText(effect(0.00003, -0.00037, 0.00086, "ratio"), 0.001, "up");
    expect([text.estimate, text.low, text.high, text.margin].map(spaced)).toEqual([
      "+0.003 pp",
      "−0.037 pp",
      "+0.086 pp",
      "+0.10 pp",
    ]);
  });

  test("relative effects are percent", () => {
    const text = effectText(effect(0.033, -0.06, 0.097, "ratio", "relative"), 0.1, "up");
    expect([text.estimate, text.low, text.high, text.margin].map(spaced)).toEqual([
      "+3.3 %",
      "−6.0 %",
      "+9.7 %",
      "+10 %",
    ]);
  });

  test("an open end is said as such", () => {
    expect(effectText(effect(0, null, 1.1, "1/h"), 0.1, "up").range).toEqual({
      kind: "at_most",
      high: "+1.1\u00a0/\u00a0h",
    });
    expect(effectText(effect(0.3, 0.1, null, "s"), null, "up").range.kind).toBe("at_least");
    expect(effectText(effect(0, null, null, "s"), null, "up").range.kind).toBe("none");
  });

  test("the margin's sign follows the direction of harm", () => {
    expect(spaced(effectText(effect(0, -0.01, 0.01, "ratio"), 0.0017, "down").margin)).toBe("−0.17 pp");
    expect(spaced(effectText(effect(0, -0.01, 0.01, "ratio"), 0.02, "either").margin)).toBe("±2 pp");
  });
});

describe("spans and times", () => {
  test.each([
    [84, "84 ms"],
    [8400, "8.4 s"],
    [5000, "5 s"],
    [61_000, "1 min 1 s"],
    [42 * 60_000, "42 min"],
    [68 * 60_000, "1 h 8 min"],
    [12 * 86_400_000 + 4 * 3_600_000, "12 d 4 h"],
    [-100, "−100 ms"],
    [null, "–"],
  ])("span(%d) is %s", (ms, want) => expect(spaced(span(ms, "en"))).toBe(want));

  test("spans in Chinese", () => expect(spaced(span(68 * 60_000, "zh-CN"))).toBe("1 小时 8 分"));

  test("clocks", () => {
    expect([clock(AT, "utc"), clock(AT, "utc", "second"), clock(AT, "utc", "milli")]).toEqual([
      "14:12",
      "14:12:59",
      "14:12:59.871",
    ]);
    expect(stamp(AT, "utc")).toBe("2026-11-19 14:12");
    expect([spaced(day(AT, "utc", "en")), spaced(day(AT, "utc", "zh-CN"))]).toEqual(["19 November", "11 月 19 日"]);
  });

  test("another day is said with its day", () => {
    expect(moment(AT, AT + 3_600_000, "utc", "en")).toBe("14:12");
    expect(spaced(moment(AT, AT + 86_400_000, "utc", "en"))).toBe("19 November 14:12");
  });

  test("a day begins at midnight of the zone", () => {
    expect(startOfDay(AT, "utc")).toBe(Date.UTC(2026, 10, 19));
    expect(new Date(startOfDay(AT, "local")).getHours()).toBe(0);
  });
});
