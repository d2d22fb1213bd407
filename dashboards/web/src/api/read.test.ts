import { describe, expect, test } from "vitest";
import { chance, deliveriesOf, item, world } from "../../tests/fixtures/data.mjs";
import { replayOf } from "../../tests/fixtures/replay.mjs";
import { histogramOf, patternsOf, searchOf, statusOf } from "../../tests/fixtures/telemetry.mjs";
import { signOf } from "../model/release.ts";
import { besideRows, meaning } from "../model/replay.ts";
import { closest, deciding, headline, order, waitingChecks, weighty } from "../model/sentence.ts";
import { concerns, rates } from "../model/status.ts";
import { median, timeToDecide } from "../model/summary.ts";
import { readDeliveries } from "./deliveries.ts";
import { Json, Malformed } from "./json.ts";
import { readContext } from "./logs_context.ts";
import { readHistogram } from "./logs_histogram.ts";
import { readPatterns } from "./logs_patterns.ts";
import { readLogsPage } from "./logs_search.ts";
import { readLooks } from "./looks.ts";
import { readMetadata } from "./metadata.ts";
import { readInstant } from "./query.ts";
import { readMatrix } from "./query_range.ts";
import { readRelease } from "./release.ts";
import { readReleases } from "./releases.ts";
import { readReplay } from "./replay.ts";
import { readStatus } from "./status.ts";
import { readVerdict } from "./verdict.ts";

const NOW = Date.UTC(2026, 10, 21, 15);
const all = world(NOW);
const release = (id: string) => {
  const found = all.releases.find((one: { id: string }) => one.id === id);
  if (!found) throw new Error(id);
  return found;
};
const verdict = (id: string) => readVerdict(new Json(release(id).verdict));

describe("verdicts", () => {
  test("what the contract names is read", () => {
    const found = verdict("r-no-go");
    expect(found).toMatchObject({
      decision: "no_go",
      final: true,
      phase: "performance",
      alpha: 0.01,
      policy: { revision: 12 },
    });
    expect(found.phases.map((one) => [one.name, one.decision, one.atMostMs])).toEqual([
      ["functional", "go", 3_600_000],
      ["compatibility", "go", 3_600_000],
      ["performance", "no_go", 7_200_000],
    ]);
    const latency = found.checks.find((one) => one.name === "latency");
    expect(latency?.quantiles.map((one) => [one.q, one.effect.estimate, one.effect.measure])).toEqual([
      [0.99, 0.49, "relative"],
      [0.5, 0.01, "relative"],
    ]);
    expect(found.checks.find((one) => one.kind === "patterns")?.patterns[0]).toMatchObject({
      change: "new",
      severity: "error",
      canary: 1904,
    });
  });

  test.each([
    ["r-go", "go", "go"],
    ["r-no-go", "no_go", "worse"],
    ["r-running", "running", "running_clear"],
    ["r-inconclusive", "inconclusive", "time_out"],
    ["r-no-data", "no_data", "no_data"],
    ["r-override", "go", "overridden"],
  ])("%s shows %s and says %s", (id, sign, says) => {
    const found = verdict(id);
    expect(
      signOf(
        readReleases(new Json({ releases: [item(release(id))] })).releases[0] ?? {
          state: "failed",
          decision: "go",
          final: true,
          reasons: [],
        },
      ),
    ).toBe(sign);
    expect(headline(release(id).state, found).kind).toBe(says);
  });

  test("a cancelled or failed analysis says nothing about the release", () => {
    expect(headline("cancelled", verdict("r-running")).kind).toBe("cancelled");
    expect(headline("failed", verdict("r-running")).kind).toBe("failed");
    expect(signOf({ state: "failed", decision: "go", final: true, reasons: [] })).toBe("failed");
  });

  test("a phase that waits for the deploy tool is said as such", () => {
    const found = verdict("r-running");
    const phases = found.phases.map((one) =>
      one.name === found.phase ? { ...one, decision: "waiting" as const } : one,
    );
    expect(headline("running", { ...found, phases })).toEqual({ kind: "waiting_phase", phase: "performance" });
  });

  test("the check that refused comes first and speaks for the verdict", () => {
    const checks = verdict("r-no-go").checks;
    expect(order(checks)[0]?.name).toBe("latency");
    expect(deciding(checks)?.name).toBe("latency");
    expect(deciding(verdict("r-go").checks)?.name).toBe("latency");
    expect(closest([])).toBeNull();
  });

  test("what holds up go is a full vote of the running phase", () => {
    expect(waitingChecks(verdict("r-running")).map((one) => one.name)).toEqual(["latency", "conversion"]);
  });

  test("once harm is shown the rest does not matter", () => {
    expect(weighty(verdict("r-no-go")).shown.every((one) => one.code === "harm_shown")).toBe(true);
    expect(weighty(verdict("r-go")).shown).toEqual([]);
  });
});

describe("lists", () => {
  test("releases, with what each row shows", () => {
    const page = readReleases(new Json({ releases: all.releases.map(item), cursor: "x" }));
    expect(page.cursor).toBe("x");
    expect(page.releases).toHaveLength(all.releases.length);
    const decided = page.releases.filter((one) => one.final);
    expect(median(decided.map((one) => timeToDecide(one) ?? 0))).toBeGreaterThan(600_000);
    expect(page.releases.find((one) => one.id === "r-no-go")?.outcome).toBe("rolled_back");
  });

  test("a bare list is read as well", () =>
    expect(readReleases(new Json([item(release("r-go"))])).releases).toHaveLength(1));

  test("a release takes what it lacks from its verdict", () => {
    const { decision: _decision, final: _final, ...rest } = item(release("r-go"));
    const found = readRelease(new Json({ ...rest, verdict: release("r-go").verdict, interval: "1m" }));
    expect(found).toMatchObject({ decision: "go", final: true, intervalMs: 60_000 });
  });

  test("looks are numbered by phase where the server does not", () => {
    const looks = readLooks(
      new Json([
        { at: "2026-11-21T15:00:00Z", phase: "a", checks: [] },
        { at: "2026-11-21T15:01:00Z", phase: "a", checks: [] },
        { at: "2026-11-21T15:02:00Z", phase: "b", checks: [] },
      ]),
    );
    expect(looks.map((one) => [one.phase, one.number])).toEqual([
      ["a", 1],
      ["a", 2],
      ["b", 1],
    ]);
  });

  test("deliveries keep every attempt", () => {
    expect(
      readDeliveries(new Json({ deliveries: deliveriesOf(release("r-go")) })).map((one) => one.attempts.length),
    ).toEqual([1, 1, 2, 1]);
  });
});

describe("metrics and logs", () => {
  test("values of the Prometheus API", () => {
    const series = readMatrix(
      new Json({
        resultType: "matrix",
        result: [
          {
            metric: { a: "b" },
            values: [
              [1, "2"],
              [2.5, "NaN"],
              [3, "+Inf"],
            ],
          },
        ],
      }),
    );
    expect(series).toEqual([
      {
        labels: { a: "b" },
        points: [
          [1000, 2],
          [2500, Number.NaN],
          [3000, Number.POSITIVE_INFINITY],
        ],
      },
    ]);
    expect(readInstant(new Json({ resultType: "scalar", result: [1, "4"] }))).toEqual({
      kind: "vector",
      samples: [{ labels: {}, t: 1000, value: 4 }],
    });
    expect(readInstant(new Json({ resultType: "matrix", result: [{}, {}] }))).toEqual({
      kind: "other",
      type: "matrix",
      series: 2,
    });
    expect(readMetadata(new Json({ up: [{ type: "gauge", unit: "", help: "h" }], gone: [] })).size).toBe(1);
  });

  test("records, with structured attributes as the JSON they are", () => {
    const page = readLogsPage(new Json(searchOf("", NOW - 3_600_000, NOW, 5, "", "newest")));
    expect(page.records).toHaveLength(5);
    expect(page.records[0]?.attributes.trace).toBe('{"parent":0}');
    expect(page.records[0]?.timeText).toMatch(/123456Z$/);
  });

  test("the sum of the bars is the total", () => {
    const found = readHistogram(new Json(histogramOf("", NOW - 3_600_000, NOW, 60_000, "severity")));
    expect(found.buckets.reduce((sum, one) => sum + one.count, 0)).toBe(found.total);
    expect(found.stepMs).toBe(60_000);
  });

  test("patterns and context", () => {
    expect(readPatterns(new Json(patternsOf(""))).patterns.length).toBe(7);
    const around = readContext(
      new Json({
        records: [
          { id: "a", time: 2 },
          { id: "b", time: 1 },
          { id: "c", time: 3 },
        ],
      }),
      "a",
    );
    expect([around.before.map((one) => one.id), around.after.map((one) => one.id)]).toEqual([["b"], ["c"]]);
  });
});

describe("status", () => {
  const at = (seconds: number) => readStatus(new Json(statusOf(NOW + seconds * 1000, NOW - 86_400_000)));
  test("rates come from two answers", () => {
    expect(rates(null, at(0)).size).toBe(0);
    expect(rates(at(0), at(5)).get("OTLP logs")).toBeCloseTo(9310, 0);
    expect(rates(at(5), { ...at(10), startedAt: NOW }).size).toBe(0);
  });
  test("what wants a look is listed, the gravest first", () => {
    expect(concerns({ ...at(0), readOnly: "fsync failed" }).map((one) => one.kind)).toEqual([
      "read_only",
      "job",
      "silent",
      "queueing",
      "refused",
      "refused",
    ]);
  });
});

describe("any answer at all", () => {
  /** Shapes that are near to right are the ones that break a reader: real answers with parts replaced. */
  function mangled(value: unknown, random: { next: () => number }): unknown {
    const other = [null, undefined, 0, -1.5, "x", "", true, [], {}, "2026-11-21T15:00:00Z", Number.NaN];
    if (random.next() < 0.06) return other[Math.floor(random.next() * other.length)];
    if (Array.isArray(value)) return value.slice(0, 4).map((one) => mangled(one, random));
    if (typeof value === "object" && value !== null)
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, mangled(one, random)]));
    return value;
  }

  const readers: [string, unknown, (json: Json) => unknown][] = [
    ["verdict", release("r-no-go").verdict, readVerdict],
    ["release", { ...item(release("r-go")), verdict: release("r-go").verdict }, readRelease],
    ["releases", { releases: all.releases.slice(0, 6).map(item) }, readReleases],
    ["looks", { looks: release("r-go").looks.slice(0, 4) }, readLooks],
    ["deliveries", { deliveries: deliveriesOf(release("r-go")) }, readDeliveries],
    ["records", searchOf("", NOW - 3_600_000, NOW, 3, "", "newest"), readLogsPage],
    ["histogram", histogramOf("", NOW - 300_000, NOW, 60_000, "severity"), readHistogram],
    ["patterns", patternsOf(""), readPatterns],
    ["status", statusOf(NOW, NOW - 1000), readStatus],
    ["matrix", { result: [{ metric: { a: "b" }, values: [[1, "2"]] }] }, readMatrix],
  ];
  test.each(readers)("%s is read or said to be malformed", (_name, good, read) => {
    const random = chance(23);
    let fine = 0;
    for (let turn = 0; turn < 300; turn += 1) {
      try {
        read(new Json(mangled(good, random)));
        fine += 1;
      } catch (error) {
        expect(error).toBeInstanceOf(Malformed);
      }
    }
    expect(fine).toBeGreaterThan(0);
  });

  test("the message names the place", () => {
    expect(() => readVerdict(new Json({ checks: [{ name: "a" }, { name: "b", vote: "maybe" }] }))).toThrow(
      "checks[1].vote is not one of full, veto, none",
    );
  });
});

describe("replays", () => {
  const replay = (id: string, asked: { policy?: string; engine?: string }) =>
    readReplay(new Json(replayOf(release(id), asked)));

  test("each check stands beside the metrics that Kayenta made of it", () => {
    const found = replay("r-no-go", { engine: "both" });
    expect([found.same, found.pinned, found.verdict?.decision]).toEqual([true, true, "no_go"]);
    const last = found.phases.at(-1);
    if (!last) throw new Error("there are phases");
    const rows = besideRows(last);
    expect(rows.map((row) => row.name)).toEqual(last.ours?.checks.map((one) => one.name));
    expect(rows[0]?.metrics.map((one) => [one.name, one.classification])).toEqual([
      ["latency at 0.99", "High"],
      ["latency at 0.5", "Pass"],
    ]);
    expect(found.phases.map(meaning)).toEqual(["agree", "kayenta_refuses", "marginal"]);
  });

  test("Kayenta alone has metrics and no checks of ours", () => {
    const found = replay("r-no-go", { engine: "kayenta" });
    expect([found.same, found.verdict]).toEqual([null, null]);
    const first = found.phases[0];
    if (!first) throw new Error("there are phases");
    expect(besideRows(first).map((row) => [row.name, row.check, row.metrics.length])).toEqual([
      ["error share", null, 1],
    ]);
    expect(meaning(first)).toBeNull();
  });

  test("what differs is read as it is written", () => {
    const difference = { look: 4, phase: "one", field: "checks[0].p_harm", recorded: 0.5, replayed: null };
    const found = readReplay(new Json({ ...replayOf(release("r-go"), { engine: "both" }), same: false, difference }));
    expect(found.difference).toEqual({ ...difference, recorded: "0.5", replayed: "" });
  });

  test("every pair of decisions has its meaning", () => {
    const phase = replay("r-go", { engine: "both" }).phases[0];
    const said = (ours: string, kayenta: string) =>
      phase?.ours && phase.kayenta
        ? meaning({
            ...phase,
            ours: { ...phase.ours, decision: ours as "go" },
            kayenta: { ...phase.kayenta, decision: kayenta as "go" },
          })
        : null;
    expect(said("no_go", "no_go")).toBe("agree");
    expect(said("go", "no_go")).toBe("kayenta_refuses");
    expect(said("no_go", "go")).toBe("kayenta_passes_harm");
    expect(said("inconclusive", "go")).toBe("kayenta_passes_open");
    expect(said("go", "inconclusive")).toBe("marginal");
  });
});
