// Releases and one release: what is shown equals what was answered, and every state has its look.

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MARGIN, place, ZERO } from "../../src/model/forest.ts";
import { type Served, serve } from "../fixtures/server.mjs";
import { barriers, close, expected, launch, open, overflow } from "./harness.ts";

let browser: Browser;
let server: Served;
beforeAll(async () => {
  browser = await launch();
  server = await serve({});
});
afterAll(async () => {
  await browser.close();
  await server.close();
});

const ui = (path: string) => `${server.url}/ui/${path}`;

describe("the list", () => {
  test("each decision has a word and a shape of its own", async () => {
    const opened = await open(browser, ui("releases"));
    await opened.page.waitForSelector(".list .row-link");
    const seen = await opened.page.$$eval(".list tbody tr .badge", (badges) =>
      badges.map((badge) => `${badge.textContent} ${badge.querySelector("svg")?.innerHTML}`),
    );
    const distinct = new Map(seen.map((one) => [one.split(" <")[0], one]));
    expect([...distinct.keys()].sort()).toEqual(["Go", "Inconclusive", "No data", "No-go", "Running"]);
    expect(new Set([...distinct.values()].map((one) => one.slice(one.indexOf("<")))).size).toBe(distinct.size);
    expect(await opened.page.textContent(".list")).toContain("overridden by lin.wei");
    await close(opened);
  });

  test("a filter is in the address, survives a reload, and back undoes it", async () => {
    const opened = await open(browser, ui("releases"));
    await opened.page.waitForSelector(".list .row-link");
    await opened.page.click(".filters .seg button:has-text('No-go')");
    await opened.page.waitForFunction(() =>
      [...document.querySelectorAll(".list tbody .badge")].every((one) => one.textContent === "No-go"),
    );
    expect(opened.page.url()).toContain("decision=no_go");
    await opened.page.reload();
    await opened.page.waitForSelector(".list .row-link");
    expect(await opened.page.locator(".list .row-link").count()).toBe(3);
    await opened.page.goBack();
    await opened.page.waitForFunction(() => document.querySelectorAll(".list .row-link").length > 10);
    await opened.page.fill("[data-main-search]", "no such service");
    await opened.page.waitForSelector(".state:has-text('No release matches')");
    await opened.page.click("text=Drop the filters");
    await opened.page.waitForSelector(".list .row-link");
    await close(opened);
  });

  test("rows are walked with j and k and opened with Enter", async () => {
    const opened = await open(browser, ui("releases"));
    await opened.page.waitForSelector(".list .row-link");
    for (const key of ["j", "j", "k", "j"]) await opened.page.keyboard.press(key);
    const chosen = await opened.page.evaluate(() => document.activeElement?.getAttribute("href"));
    expect(chosen).toMatch(/^releases\//);
    await opened.page.keyboard.press("Enter");
    await opened.page.waitForURL(`**/ui/${chosen}`);
    await close(opened);
  });

  test("no release yet says what to do", async () => {
    const opened = await open(browser, ui("status"));
    await opened.page.route("**/api/v1/releases?*", (route) => route.fulfill({ json: { releases: [], cursor: null } }));
    await opened.page.click("nav a[href=releases]");
    await opened.page.waitForSelector(".state:has-text('greylight demo')");
    await close(opened);
  });

  test("rows have their height before the answer, and an error says its cause", async () => {
    const opened = await open(browser, ui("status"));
    let answer: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    await opened.page.route("**/api/v1/releases?*", async (route) => {
      await held;
      await route.fulfill({
        status: 503,
        json: { error: { kind: "unavailable", message: "the store is starting", limit: null } },
      });
    });
    await opened.page.click("nav a[href=releases]");
    await opened.page.waitForSelector(".list .ghost");
    answer();
    await opened.page.waitForSelector(".note.error:has-text('the store is starting')");
    expected(opened, /503/);
    await close(opened);
  });
});

describe("one release", () => {
  test("the interval drawn is the interval answered", async () => {
    const opened = await open(browser, ui("releases/r-no-go"));
    await opened.page.waitForSelector(".checks .fx line.w", { state: "attached" });
    const verdict = (await (await fetch(`${server.url}/api/v1/releases/r-no-go/verdict`)).json()) as {
      checks: {
        name: string;
        harm: string;
        margin: number | null;
        effect: { estimate: number; low: number | null; high: number | null } | null;
      }[];
    };
    const rows = await opened.page.$$eval(".checks tbody tr:not(.sub)", (all) =>
      all.map((row) => {
        const plot = row.querySelector(".fx svg");
        const line = plot?.querySelector("line.w");
        const box = plot?.getBoundingClientRect();
        const at = (name: string) => ((box?.width ?? 0) * Number.parseFloat(line?.getAttribute(name) ?? "NaN")) / 100;
        return {
          name: row.querySelector(".name b")?.textContent,
          width: box?.width ?? 0,
          low: at("x1"),
          high: at("x2"),
        };
      }),
    );
    let compared = 0;
    for (const check of verdict.checks) {
      const row = rows.find((one) => one.name === check.name);
      if (!row || !check.effect || check.margin === null || check.effect.low === null || check.effect.high === null)
        continue;
      const sign = check.harm === "down" ? -1 : 1;
      const ends = [check.effect.low, check.effect.high]
        .map((value) => Math.min(100, Math.max(0, place((value * sign) / (check.margin ?? 1)))) / 100)
        .sort((a, b) => a - b);
      expect(Math.abs(row.low - (ends[0] ?? 0) * row.width), `${check.name} low`).toBeLessThanOrEqual(1);
      expect(Math.abs(row.high - (ends[1] ?? 0) * row.width), `${check.name} high`).toBeLessThanOrEqual(1);
      compared += 1;
    }
    expect(compared).toBeGreaterThan(3);
    const marks = await opened.page.$$eval(".checks tbody tr:first-child .fx line", (lines) =>
      lines.map((line) => [line.getAttribute("class"), Number.parseFloat(line.getAttribute("x1") ?? "")]),
    );
    expect(marks).toContainEqual(["z", ZERO]);
    expect(marks).toContainEqual(["m", MARGIN]);
    await close(opened);
  });

  test("the sentence names the check with the greatest harm, with the answer's numbers", async () => {
    const opened = await open(browser, ui("releases/r-no-go"));
    await opened.page.waitForSelector(".says .main");
    expect((await opened.page.textContent(".says .main"))?.replaceAll("\u00a0", " ")).toBe(
      "Latency p99 is worse by at least 16 %; the margin is 10 %.",
    );
    expect(await opened.page.textContent(".plate")).toBe("No-gofinal");
    await close(opened);
  });

  test("a check without data says why and is not counted as passed", async () => {
    const opened = await open(browser, ui("releases/r-running"));
    await opened.page.waitForSelector(".checks tr:has-text('gc pause')");
    const row = opened.page.locator(".checks tr", { hasText: "gc pause" });
    expect(await row.textContent()).toContain("the canary sends no such series");
    expect(await row.locator(".badge").textContent()).toBe("No data");
    expect(await opened.page.textContent(".checks")).not.toContain("NaN");
    expect(await opened.page.textContent(".note.partial")).toContain("search-c3 sends nothing");
    await close(opened);
  });

  test("charts show both sides, keep their height in every view, and have a table", async () => {
    const opened = await open(browser, ui("releases/r-go"));
    await opened.page.waitForSelector(".one .l-canary", { state: "attached" });
    const height = () => opened.page.$eval(".one [role=tabpanel] .plot", (node) => node.getBoundingClientRect().height);
    const before = await height();
    expect(await opened.page.locator(".one .a-canary").getAttribute("d")).toMatch(/^M/);
    await opened.page.click(".sec-head [role=tab]:has-text('Difference')");
    await opened.page.waitForSelector(".one .g-margin", { state: "attached" });
    expect(await height()).toBe(before);
    await opened.page.keyboard.press("ArrowRight");
    await opened.page.waitForSelector(".one [role=slider][aria-label*='share of values at or below']");
    expect(await height()).toBe(before);
    await opened.page.keyboard.press("ArrowRight");
    await opened.page.waitForSelector(".one .host-bar");
    await opened.page.keyboard.press("ArrowLeft");
    await opened.page.keyboard.press("ArrowLeft");
    await opened.page.waitForSelector(".one .g-margin", { state: "attached" });
    await opened.page.evaluate(() => (document.activeElement as HTMLElement).blur());
    await opened.page.keyboard.press("t");
    await opened.page.waitForSelector(".one .twin-table tbody tr");
    expect(await opened.page.locator(".one .twin-table").count()).toBe(2);
    await close(opened);
  });

  test("the crossing stands at the answer's look, and arrow keys read every look out", async () => {
    const opened = await open(browser, ui("releases/r-go"));
    await opened.page.waitForSelector(".one text:has-text('look 41: go')");
    const slider = opened.page.locator(".one figure:last-of-type [role=slider]").last();
    await slider.focus();
    const last = await slider.getAttribute("aria-valuetext");
    expect(last).toMatch(/^look 41: p of harm/);
    await opened.page.keyboard.press("ArrowLeft");
    expect(await slider.getAttribute("aria-valuetext")).toMatch(/^look 40: /);
    await opened.page.keyboard.press("Home");
    expect(await slider.getAttribute("aria-valuenow")).toBe("0");
    await close(opened);
  });

  test("j and k choose a check, and the choice is in the address", async () => {
    const opened = await open(browser, ui("releases/r-go"));
    await opened.page.waitForSelector(".checks tr[aria-selected=true]");
    const first = await opened.page.textContent(".checks tr[aria-selected=true] .name b");
    await opened.page.keyboard.press("j");
    await opened.page.waitForFunction(
      (name) => document.querySelector(".checks tr[aria-selected=true] .name b")?.textContent !== name,
      first,
    );
    expect(opened.page.url()).toContain("check=");
    const second = await opened.page.textContent(".checks tr[aria-selected=true] .name b");
    await opened.page.reload();
    await opened.page.waitForSelector(".checks tr[aria-selected=true]");
    expect(await opened.page.textContent(".checks tr[aria-selected=true] .name b")).toBe(second);
    await close(opened);
  });

  test("a pattern's records open in Logs over the release's time", async () => {
    const opened = await open(browser, ui("releases/r-no-go"));
    await opened.page.waitForSelector(".pats tbody tr");
    expect(await opened.page.textContent(".pats tbody tr")).toContain("timed out after");
    await opened.page.click(".pats a:has-text('Records')");
    await opened.page.waitForURL("**/ui/logs?**");
    const search = new URL(opened.page.url()).searchParams;
    expect([search.get("q"), Number(search.get("to")) > Number(search.get("from"))]).toEqual([
      '"timed out after" AND "ms waiting for a connection from pool"',
      true,
    ]);
    await close(opened);
  });

  test("deliveries list every attempt with its answer", async () => {
    const opened = await open(browser, ui("releases/r-go"));
    // While they load, rows without words stand in their place.
    await opened.page.waitForSelector("section[aria-labelledby=h-del] button:has-text('Body')");
    const text = await opened.page.textContent("section[aria-labelledby=h-del]");
    expect(text).toContain("503");
    expect(text).toContain("4 deliveries, all answered");
    await opened.page.click("section[aria-labelledby=h-del] button:has-text('Body')");
    await opened.page.waitForSelector("dialog[open] pre:has-text('release.verdict')");
    await close(opened);
  });

  test("an error of one part leaves its neighbours", async () => {
    const opened = await open(browser, ui("status"));
    await opened.page.route("**/looks", (route) =>
      route.fulfill({ status: 500, json: { error: { kind: "internal", message: "looks failed" } } }),
    );
    await opened.page.route("**/deliveries", (route) => route.fulfill({ json: { deliveries: "no list" } }));
    await opened.page.goto(ui("releases/r-go"));
    await opened.page.waitForSelector(".one .note.error:has-text('looks failed')");
    await opened.page.waitForSelector(".note.error:has-text('deliveries is not a list')");
    expect(await opened.page.locator(".checks tbody tr").count()).toBeGreaterThan(5);
    expected(opened, /500/);
    await close(opened);
  });

  test("a decision that falls on the server shows at once, without a reload", async () => {
    const own = await serve({});
    const opened = await open(browser, `${own.url}/ui/releases/r-running`);
    await opened.page.waitForSelector(".plate.running");
    const release = own.state.world.releases.find((one) => one.id === "r-running");
    if (!release) throw new Error("the fixture has a running release");
    const began = Date.now();
    Object.assign(release.verdict, { decision: "no_go", final: true, revision: release.verdict.revision + 1 });
    release.state = "decided";
    await opened.page.waitForSelector(".plate.no-go:has-text('No-go')");
    expect(Date.now() - began).toBeLessThan(8000);
    await close(opened);
    await own.close();
  });

  test("an override asks who and why, and is shown", async () => {
    const own = await serve({});
    const opened = await open(browser, `${own.url}/ui/releases/r-no-go`);
    await opened.page.click("button:has-text('Override…')");
    await opened.page.fill("dialog input", "lin.wei");
    await opened.page.fill("dialog textarea", "Pool size fixed in the chart.");
    await opened.page.click("dialog button.danger");
    await opened.page.waitForSelector(".plate.go:has-text('overridden by lin.wei')");
    expect(await opened.page.textContent(".says")).toContain("Pool size fixed in the chart.");
    const sent = own.state.asked.find((one) => one.path.endsWith("/override"));
    expect(JSON.parse(sent?.body ?? "{}")).toEqual({
      decision: "go",
      by: "lin.wei",
      why: "Pool size fixed in the chart.",
    });
    await close(opened);
    await own.close();
  });

  test("a running analysis can be cancelled after a question", async () => {
    const own = await serve({});
    const opened = await open(browser, `${own.url}/ui/releases/r-running`);
    await opened.page.click("button:has-text('Cancel…')");
    await opened.page.click("dialog button.danger");
    await opened.page.waitForSelector(".plate:has-text('Cancelled')");
    expect(own.state.asked.some((one) => one.method === "DELETE")).toBe(true);
    await close(opened);
    await own.close();
  });
});

describe("beside Kayenta", () => {
  const panel = "#replay";

  test("nothing is asked before the button, then both judges stand side by side", async () => {
    const own = await serve({});
    const opened = await open(browser, `${own.url}/ui/releases/r-no-go`);
    await opened.page.waitForSelector(`${panel} .state:has-text('Nothing has been judged again yet')`);
    expect(own.state.asked.some((one) => one.path.endsWith("/replay"))).toBe(false);
    await opened.page.click(`${panel} button:has-text('Replay')`);
    await opened.page.waitForSelector(`${panel} .beside`);
    const sent = own.state.asked.find((one) => one.path.endsWith("/replay"));
    expect(JSON.parse(sent?.body ?? "{}")).toEqual({ engine: "both" });
    const text = (await opened.page.textContent(panel))?.replaceAll("\u00a0", " ");
    expect(text).toContain("the same as recorded, bit for bit");
    expect(text).toContain("score 83.3, Marginal");
    expect(text).toContain("Kayenta keeps no error rate over metrics or looks");
    const latency = opened.page.locator(`${panel} .beside tr`, { hasText: "latency" });
    expect(await latency.locator(".dec .badge").textContent()).toBe("No-go");
    expect((await latency.locator(".kay li").allTextContents()).map((one) => one.trim())).toEqual([
      "Highp99",
      "Passp50",
    ]);
    expect((await latency.locator(".eff").textContent())?.replaceAll("\u00a0", " ")).toBe("p99 +49 % +16 to +76 %");
    expect(text).not.toMatch(/NaN|undefined/);
    await close(opened);
    await own.close();
  });

  test("another policy and engine are sent as chosen, and the answer says whose it is", async () => {
    const own = await serve({});
    const opened = await open(browser, `${own.url}/ui/releases/r-go`);
    const policies = opened.page.locator(`${panel} select`).first();
    await opened.page.waitForSelector(`${panel} option[value=strict]`, { state: "attached" });
    expect(await policies.locator("option").allTextContents()).toContain("strict, revision 4");
    await policies.selectOption("strict");
    await opened.page.locator(`${panel} select`).last().selectOption("greylight");
    await opened.page.click(`${panel} button:has-text('Replay')`);
    await opened.page.waitForSelector(`${panel} .beside-same:has-text('By strict too.')`);
    const sent = own.state.asked.find((one) => one.path.endsWith("/replay"));
    expect(JSON.parse(sent?.body ?? "{}")).toEqual({ policy: "strict", engine: "greylight" });
    expect(await opened.page.locator(`${panel} .kay`).count()).toBe(0);
    await opened.page.locator(`${panel} select`).last().selectOption("kayenta");
    await opened.page.click(`${panel} button:has-text('Replay')`);
    await opened.page.waitForSelector(`${panel} .kay`);
    expect(await opened.page.locator(`${panel} .beside .eff`).count()).toBe(0);
    await close(opened);
    await own.close();
  });

  test("a refusal says why, and a record that does not stand is an error that names the place", async () => {
    const opened = await open(browser, ui("releases/r-go"));
    const refused = { kind: "conflict", message: "no look has been made for release r-go yet, so nothing is pinned" };
    await opened.page.route("**/replay", (route) => route.fulfill({ status: 409, json: { error: refused } }), {
      times: 1,
    });
    await opened.page.click(`${panel} button:has-text('Replay')`);
    await opened.page.waitForSelector(`${panel} .note.error:has-text('nothing is pinned')`);
    expected(opened, /409/);
    const difference = { look: 7, phase: "performance", field: "checks[1].p_harm", recorded: 0.4, replayed: 0.2 };
    await opened.page.route("**/replay", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ json: { ...(await answer.json()), same: false, difference } });
    });
    await opened.page.click(`${panel} .note button:has-text('Try again')`);
    await opened.page.waitForSelector(`${panel} .note.error:has-text('Not the same as recorded.')`);
    expect(await opened.page.textContent(`${panel} .note.error`)).toContain(
      "First in look 7 of performance, checks[1].p_harm: recorded 0.4, now 0.2.",
    );
    await close(opened);
  });

  test("what another policy ends with is said in the page's language", async () => {
    const opened = await open(browser, ui("releases/r-no-go?lang=zh-CN"));
    await opened.page.route("**/replay", async (route) => {
      const answer = await (await route.fetch()).json();
      const reason = { code: "pinned_data_ends", check: null, text: "the pinned data ends at 11:00" };
      const verdict = { ...answer.verdict, decision: "inconclusive", final: false, reasons: [reason] };
      const policy = { name: "strict", revision: 4, pinned: false };
      const later = { ...answer.phases[1], decision: null, checks: [], kayenta: null };
      await route.fulfill({
        json: { ...answer, policy, verdict, same: null, phases: [answer.phases[0], later] },
      });
    });
    await opened.page.click(`${panel} form button`);
    await opened.page.waitForSelector(`${panel} .beside-same`);
    const text = await opened.page.textContent(`${panel} .beside-same`);
    expect(text).toContain("按 strict：未定；原记录为阻断。");
    expect(text).toContain("留存数据：到此为止");
    expect(await opened.page.textContent(panel)).toContain("Greylight 未判定此阶段");
    await close(opened);
  });

  test.each([390, 1440])("at %i px it fits, and nothing bars the way", async (width) => {
    const opened = await open(browser, ui("releases/r-no-go?lang=zh-CN"), { width });
    await opened.page.click(`${panel} form button`);
    await opened.page.waitForSelector(`${panel} .beside`);
    expect(await overflow(opened.page)).toBe(0);
    expect(await opened.page.textContent(panel)).toContain("与 Kayenta 对照");
    expect(await barriers(opened.page)).toEqual([]);
    await close(opened);
  });
});

describe("the parts beside the checks", () => {
  test("what each side handles: values of one side first, and the rest on demand", async () => {
    const opened = await open(browser, ui("releases/r-go"));
    await opened.page.click(".parts .tabs button:has-text('What each side handles')");
    await opened.page.waitForSelector(".compat-values");
    expect(opened.page.url()).toContain("part=compatibility");
    expect(await opened.page.textContent(".compat .report-say")).toBe(
      "1 value is handled by the canary only, 1 by the baseline only.",
    );
    const rows = opened.page.locator(".compat-values tbody tr");
    expect(await rows.first().textContent()).toContain("/v2/payonly canary");
    const few = await rows.count();
    await opened.page.click("text=Show all 16");
    expect(await rows.count()).toBe(16);
    expect(few).toBe(12);
    expect(await barriers(opened.page)).toEqual([]);
    await close(opened);
  });

  test("a server without the comparison shows no such part", async () => {
    const opened = await open(browser, ui("status"));
    await opened.page.route("**/compatibility", (route) =>
      route.fulfill({ status: 404, json: { error: { kind: "not_found", message: "no such path" } } }),
    );
    await opened.page.goto(ui("releases/r-go?part=compatibility"));
    await opened.page.waitForSelector(".checks tbody .badge");
    expect(await opened.page.locator(".parts").count()).toBe(0);
    expected(opened, /404/);
    await close(opened);
  });

  test("a running release says what it can show, and how packs chose its checks", async () => {
    const opened = await open(browser, ui("releases/r-running"));
    await opened.page.click(".parts .tabs button:has-text('What it can show')");
    await opened.page.waitForSelector(".announce .reach-end", { state: "attached" });
    await opened.page.focus(".parts .tabs button[aria-selected=true]");
    await opened.page.keyboard.press("ArrowRight");
    await opened.page.waitForSelector(".packs-taken");
    expect(await opened.page.textContent(".packs-taken")).toContain('http_requests_total{code=~"5..", $cohort}');
    await opened.page.click("text=Left, and why");
    expect(await opened.page.textContent(".packs-left")).toContain("no grpc_server_handled_total on the baseline");
    expect(await barriers(opened.page)).toEqual([]);
    await close(opened);
  });

  test.each(["compatibility", "shows", "packs"])("%s at 390 px: nothing to scroll sideways", async (part) => {
    const opened = await open(browser, ui(`releases/r-running?part=${part}`), { width: 390, height: 844 });
    await opened.page.waitForSelector(".parts [role=tabpanel] table");
    expect(await overflow(opened.page)).toBe(0);
    await close(opened);
  });
});

describe("a distribution", () => {
  test("is drawn from what the looks pinned, and is a table with t", async () => {
    const opened = await open(browser, ui("releases/r-go?view=distribution&check=performance/latency"));
    await opened.page.waitForSelector(".one .l-canary", { state: "attached" });
    expect(await opened.page.textContent(".one figcaption")).toContain("share of values at or below");
    await opened.page.focus(".one [role=slider]");
    await opened.page.keyboard.press("ArrowLeft");
    expect(await opened.page.getAttribute(".one [role=slider]", "aria-valuetext")).toMatch(/canary \d+.*baseline \d+/);
    await opened.page.evaluate(() => (document.activeElement as HTMLElement).blur());
    await opened.page.keyboard.press("t");
    await opened.page.waitForSelector(".one .twin-table:has-text('p99')");
    expect(await barriers(opened.page)).toEqual([]);
    await close(opened);
  });

  test("says so where the server gives only a value an interval", async () => {
    const opened = await open(browser, ui("status"));
    await opened.page.route("**/looks?data=*", (route) => route.fulfill({ json: { looks: [] } }));
    await opened.page.goto(ui("releases/r-go?view=distribution&check=performance/latency"));
    await opened.page.waitForSelector(
      ".one :is(.say:has-text('One value an interval'), .state:has-text('No values to spread out yet'))",
    );
    await close(opened);
  });
});

test("statistical details give level, budget and samples of each check", async () => {
  const opened = await open(browser, ui("releases/r-go"));
  await opened.page.waitForSelector(".checks tbody .badge");
  await opened.page.click("text=Statistical details");
  await opened.page.waitForSelector(".checks.detailed");
  const verdict = (await (await fetch(`${server.url}/api/v1/releases/r-go/verdict`)).json()) as {
    checks: { name: string; budget: number }[];
  };
  const heads = await opened.page.$$eval(".checks thead th", (all) => all.map((one) => one.textContent ?? ""));
  expect(heads.slice(-4)).toEqual(["p of harm", "p of go", "Alpha spent", "Samples"]);
  for (const width of [1680, 1440, 1280, 1000, 390]) {
    await opened.page.setViewportSize({ width, height: 900 });
    expect(await overflow(opened.page), `${width} px`).toBe(0);
    const last = await opened.page.locator(".checks tbody tr >> nth=0").locator("td >> nth=-1").boundingBox();
    expect((last?.x ?? 0) + (last?.width ?? 0), `${width} px`).toBeLessThanOrEqual(width);
  }
  await opened.page.setViewportSize({ width: 1440, height: 900 });
  const budget = verdict.checks.find((one) => one.name === "memory")?.budget ?? 0;
  const row = opened.page.locator(".checks tbody tr", { hasText: "memory" });
  expect(await row.locator("td.st >> nth=2").textContent()).toContain(` of ${Number(budget.toPrecision(2))}`);
  await opened.page.click("text=Statistical details");
  await close(opened);
});
