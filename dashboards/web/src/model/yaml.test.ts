import { describe, expect, test } from "vitest";
import { paintYaml } from "./yaml_paint.ts";
import { fieldPath, lineNamed, lineOf } from "./yaml_place.ts";
import { toYaml } from "./yaml_write.ts";

const POLICY = `# a comment first
name: cart-http
alpha: 0.01            # chance
unit: [pod, instance]
births: { window: 30d,
  at_most: 100 }
"odd key": 1

phases:
  - name: functional
    lasts: { at_least: 10m, at_most: 1h }
    checks:
      - name: error share
        kind: ratio
        events: http_requests_total{code=~"5..", $cohort}
        margin: { absolute: 0.002 }
      # between two
      - name: log patterns
        logs: "{$cohort}"

  - name: performance
    checks:
    - name: cpu
      value: >-
        sum by (instance): (rate(a[$interval]))
        / sum(b)
      margin:
        relative: 10%
    - name: latency
      margin: { relative: 10%, at: [0.5,
        0.99] }
checks:
- name: restarts
  vote: veto
`;

describe("the line of a field", () => {
  test.each([
    ["name", 2],
    ["alpha", 3],
    ["unit[1]", 4],
    ["births.at_most", 6],
    ["odd key", 7],
    ["phases", 9],
    ["phases[0]", 10],
    ["phases[0].lasts.at_most", 11],
    ["phases[0].checks[0].events", 15],
    ["phases[0].checks[0].margin.absolute", 16],
    ["phases[0].checks[1]", 18],
    ["phases[0].checks[1].logs", 19],
    ["phases[1].name", 21],
    ["phases[1].checks[0].value", 24],
    ["phases[1].checks[0].margin.relative", 28],
    ["phases[1].checks[1].name", 29],
    ["phases[1].checks[1].margin.at[1]", 31],
    ["checks[0].vote", 34],
  ])("%s is in line %i", (field, line) => {
    expect(lineOf(POLICY, field)).toBe(line);
  });

  test("what is not there is marked at what is around it", () => {
    expect(lineOf(POLICY, "phases[0].checks[1].kind")).toBe(18);
    expect(lineOf(POLICY, "phases[0].checks[7].kind")).toBe(12);
    expect(lineOf(POLICY, "nothing")).toBe(2);
    expect(lineOf("", "name")).toBe(1);
  });

  test("JSON is read as well", () => {
    const json = JSON.stringify(
      { name: "a", phases: [{ name: "x: {", checks: [{ name: "b", margin: { absolute: 1 } }] }] },
      null,
      2,
    );
    const line = json.split("\n").findIndex((one) => one.includes("absolute")) + 1;
    expect(lineOf(json, "phases[0].checks[0].margin.absolute")).toBe(line);
  });

  test("half a text never holds the reader up", () => {
    for (let end = 0; end <= POLICY.length; end += 1) {
      const line = lineOf(POLICY.slice(0, end), "phases[1].checks[1].margin.at[1]");
      expect(line).toBeGreaterThanOrEqual(1);
      expect(line).toBeLessThanOrEqual(POLICY.slice(0, end).split("\n").length);
    }
    for (const odd of ["{", "[", "{ a", '{ "a', "a: {,,}", "- - - b: 1", "a: [}", "]", "- {a: [1, {b: }", "\t- x"])
      expect(lineOf(odd, "a[0].b")).toBe(1);
  });

  test("paths and lines that a message names are read", () => {
    expect(fieldPath("phases[0].checks[2].margin")).toEqual(["phases", 0, "checks", 2, "margin"]);
    expect(lineNamed("duplicate mapping key at line 7 column 3")).toBe(7);
    expect(lineNamed("no place")).toBeNull();
  });
});

describe("a stored policy as text", () => {
  test("reads in the order of the contract", () => {
    const document = {
      alpha: 0.01,
      name: "cart-http",
      phases: [
        {
          checks: [
            {
              events: 'http_requests_total{code=~"5..", $cohort}',
              kind: "ratio",
              margin: { absolute: 0.002 },
              name: "error share",
            },
            { kind: "patterns", logs: "{$cohort}", name: "log patterns", by: "1.10" },
            { kind: "mean", name: "cpu", value: "sum(a)\n/ sum(b)" },
          ],
          lasts: { at_least: "10m", at_most: "1h" },
          name: "functional",
        },
      ],
      unit: ["pod", "instance"],
    };
    expect(toYaml(document)).toBe(`name: cart-http
alpha: 0.01
unit: [pod, instance]
phases:
  - name: functional
    lasts: { at_least: 10m, at_most: 1h }
    checks:
      - name: error share
        kind: ratio
        events: http_requests_total{code=~"5..", $cohort}
        margin: { absolute: 0.002 }
      - name: log patterns
        kind: patterns
        logs: '{$cohort}'
        by: '1.10'
      - name: cpu
        kind: mean
        value: |-
          sum(a)
          / sum(b)
`);
  });

  test.each([
    ["yes", "'yes'"],
    ["5m", "5m"],
    ["10%", "10%"],
    ["1e3", "'1e3'"],
    ["-1", "'-1'"],
    ["2026-01-01", "'2026-01-01'"],
    ["*", "'*'"],
    ["status:>=500", "status:>=500"],
    ["a: b", "'a: b'"],
    ["a #b", "'a #b'"],
    ["it's", "it's"],
    ["{it's}", '"{it\'s}"'],
    [" pad", "' pad'"],
    ["", "''"],
    ["tab\there", '"tab\\there"'],
  ])("%j is written %s", (value, written) => {
    expect(toYaml({ name: value })).toBe(`name: ${written}\n`);
  });

  test("empty lists and mappings keep their kind", () => {
    expect(toYaml({ checks: [], births: {} })).toBe("births: {}\nchecks: []\n");
  });

  test("the lines that it writes are found again", () => {
    const text = toYaml({ name: "a", phases: [{ name: "p", checks: [{ name: "c", margin: { relative: "5%" } }] }] });
    expect(text.split("\n")[lineOf(text, "phases[0].checks[0].margin") - 1]).toContain("margin");
  });
});

describe("colours", () => {
  test("every character stays where it is", () => {
    expect(
      paintYaml(POLICY)
        .map((token) => token.text)
        .join(""),
    ).toBe(POLICY);
  });

  test("keys and comments are told apart, and a quoted # is no comment", () => {
    expect(paintYaml(`a: "x # y" # z`).map((token) => [token.kind, token.text])).toEqual([
      ["label", "a"],
      ["punctuation", ":"],
      ["plain", ' "x # y"'],
      ["punctuation", " # z"],
    ]);
  });
});
