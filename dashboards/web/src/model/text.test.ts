import { describe, expect, test } from "vitest";
import { chance } from "../../tests/fixtures/data.mjs";
import {
  type Filter,
  facetsOf,
  type LogRecord,
  pieces,
  quoteValue,
  readFilter,
  severityOf,
  stacks,
  templateQuery,
  toggleFilter,
  variables,
  withFilters,
  writeFilter,
} from "./log.ts";
import { searchTokens } from "./logquery.ts";
import { errorColumn, rank, slotAt, tokens } from "./promql.ts";
import { drawable, sideOf } from "./queryside.ts";
import { columns, labelText, sharedLabels, shortLabel, summary, tones, unitOf } from "./series.ts";

/** Texts out of the characters that matter to a lexer. */
function* texts(n: number): Generator<string> {
  const random = chance(17);
  const letters = [..."ab_:{}()[]\"'`\\/ ,=~!<>*0.9AND日 志\n"];
  for (let turn = 0; turn < n; turn += 1) {
    const length = Math.floor(random.next() * 30);
    yield Array.from({ length }, () => letters[Math.floor(random.next() * letters.length)]).join("");
  }
}

describe("lexers", () => {
  test("the pieces joined are the text", () => {
    for (const text of texts(800)) {
      expect(
        tokens(text)
          .map((one) => one.text)
          .join(""),
      ).toBe(text);
      expect(
        searchTokens(text)
          .map((one) => one.text)
          .join(""),
      ).toBe(text);
    }
  });

  test("functions, labels and strings of PromQL are told apart", () => {
    const kinds = Object.fromEntries(
      tokens('sum by (route) (rate(x{code="5"}[5m]))').map((one) => [one.text, one.kind]),
    );
    expect(kinds).toMatchObject({
      sum: "function",
      rate: "function",
      by: "function",
      x: "plain",
      code: "label",
      '"5"': "string",
    });
  });

  test("a search's operators, fields and phrases are told apart", () => {
    const kinds = Object.fromEntries(
      searchTokens('status:>=500 AND NOT "health check"').map((one) => [one.text, one.kind]),
    );
    expect(kinds).toMatchObject({ "status:": "label", AND: "function", NOT: "function", '"health check"': "string" });
  });
});

describe("completion", () => {
  test.each([
    ["ra", 2, { kind: "name", prefix: "ra", from: 0 }],
    ["rate(http_re", 12, { kind: "name", prefix: "http_re", from: 5 }],
    ["x{co", 4, { kind: "label", prefix: "co", metric: "x" }],
    ['x{code="5', 9, { kind: "value", prefix: "5", label: "code", metric: "x" }],
    ['x{code="5", ro', 14, { kind: "label", prefix: "ro" }],
    ["sum by (ro", 10, { kind: "label", prefix: "ro" }],
    ['"text', 5, { kind: "nothing" }],
    ["1 + ", 4, { kind: "nothing" }],
  ])("%s at %d", (text, cursor, want) => expect(slotAt(text, cursor)).toMatchObject(want));

  test("what begins with the prefix comes first", () =>
    expect(rank(["a_http", "http_b", "x"], "http")).toEqual(["http_b", "a_http"]));
  test("no slot outside the text for any text", () => {
    for (const text of texts(300)) {
      const slot = slotAt(text, text.length);
      if (slot.kind !== "nothing") expect(text.slice(slot.from)).toBe(slot.prefix);
    }
  });
  test("columns of parse errors", () => {
    expect(errorColumn('invalid parameter "query": 1:55: parse error: unclosed left parenthesis')).toBe(55);
    expect(errorColumn("query timed out")).toBeNull();
  });
});

describe("sides of queries", () => {
  const match = {
    canary: '{service_name="cart", service_version="1.5.0"}',
    baseline: '{service_name="cart", service_version="1.4.2"}',
  };
  test("by what only one side matches", () => {
    expect(sideOf('rate(x{service_version="1.5.0", service_name="cart"}[1m])', match)).toBe("canary");
    expect(sideOf('x{service_name = "cart", service_version = "1.4.2"}', match)).toBe("baseline");
    expect(sideOf('x{service_name="cart"}', match)).toBeNull();
  });
  test("a query with a variable left in it is not drawn", () => {
    expect(
      drawable(
        [
          { side: "canary", text: "x{$cohort}" },
          { side: "baseline", text: "y" },
        ],
        match,
      ),
    ).toBeNull();
    expect(
      drawable(
        [
          { side: "canary", text: "x" },
          { side: "baseline", text: "y" },
        ],
        match,
      ),
    ).toEqual({ canary: "x", baseline: "y" });
  });
});

describe("series", () => {
  test("labels as PromQL writes them", () => {
    expect([labelText({ __name__: "up" }), labelText({ __name__: "up", b: 'x"', a: "1" }), labelText({})]).toEqual([
      "up",
      'up{a="1", b="x\\""}',
      "{}",
    ]);
  });
  test("what all share is said once", () => {
    const series = [{ labels: { job: "n", i: "1" } }, { labels: { job: "n", i: "2" } }];
    expect(series.map((one) => shortLabel(one.labels, sharedLabels(series)))).toEqual(['{i="1"}', '{i="2"}']);
  });
  test("cohorts keep their colours, others take turns, then grey", () => {
    const many = Array.from({ length: 7 }, (_one, i) => ({ labels: { i: String(i) } }));
    expect(tones([{ labels: { track: "canary" } }, ...many])).toEqual([
      "canary",
      "s1",
      "s2",
      "s3",
      "s4",
      "s5",
      "s6",
      "rest",
    ]);
  });
  test("columns leave holes", () => {
    expect(
      columns(
        [
          {
            labels: {},
            points: [
              [0, 1],
              [2000, 3],
            ],
          },
        ],
        0,
        3000,
        1000,
      ),
    ).toEqual({ times: [0, 1000, 2000, 3000], rows: [[1, null, 3, null]] });
  });
  test("a summary ignores what is no number", () => {
    expect(
      summary([
        [0, 1],
        [1, Number.NaN],
        [2, 3],
      ]),
    ).toEqual({ last: 3, min: 1, mean: 2, max: 3 });
    expect(summary([])).toEqual({ last: null, min: null, mean: null, max: null });
  });
  test.each([
    ["histogram_quantile(0.99, rate(http_request_duration_seconds_bucket[5m]))", "s"],
    ["rate(http_requests_total[5m])", "1/s"],
    ["node_memory_MemAvailable_bytes", "B"],
    ["rate(node_network_receive_bytes_total[5m])", "B/s"],
    ["count(up)", ""],
    ["up", ""],
  ])("%s is in %s", (query, want) => expect(unitOf(query)).toBe(want));
});

describe("logs", () => {
  test("variables are found by the template", () => {
    expect(variables("took 412 ms at /pay", "took <*> ms at <*>")).toEqual([
      { text: "took ", variable: false },
      { text: "412", variable: true },
      { text: " ms at ", variable: false },
      { text: "/pay", variable: true },
    ]);
  });
  test("what stands before a message is constant", () => {
    expect(variables("12:00:01 INFO a.B: took 412 ms", "took <*> ms")).toEqual([
      { text: "12:00:01 INFO a.B: ", variable: false },
      { text: "took ", variable: false },
      { text: "412", variable: true },
      { text: " ms", variable: false },
    ]);
    expect(variables("12:00:01 [7] 10.1.2.3 left", "<*> left")).toEqual([
      { text: "12:00:01 [7] ", variable: false },
      { text: "10.1.2.3", variable: true },
      { text: " left", variable: false },
    ]);
  });
  test("a template that does not fit marks nothing", () => {
    expect(variables("other text", "took <*> ms")).toEqual([{ text: "other text", variable: false }]);
  });
  test("the pieces joined are the body", () => {
    for (const text of texts(300)) {
      for (const template of ["a<*>b", "<*>", "<*> <*>", text]) {
        expect(
          variables(text, template)
            .map((one) => one.text)
            .join(""),
        ).toBe(text);
      }
      expect(
        pieces(text)
          .map((one) => one.text)
          .join(""),
      ).toBe(text);
    }
  });
  test.each([
    ["ERROR", "error"],
    ["warning", "warn"],
    ["17", "error"],
    [13, "warn"],
    ["INFO2", "info"],
    ["", "unset"],
    [null, "unset"],
  ])("severity %s is %s", (raw, want) => expect(severityOf(raw)).toBe(want));

  test("tiers add up to the count", () => {
    const [one] = stacks([{ time: 0, count: 10, by: { error: 2, WARN: 3, info: 1 } }]);
    expect(one).toEqual({ time: 0, error: 2, warn: 3, other: 5 });
  });

  test.each([
    ["timed out after <*> ms at pool <*>", '"timed out after" AND "ms at pool"'],
    ["payment pay_<*> not confirmed: deadline", '"payment" AND "not confirmed: deadline"'],
    ["<*>", ""],
    ["<*>=<*> done", '"done"'],
    ['say "hi" <*>', '"say \\"hi\\""'],
  ])("%s is searched as %s", (text, want) => expect(templateQuery(text)).toBe(want));

  test("chips join the typed query", () => {
    const filters: Filter[] = [
      { field: "env", value: "prod", not: false },
      { field: "host", value: "c 4", not: true },
    ];
    expect(withFilters("a OR b", filters)).toBe('(a OR b) AND env:prod AND NOT host:"c 4"');
    expect(withFilters("", filters)).toBe('env:prod AND NOT host:"c 4"');
    expect(withFilters("  word ", [])).toBe("word");
    expect(quoteValue('say "hi" \\')).toBe('"say \\"hi\\" \\\\"');
    expect(quoteValue("AND")).toBe('"AND"');
  });

  test("a chip survives the address", () => {
    for (const text of texts(200)) {
      const filter = { field: "f", value: text, not: text.length % 2 === 0 };
      expect(readFilter(writeFilter(filter))).toEqual(filter);
    }
    expect(readFilter("nothing")).toBeNull();
  });

  test("a chip added twice is removed, its opposite gives way", () => {
    const only = { field: "a", value: "1", not: false };
    expect(toggleFilter([only], only)).toEqual([]);
    expect(toggleFilter([only], { ...only, not: true })).toEqual([{ ...only, not: true }]);
  });

  test("fields that tell nothing apart are left out", () => {
    const record = (id: number): LogRecord => ({
      id: String(id),
      time: id,
      timeText: "",
      severity: id % 2 === 0 ? "error" : "warn",
      body: "",
      labels: { track: "canary" },
      attributes: { unique: String(id) },
      traceId: "",
      spanId: "",
      pattern: "",
    });
    const found = facetsOf([1, 2, 3, 4, 5].map(record));
    expect(found.map((one) => one.field)).toEqual(["severity", "track"]);
    expect(found[0]?.values).toEqual([
      { value: "warn", count: 3 },
      { value: "error", count: 2 },
    ]);
  });
});
