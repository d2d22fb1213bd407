// Metrics, Logs and Status.

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Served, serve } from "../fixtures/server.mjs";
import { close, expected, launch, open } from "./harness.ts";

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
const QUERY = 'sum by (route) (rate(http_requests_total{service_name="checkout"}[5m]))';

/** Colours on the canvas: an empty one has a single one. */
const inked = (page: Page) =>
  page.$eval(".timechart canvas", (canvas) => {
    const { width, height } = canvas as HTMLCanvasElement;
    const data = (canvas as HTMLCanvasElement).getContext("2d")?.getImageData(0, 0, width, height).data ?? [];
    const seen = new Set<number>();
    for (let at = 0; at < data.length; at += 4)
      seen.add(((data[at] ?? 0) << 16) | ((data[at + 1] ?? 0) << 8) | (data[at + 2] ?? 0));
    return seen.size;
  });

describe("metrics", () => {
  test("a query runs on Enter, is in the address, and draws", async () => {
    const opened = await open(browser, ui("metrics"));
    await opened.page.waitForSelector(".state:has-text('Choose a metric')");
    await opened.page.fill(".query textarea", QUERY);
    await opened.page.keyboard.press("Escape");
    await opened.page.keyboard.press("Enter");
    await opened.page.waitForSelector(".timechart canvas");
    expect(new URL(opened.page.url()).searchParams.get("q")).toBe(QUERY);
    expect(await inked(opened.page)).toBeGreaterThan(20);
    expect(await opened.page.locator(".legend tbody tr").count()).toBe(5);
    await close(opened);
  });

  test("the table's numbers are the answer's", async () => {
    const opened = await open(browser, ui(`metrics?q=${encodeURIComponent(QUERY)}&from=now-30m&to=now`));
    await opened.page.waitForSelector(".timechart canvas");
    const answer = opened.page.waitForResponse("**/api/v1/query");
    await opened.page.click("[role=tab]:has-text('Table')");
    const body = (await (await answer).json()) as {
      data: { result: { metric: { route: string }; value: [number, string] }[] };
    };
    await opened.page.waitForSelector("table caption");
    const shown = await opened.page.$$eval("#panels tbody tr", (rows) =>
      rows.map((row) => row.querySelector("td:last-child")?.getAttribute("title")),
    );
    expect(shown).toEqual(body.data.result.map((one) => String(Number(one.value[1]))));
    await close(opened);
  });

  test("arrow keys move the cursor and its text is read out", async () => {
    const opened = await open(browser, ui(`metrics?q=${encodeURIComponent(QUERY)}`));
    const slider = opened.page.locator(".timechart");
    await slider.focus();
    const before = await slider.getAttribute("aria-valuetext");
    await opened.page.keyboard.press("Shift+ArrowLeft");
    await expect.poll(() => slider.getAttribute("aria-valuetext")).not.toBe(before);
    expect(await slider.getAttribute("aria-valuetext")).toMatch(/^\d\d:\d\d:\d\d: .*\/cart/);
    await opened.page.waitForSelector(".chart-holder .tip");
    await close(opened);
  });

  test("a mistake is marked at its column and the other query is still drawn", async () => {
    const opened = await open(
      browser,
      ui(`metrics?q=${encodeURIComponent(QUERY)}&q=${encodeURIComponent("sum(rate(up[5m])")}`),
    );
    await opened.page.waitForSelector(".query.bad .caret-err");
    expect(await opened.page.textContent(".hint.bad")).toContain("B, column 17: unclosed left parenthesis");
    await opened.page.waitForSelector(".timechart canvas");
    expected(opened, /400/);
    await close(opened);
  });

  test("completion proposes metrics by any part, then labels", async () => {
    const opened = await open(browser, ui("metrics"));
    await opened.page.waitForSelector(".pick-metric");
    await opened.page.click(".query textarea");
    await opened.page.keyboard.type("rate(requests_to");
    await opened.page.waitForSelector(".offer [role=option]");
    expect(await opened.page.textContent(".offer [aria-selected=true]")).toBe("http_requests_total");
    // On a busy machine a frame comes between the next keys, which belong behind the name all the same.
    await opened.page.evaluate(() => {
      const held: FrameRequestCallback[] = [];
      window.requestAnimationFrame = (call) => held.push(call);
      addEventListener("frame", () => {
        for (const call of held.splice(0)) call(performance.now());
      });
    });
    await opened.page.keyboard.press("Tab");
    await expect.poll(() => opened.page.inputValue(".query textarea")).toBe("rate(http_requests_total");
    await opened.page.keyboard.type("{");
    await opened.page.evaluate(() => dispatchEvent(new Event("frame")));
    await opened.page.keyboard.type("ro");
    expect(await opened.page.inputValue(".query textarea")).toBe("rate(http_requests_total{ro");
    await opened.page.waitForSelector(".offer [role=option]:has-text('route')");
    await close(opened);
  });

  test("a metric is chosen from the list, and no series says so", async () => {
    const opened = await open(browser, ui("metrics"));
    await opened.page.click(".pick-metric:has-text('node_cpu_seconds_total')");
    await opened.page.waitForSelector(".timechart canvas");
    await opened.page.waitForSelector(".browse .hint:has-text('route 3')");
    await opened.page.goto(ui("metrics?q=nothing"));
    await opened.page.waitForSelector(".state:has-text('gives no series')");
    await close(opened);
  });

  test("a drag over the chart narrows the range", async () => {
    const opened = await open(browser, ui(`metrics?q=${encodeURIComponent(QUERY)}&from=now-1h&to=now`));
    await opened.page.waitForSelector(".timechart .u-over");
    const box = await opened.page.locator(".timechart .u-over").boundingBox();
    if (!box) throw new Error("the chart has a box");
    await opened.page.mouse.move(box.x + box.width * 0.4, box.y + 80);
    await opened.page.mouse.down();
    await opened.page.mouse.move(box.x + box.width * 0.6, box.y + 80, { steps: 5 });
    await opened.page.mouse.up();
    await expect.poll(() => new URL(opened.page.url()).searchParams.get("from")).toMatch(/^\d+$/);
    const search = new URL(opened.page.url()).searchParams;
    expect(Number(search.get("to")) - Number(search.get("from"))).toBeLessThan(900_000);
    await close(opened);
  });

  test("a link of Prometheus' own page opens here", async () => {
    const opened = await open(browser, ui("graph?g0.expr=up&g0.range_input=2h"));
    await opened.page.waitForSelector(".timechart canvas");
    expect(await opened.page.inputValue(".query textarea")).toBe("up");
    await close(opened);
  });

  test("no metric stored says what to do", async () => {
    const opened = await open(browser, ui("status"));
    await opened.page.route("**/label/__name__/values?*", (route) =>
      route.fulfill({ json: { status: "success", data: [] } }),
    );
    await opened.page.click("nav a[href=metrics]");
    await opened.page.waitForSelector(".state:has-text('No metric is stored yet')");
    await close(opened);
  });
});

describe("logs", () => {
  test("a search narrows records, bars and address alike", async () => {
    const opened = await open(browser, ui("logs?from=now-30m&to=now"));
    await opened.page.waitForSelector(".recs .bd");
    await opened.page.fill(".query textarea", '"voucher" AND severity:warn');
    await opened.page.keyboard.press("Enter");
    await opened.page.waitForFunction(
      () =>
        [...document.querySelectorAll(".recs tbody .bd")].length > 0 &&
        [...document.querySelectorAll(".recs tbody .bd")].every((one) => one.textContent?.includes("voucher")),
    );
    expect(new URL(opened.page.url()).searchParams.get("q")).toBe('"voucher" AND severity:warn');
    await close(opened);
  });

  test("a value is included, then excluded, by its buttons, as a chip", async () => {
    const opened = await open(browser, ui("logs?from=now-30m&to=now"));
    await opened.page.click(".facet button[title='Only severity = error']");
    await opened.page.waitForSelector(".chip:has-text('severity = error')");
    await opened.page.waitForFunction(() =>
      [...document.querySelectorAll(".recs tbody .sev")].every((one) => one.textContent === "error"),
    );
    await opened.page.click(".recs button.tw");
    await opened.page.click(
      "button[aria-label='Without severity = error'], button[aria-label='Without track = canary']",
    );
    await opened.page.waitForSelector(".chip.not");
    await opened.page.click(".chip .x");
    await expect.poll(() => opened.page.locator(".chip .x").count()).toBe(1);
    await close(opened);
  });

  test("the bars sum to the total, and Enter on one zooms", async () => {
    const opened = await open(browser, ui("logs?from=now-30m&to=now"));
    const answer = await (
      await fetch(
        `${server.url}/api/v1/logs/histogram?start=${new Date(Date.now() - 60_000).toISOString()}&end=${new Date().toISOString()}&step=1m&by=severity`,
      )
    ).json();
    expect(answer.total).toBe(answer.buckets.reduce((sum: number, one: { count: number }) => sum + one.count, 0));
    const slider = opened.page.locator(".brushable [role=slider]");
    await slider.focus();
    expect(await slider.getAttribute("aria-valuetext")).toMatch(/error, \d+ warn/);
    await opened.page.keyboard.press("ArrowLeft");
    await opened.page.keyboard.press("Enter");
    await expect.poll(() => new URL(opened.page.url()).searchParams.get("from")).toMatch(/^\d+$/);
    await close(opened);
  });

  test("records around one stand in order, the one marked", async () => {
    const opened = await open(browser, ui("logs?from=now-30m&to=now"));
    await opened.page.locator(".recs button.tw").nth(5).click();
    await opened.page.click("button:has-text('Records around')");
    await opened.page.waitForFunction(() => document.querySelectorAll("dialog .recs tbody tr").length > 10);
    const times = await opened.page.$$eval("dialog .recs .tm code", (all) => all.map((one) => one.textContent ?? ""));
    expect(times).toEqual([...times].sort());
    expect(await opened.page.locator("dialog tr[aria-selected=true]").count()).toBe(1);
    await close(opened);
  });

  test("scrolling loads older records without repeating one", async () => {
    const opened = await open(browser, ui("logs?from=now-30m&to=now"));
    await opened.page.waitForSelector(".recs .bd");
    await opened.page.keyboard.press("End");
    await opened.page.waitForFunction(() => document.querySelectorAll(".recs tbody tr").length >= 400);
    const times = await opened.page.$$eval(".recs .tm code", (all) =>
      all.map((one) => one.getAttribute("title") ?? ""),
    );
    expect(new Set(times).size).toBeGreaterThan(times.length * 0.98);
    await close(opened);
  });

  test("markup and very long lines are shown as text, cut", async () => {
    const opened = await open(browser, ui("status"));
    const long = "x".repeat(5_000_000);
    await opened.page.route("**/api/v1/logs/search?*", (route) =>
      route.fulfill({
        json: {
          records: [
            {
              id: "1",
              time: new Date().toISOString(),
              severity: "info",
              body: "<img src=x onerror=alert(1)><script>alert(2)</script>",
              labels: {},
              attributes: {},
            },
            { id: "2", time: new Date().toISOString(), severity: "info", body: long, labels: {}, attributes: {} },
          ],
          cursor: null,
        },
      }),
    );
    await opened.page.click("nav a[href=logs]");
    await opened.page.waitForSelector(".recs .bd");
    expect(await opened.page.locator(".recs img, .recs script").count()).toBe(0);
    const body = await opened.page.locator(".recs .bd").nth(1).textContent();
    expect(body?.length).toBeLessThan(3000);
    expect(body).toContain("show all");
    await close(opened);
  });

  test("a failing histogram leaves the records; a refused search says why", async () => {
    const opened = await open(browser, ui("status"));
    await opened.page.route("**/api/v1/logs/histogram?*", (route) =>
      route.fulfill({ status: 422, json: { error: { kind: "limit", message: "too many records", limit: 1000000 } } }),
    );
    await opened.page.goto(ui("logs?from=now-30m&to=now"));
    await opened.page.waitForSelector("figure .note.error:has-text('The limit is 1000000')");
    await opened.page.waitForSelector(".recs .bd");
    await opened.page.goto(ui("logs?q=refuse"));
    await opened.page.waitForSelector("#logs-panel .note.error:has-text('a quote is not closed')");
    expected(opened, /4\d\d/);
    await close(opened);
  });

  test("a partial answer says so and shows what there is", async () => {
    const opened = await open(browser, ui("status"));
    await opened.page.route("**/api/v1/logs/search?*", async (route) => {
      const response = await route.fetch();
      await route.fulfill({
        response,
        json: { ...(await response.json()), partial: true, warnings: ["segment 7 failed its checksum"] },
      });
    });
    await opened.page.goto(ui("logs?from=now-30m&to=now"));
    await opened.page.waitForSelector(".note.partial:has-text('segment 7 failed its checksum')");
    expect(await opened.page.locator(".recs .bd").count()).toBeGreaterThan(10);
    await close(opened);
  });

  test("patterns obey the search, and one becomes a filter", async () => {
    const opened = await open(browser, ui("logs?view=patterns&q=nothing"));
    await opened.page.waitForSelector(".state:has-text('No pattern')");
    await opened.page.goto(ui("logs?view=patterns"));
    await opened.page.click(".pattern-list .row-pick");
    await expect.poll(() => new URL(opened.page.url()).searchParams.get("q")).toMatch(/^"timed out after" AND/);
    await opened.page.waitForSelector(".recs .bd:has-text('timed out after')");
    await close(opened);
  });

  test("no record says what to drop", async () => {
    const opened = await open(browser, ui("logs?q=nothing"));
    await opened.page.waitForSelector(".state:has-text('No log record matches')");
    await opened.page.click("text=Drop the filters");
    await opened.page.waitForSelector(".recs .bd");
    await close(opened);
  });
});

describe("status", () => {
  test("rates come from two answers, and what wants a look is on top", async () => {
    const opened = await open(browser, ui("status"));
    await opened.page.waitForSelector(".health .why");
    expect((await opened.page.textContent(".health"))?.replaceAll("\u00a0", " ")).toContain(
      "search-c3 has sent nothing for 6 min",
    );
    await opened.page.waitForFunction(() => !document.querySelector(".measuring"), undefined, { timeout: 20_000 });
    const rate = Number((await opened.page.textContent(".kpis dd"))?.replace(/\D/g, ""));
    expect(rate).toBeGreaterThan(150_000);
    expect(rate).toBeLessThan(220_000);
    await close(opened);
  });

  test("agents are filtered, and a query can be ended", async () => {
    const opened = await open(browser, ui("status"));
    await opened.page.click("#agents button:has-text('Silent')");
    expect(await opened.page.locator("#agents tbody tr").count()).toBe(1);
    await opened.page.click("section[aria-labelledby=h-q] button:has-text('Cancel')");
    await expect
      .poll(() => server.state.asked.some((one) => one.method === "DELETE" && one.path.endsWith("/queries/q1")))
      .toBe(true);
    await close(opened);
  });

  test("an empty server says what to do, a read-only one that it is", async () => {
    const opened = await open(browser, ui("releases"));
    await opened.page.route("**/api/v1/admin/status", (route) =>
      route.fulfill({
        json: {
          version: "0.1.0",
          started_at: new Date().toISOString(),
          receivers: [],
          tables: [],
          jobs: [],
          agents: [],
          queries: [],
          read_only: "fsync failed on wal-7",
        },
      }),
    );
    await opened.page.click("nav a[href=status]");
    await opened.page.waitForSelector(".health:has-text('The server is read-only')");
    expect(await opened.page.textContent("main")).toContain("greylight agent");
    expect(await opened.page.textContent("main")).toContain("Nothing has been received yet");
    await close(opened);
  });
});
