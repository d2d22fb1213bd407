import { describe, expect, test } from "vitest";
import { chance } from "../../tests/fixtures/data.mjs";
import { parseDuration, parseMoment, rateInterval, resolve, shift, stepFor, writeDuration } from "./duration.ts";

const NOW = Date.UTC(2026, 10, 21, 12);

describe("durations", () => {
  test.each([
    ["90s", 90_000],
    ["5m", 300_000],
    ["1h30m", 5_400_000],
    ["500ms", 500],
    ["2.5s", 2500],
    ["0", 0],
    ["", null],
    ["5", null],
    ["5 m", null],
    ["m5", null],
  ])("%s is %s ms", (text, want) => expect(parseDuration(text)).toBe(want));

  test("writing and reading gives the same", () => {
    const random = chance(5);
    for (let turn = 0; turn < 500; turn += 1) {
      const ms = Math.floor(random.next() * 10 ** (1 + Math.floor(random.next() * 10)));
      expect(parseDuration(writeDuration(ms))).toBe(ms);
    }
  });
});

describe("ranges", () => {
  test.each([
    ["now", NOW],
    ["now-90m", NOW - 5_400_000],
    ["now - 1h", NOW - 3_600_000],
    ["2026-11-19", Date.UTC(2026, 10, 19)],
    ["2026-11-19 12:00", Date.UTC(2026, 10, 19, 12)],
    ["2026-11-19T12:00:30.5Z", Date.UTC(2026, 10, 19, 12, 0, 30, 500)],
    ["1795255200000", 1795255200000],
    ["2026-13-01", null],
    ["now-", null],
    ["yesterday-ish", null],
  ])("%s", (text, want) => expect(parseMoment(text, NOW, true)).toBe(want));

  test("an empty range is none", () => {
    expect(resolve({ from: "now", to: "now-1h" }, NOW, true)).toBeNull();
    expect(resolve({ from: "now-1h", to: "now" }, NOW, true)).toEqual({ start: NOW - 3_600_000, end: NOW });
  });

  test("a shift keeps the span", () => {
    const moved = shift({ start: 1000, end: 3000 }, -1);
    expect(moved).toEqual({ from: "0", to: "2000" });
  });

  test("steps are round and few enough", () => {
    for (const span of [10_000, 3_600_000, 10_800_000, 86_400_000, 30 * 86_400_000]) {
      const step = stepFor(span, 240);
      expect(span / step).toBeLessThanOrEqual(240);
    }
    expect(stepFor(10_800_000, 240)).toBe(60_000);
    expect(rateInterval(1000)).toBe("1m");
  });
});
