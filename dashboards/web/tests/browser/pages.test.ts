// Every page in every theme and language, wide and narrow: nothing fails, nothing is out of reach.

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Served, serve } from "../fixtures/server.mjs";
import { barriers, close, expected, launch, open, overflow } from "./harness.ts";

const PAGES: readonly (readonly [name: string, path: string, heading: string, chinese: string])[] = [
  ["Releases", "releases", "Releases", "发布"],
  ["Release, go", "releases/r-go", "cart", "cart"],
  ["Release, no-go", "releases/r-no-go", "checkout", "checkout"],
  ["Release, running", "releases/r-running", "search", "search"],
  ["Release, no data", "releases/r-no-data", "thumbnailer", "thumbnailer"],
  ["Policies", "policies", "Policies", "策略"],
  ["Policy", "policies/cart-http", "cart-http", "cart-http"],
  ["Policy, new", "policies?new=http", "New policy", "新建策略"],
  ["Policy, announced", "policies/cart-http?view=announce&release=r-go", "cart-http", "cart-http"],
  ["Policy, backtest", "policies/cart-http?view=backtest&id=bt-1", "cart-http", "cart-http"],
  ["Metrics", "metrics?q=sum+by+(route)+(rate(http_requests_total[5m]))&from=now-1h&to=now", "Metrics", "指标"],
  ["Logs", "logs?from=now-30m&to=now", "Logs", "日志"],
  ["Log patterns", "logs?view=patterns&from=now-30m&to=now", "Logs", "日志"],
  ["Status", "status", "Status", "状态"],
];

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

/** Ready means that nothing on the page is still loading. */
async function ready(page: Awaited<ReturnType<typeof open>>["page"]): Promise<void> {
  await page.waitForSelector("h1");
  await page.waitForFunction(
    () =>
      document.querySelectorAll("[aria-busy=true], .ghost").length === 0 && document.querySelector(".foot") !== null,
  );
}

describe.each(PAGES)("%s", (_name, path, heading, chinese) => {
  test.each([
    ["light", "en"],
    ["dark", "en"],
    ["light", "zh-CN"],
    ["dark", "zh-CN"],
  ])("%s, %s: no barrier, no error", async (theme, lang) => {
    const opened = await open(
      browser,
      `${server.url}/ui/${path}${path.includes("?") ? "&" : "?"}theme=${theme}&lang=${lang}`,
    );
    await ready(opened.page);
    expect(await opened.page.textContent("h1")).toContain(lang === "en" ? heading : chinese);
    expect(await opened.page.getAttribute("html", "lang")).toBe(lang);
    expect(await barriers(opened.page)).toEqual([]);
    await close(opened);
  });

  test.each([390, 320])("%d px wide: nothing to scroll sideways", async (width) => {
    const opened = await open(browser, `${server.url}/ui/${path}`, { width, height: 844 });
    await ready(opened.page);
    expect(await overflow(opened.page)).toBe(0);
    await opened.page.click(".menu-narrow");
    expect(await opened.page.isVisible(".top nav a[href=status]")).toBe(true);
    await close(opened);
  });
});

describe("serving", () => {
  test("a deep link reloads, and works under a path that a proxy puts in front", async () => {
    const behind = await serve({ prefix: "/tools/greylight" });
    const opened = await open(browser, `${behind.url}/ui/releases/r-go`);
    await opened.page.waitForSelector(".plate");
    await opened.page.click("a.crumb");
    await opened.page.waitForSelector(".list .row-link");
    expect(new URL(opened.page.url()).pathname).toBe("/tools/greylight/ui/releases");
    await opened.page.reload();
    await opened.page.waitForSelector(".list .row-link");
    await close(opened);
    await behind.close();
  });

  test("an unknown address says so", async () => {
    const opened = await open(browser, `${server.url}/ui/nowhere`);
    await opened.page.waitForSelector(".state");
    expect(await opened.page.textContent("h1")).toBe("There is no such page");
    await close(opened);
  });

  test("an unknown release says so", async () => {
    const opened = await open(browser, `${server.url}/ui/releases/none`);
    await opened.page.waitForSelector(".state");
    expect(await opened.page.textContent("h1")).toBe("There is no such release");
    expected(opened, /404/);
    await close(opened);
  });

  test("the first load fetches few files", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const files: string[] = [];
    page.on("request", (request) => {
      if (!request.url().includes("/api/")) files.push(new URL(request.url()).pathname);
    });
    await page.goto(`${server.url}/ui/releases`);
    await page.waitForSelector(".list .row-link");
    expect(files.filter((path) => !path.endsWith("favicon.svg")).length).toBeLessThanOrEqual(12);
    await context.close();
  });
});

describe("across the pages", () => {
  test("shortcuts go to pages, and none fires in a text box", async () => {
    const opened = await open(browser, `${server.url}/ui/releases`);
    await opened.page.waitForSelector(".list .row-link");
    await opened.page.keyboard.press("/");
    await opened.page.keyboard.type("g s cart");
    expect(new URL(opened.page.url()).pathname).toBe("/ui/releases");
    expect(await opened.page.inputValue("[data-main-search]")).toBe("g s cart");
    await opened.page.evaluate(() => (document.activeElement as HTMLElement).blur());
    await opened.page.keyboard.press("g");
    await opened.page.keyboard.press("s");
    await opened.page.waitForURL("**/ui/status");
    await opened.page.keyboard.press("?");
    await opened.page.waitForSelector("dialog[open] .keys");
    await opened.page.keyboard.press("Escape");
    await opened.page.waitForSelector("dialog[open]", { state: "detached" });
    await close(opened);
  });

  test("theme, language and zone are kept", async () => {
    const opened = await open(browser, `${server.url}/ui/status`);
    await opened.page.waitForSelector(".kpis");
    await opened.page.click("button[aria-label='Switch theme']");
    await opened.page.click("text=中文");
    await opened.page.waitForSelector("h1:text('状态')");
    await opened.page.reload();
    await opened.page.waitForSelector("h1:text('状态')");
    expect(await opened.page.getAttribute("html", "data-theme")).toBe("dark");
    await close(opened);
  });

  test("a token is asked for once, again when it is wrong, and then sent", async () => {
    const guarded = await serve({ token: "right" });
    const opened = await open(browser, `${guarded.url}/ui/releases`);
    await opened.page.fill("dialog input[type=password]", "wrong");
    await opened.page.keyboard.press("Enter");
    await opened.page.waitForSelector("dialog .hint.bad");
    await opened.page.fill("dialog input[type=password]", "right");
    await opened.page.keyboard.press("Enter");
    await opened.page.waitForSelector(".list .row-link");
    expect(
      await opened.page.evaluate(() => [
        sessionStorage.getItem("greylight.token"),
        JSON.stringify(localStorage).includes("right"),
      ]),
    ).toEqual(["right", false]);
    expected(opened, /401/);
    await close(opened);
    await guarded.close();
  });

  test("while the server is away what was read stays, marked old, and comes back by itself", async () => {
    const opened = await open(browser, `${server.url}/ui/releases`);
    await opened.page.waitForSelector(".list .row-link");
    await opened.page.route("**/api/**", (route) => route.abort());
    await opened.page.waitForSelector(".note.error:has-text('No answer from the server since')");
    expect(await opened.page.locator(".list .row-link").count()).toBeGreaterThan(5);
    await opened.page.unroute("**/api/**");
    await opened.page.waitForSelector(".note.error", { state: "detached", timeout: 30_000 });
    expected(opened, /ERR_FAILED/);
    await close(opened);
  });
});
