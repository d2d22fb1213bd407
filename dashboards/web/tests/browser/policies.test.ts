// Policies: edited, checked as one types, announced and backtested.

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MARGIN, place, ZERO } from "../../src/model/forest.ts";
import { type Served, serve } from "../fixtures/server.mjs";
import { close, expected, launch, open } from "./harness.ts";

let browser: Browser;
let server: Served;
beforeAll(async () => {
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
});

/** A server of its own, since tests change what it stores. */
async function at(path: string) {
  server = await serve({});
  const opened = await open(browser, `${server.url}/ui/${path}`);
  /** `tolerated`: what the browser logs of an answer that the test made fail. */
  const end = async (tolerated?: RegExp) => {
    if (tolerated) expected(opened, tolerated);
    await close(opened).finally(() => server.close());
  };
  return { page: opened.page, end };
}

const text = (page: Page) => page.inputValue(".code textarea");

async function replace(page: Page, from: string | RegExp, to: string): Promise<void> {
  await page.fill(".code textarea", (await text(page)).replace(from, to));
}

describe("the list", () => {
  test("names each policy, its revision and what it judged last", async () => {
    const { page, end } = await at("policies");
    await page.waitForSelector(".policy-list .row-link");
    const row = page.locator(".policy-list tbody tr", { hasText: "cart-http" });
    expect(await row.textContent()).toContain("13");
    await row.locator(".last .badge").waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/ui/policies/cart-http");
    await end();
  });

  test("none yet says how to begin", async () => {
    const { page, end } = await at("status");
    await page.route("**/api/v1/policies", (route) => route.fulfill({ json: { policies: [] } }));
    await page.waitForSelector("#nav");
    await page.keyboard.press("g");
    await page.keyboard.press("p");
    await page.waitForSelector(".state:has-text('No policy is stored yet')");
    await page.click("text=New policy");
    await page.click("a:has-text('The least there can be')");
    await page.waitForSelector(".code textarea");
    expect(await text(page)).toContain("name: my-service");
    await end();
  });
});

describe("the editor", () => {
  test("marks the line of the field that the server refuses, and lets go when it is mended", async () => {
    const { page, end } = await at("policies/cart-http");
    await page.waitForSelector(".editor-status:has-text('No error found')");
    await replace(page, "absolute: 0.002", "absolute: -0.002");
    await page.waitForSelector(".fault:has-text('wants a number above 0')");
    const line = (await text(page)).split("\n").findIndex((one) => one.includes("absolute")) + 1;
    expect(await page.textContent(".code-lines .bad")).toBe(String(line));
    expect(await page.textContent(".fault")).toContain(`Line ${line}, phases[0].checks[0].margin.absolute`);
    expect(await page.textContent(".fault")).toContain("Here: -0.002");
    expect(await page.getAttribute(".code textarea", "aria-invalid")).toBe("true");
    await page.click(".fault .link");
    const chosen = await page.$eval(".code textarea", (box: HTMLTextAreaElement) =>
      box.value.slice(box.selectionStart, box.selectionEnd),
    );
    expect(chosen).toContain("absolute: -0.002");
    // The text of the marked line lies above its mark: without the text the line looks different.
    await page.evaluate(() => (document.activeElement as HTMLElement).blur());
    const clip = await page.$eval(".code-bad", (mark) => {
      const { x, y, width, height } = mark.getBoundingClientRect();
      return { x, y, width: Math.min(width, 400), height };
    });
    const seen = async (visibility: string) => {
      await page.$eval(
        ".code-paint",
        (paint: HTMLElement, value) => paint.style.setProperty("visibility", value),
        visibility,
      );
      return page.screenshot({ clip });
    };
    const [without, withText] = [await seen("hidden"), await seen("visible")];
    expect(withText.equals(without)).toBe(false);
    // Lines above move the mark with the field.
    await page.fill(".code textarea", `# one\n# two\n${await text(page)}`);
    await page.waitForFunction(
      (wanted) => document.querySelector(".code-lines .bad")?.textContent === wanted,
      String(line + 2),
    );
    await replace(page, "absolute: -0.002", "absolute: 0.003");
    await page.waitForSelector(".editor-status:has-text('No error found')");
    expect(await page.locator(".code-lines .bad").count()).toBe(0);
    await end(/400/);
  });

  test("the paint lies under the text, character by character", async () => {
    const { page, end } = await at("policies/cart-http");
    await page.waitForSelector(".code textarea");
    const same = await page.evaluate(() => {
      const box = document.querySelector<HTMLTextAreaElement>(".code textarea");
      const paint = document.querySelector<HTMLElement>(".code-paint");
      const size = (node: HTMLElement | null) => {
        const style = node && getComputedStyle(node);
        return [style?.fontFamily, style?.fontSize, style?.lineHeight, style?.padding, style?.letterSpacing];
      };
      return {
        text: box?.value === paint?.textContent,
        style: JSON.stringify(size(box)) === JSON.stringify(size(paint)),
        hidden: (box?.scrollHeight ?? 0) - (box?.clientHeight ?? 0) + (box?.scrollWidth ?? 0) - (box?.clientWidth ?? 0),
      };
    });
    expect(same).toEqual({ text: true, style: true, hidden: 0 });
    await end();
  });

  test("saves with the keyboard as a new revision", async () => {
    const { page, end } = await at("policies/cart-http");
    await page.waitForSelector(".code textarea");
    await replace(page, "alpha: 0.01", "alpha: 0.005");
    await page.waitForSelector(".titlebar .tag:has-text('not saved')");
    await page.focus(".code textarea");
    await page.keyboard.press("Control+s");
    await page.waitForSelector(".editor-status:has-text('Saved as revision 14.')");
    expect(await page.textContent("h1")).toContain("revision 14");
    const put = server.state.asked.find((one) => one.method === "PUT");
    expect(put?.path).toBe("/api/v1/policies/cart-http");
    expect(put?.body).toContain("alpha: 0.005");
    expect(await page.locator(".titlebar .tag").count()).toBe(0);
    await end();
  });

  test("another name in the text is another policy, and one that exists is not replaced unasked", async () => {
    const { page, end } = await at("policies/cart-http");
    await page.waitForSelector(".code textarea");
    await replace(page, "name: cart-http", "name: strict");
    await page.click("button:has-text('Save as strict')");
    await page.waitForSelector(".note:has-text('A policy strict is stored already')");
    expect(server.state.asked.some((one) => one.method === "PUT")).toBe(false);
    await replace(page, "name: strict", "name: cart-copy");
    await page.click("button:has-text('Save as cart-copy')");
    await page.waitForURL("**/ui/policies/cart-copy");
    await page.waitForSelector("h1:has-text('cart-copy')");
    await end();
  });

  test("what someone else saved meanwhile is not lost unasked", async () => {
    const { page, end } = await at("policies/cart-http");
    await page.waitForSelector(".code textarea");
    await fetch(`${server.url}/api/v1/policies/cart-http`, { method: "PUT", body: "name: cart-http # theirs\n" });
    await replace(page, "alpha: 0.01", "alpha: 0.02");
    await page.click("button.primary:has-text('Save')");
    await page.waitForSelector(".note:has-text('Revision 14 was saved meanwhile')");
    await page.click("button:has-text('Load it')");
    await page.waitForFunction(() => document.querySelector("textarea")?.value.includes("# theirs"));
    await replace(page, "theirs", "mine");
    await page.click("button.primary:has-text('Save')");
    await page.waitForSelector(".editor-status:has-text('Saved as revision 15.')");
    await end();
  });

  test("unsaved work holds the page, by a link as by going back", async () => {
    const { page, end } = await at("policies");
    await page.click("a.row-link:has-text('cart-http')");
    await page.waitForSelector(".code textarea");
    await replace(page, "alpha: 0.01", "alpha: 0.02");
    await page.click("nav a[href=logs]");
    await page.waitForSelector("dialog[open]:has-text('Leave without saving?')");
    await page.click("dialog button:has-text('Stay')");
    expect(new URL(page.url()).pathname).toBe("/ui/policies/cart-http");
    await page.click(".tabs button:has-text('What it can show')");
    await page.waitForSelector(".hint:has-text('not of the text that is not saved')");
    await page.click(".tabs button:has-text('Policy')");
    expect(await text(page)).toContain("alpha: 0.02");
    await page.goBack();
    await page.waitForSelector("dialog[open]");
    expect(new URL(page.url()).pathname).toBe("/ui/policies/cart-http");
    await page.click("dialog button:has-text('Leave without saving')");
    await page.waitForSelector(".policy-list");
    await end();
  });

  test("a new line begins below the one before, and undo takes it back", async () => {
    const { page, end } = await at("policies?new=empty");
    await page.waitForSelector(".code textarea");
    await page.fill(".code textarea", "phases:\n  - name: a\n    lasts:");
    await page.keyboard.press("Enter");
    await page.keyboard.type("at_most: 1h");
    expect(await text(page)).toBe("phases:\n  - name: a\n    lasts:\n      at_most: 1h");
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.tagName)).not.toBe("TEXTAREA");
    await page.click("a.crumb");
    await page.click("dialog button:has-text('Leave without saving')");
    await page.waitForSelector(".policy-list");
    await end();
  });

  test("deletes after asking", async () => {
    const { page, end } = await at("policies/strict");
    await page.waitForSelector(".code textarea");
    await page.click("button:has-text('Delete…')");
    await page.waitForSelector("dialog:has-text('Releases that pinned it keep it')");
    await page.click("dialog button:has-text('Delete')");
    await page.waitForSelector(".policy-list .row-link");
    expect(await page.textContent(".policy-list")).not.toContain("strict");
    await end();
  });

  test("an unknown policy says so, and default says that none is needed", async () => {
    const first = await at("policies/nothing");
    await first.page.waitForSelector(".state:has-text('It may have been deleted')");
    await first.end(/404/);
    const second = await at("policies/default");
    await second.page.waitForSelector(".state:has-text('packs choose the checks')");
    await second.end(/404/);
  });
});

describe("what it can show", () => {
  test("the mark lies where the shift is, in margins", async () => {
    const { page, end } = await at("policies/cart-http?view=announce");
    await page.click("button:has-text('Say beforehand')");
    await page.waitForSelector(".announce .reach-end", { state: "attached" });
    expect(page.url()).toContain("release=");
    const seen = await page.$$eval(".announce tbody tr", (rows) =>
      rows.map((row) => [
        row.querySelector("b")?.textContent ?? "",
        row.querySelector(".reach-end")?.getAttribute("x1") ?? "",
        row.querySelector(".goin")?.textContent ?? "",
      ]),
    );
    expect(seen).toEqual([
      ["error share", `${place(0.55)}%`, "≈ 26\u00a0min"],
      ["log patterns", "", "can only refuse"],
      ["latency", `${place(1.7)}%`, "not within the phase"],
      ["cpu per request", "", "not within the phase"],
      ["conversion", `${place(0.028 / 0.03)}%`, "≈ 1\u00a0h\u00a041\u00a0min"],
    ]);
    expect(place(1)).toBeCloseTo(MARGIN);
    expect(place(0)).toBeCloseTo(ZERO);
    await page.keyboard.press("t");
    await page.waitForSelector(".announce td.fx-n:has-text('1.70')");
    await end();
  });

  test("two versions are asked for as a release would be", async () => {
    const { page, end } = await at("policies/cart-http?view=announce");
    await page.click("button:has-text('Two versions')");
    await page.fill(".ask input >> nth=0", "cart");
    await page.fill(".ask input >> nth=1", "1.4.2");
    await page.fill(".ask input >> nth=2", "1.5.0");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".announce");
    const asked = server.state.asked.find((one) => one.path.endsWith("/announce"));
    expect(JSON.parse(asked?.body ?? "{}")).toEqual({
      release: { service: "cart", baseline: { name: "1.4.2" }, canary: { name: "1.5.0" } },
    });
    await end();
  });
});

describe("the backtest", () => {
  test("is started, followed and shown", async () => {
    const { page, end } = await at("policies/strict?view=backtest");
    await page.fill(".ask.backtest input >> nth=0", '{service_name="cart"}');
    await page.fill(".ask.backtest input >> nth=7", "5%, 10 %");
    await page.click("button:has-text('Start')");
    await page.waitForSelector("[role=progressbar]");
    await page.waitForSelector(".report-say:has-text('would have refused 0.5')", { timeout: 20_000 });
    const asked = server.state.asked.find((one) => one.method === "POST" && one.path === "/api/v1/backtests");
    expect(JSON.parse(asked?.body ?? "{}")).toMatchObject({
      policy: "strict",
      match: '{service_name="cart"}',
      split_by: "instance",
      canary_hosts: 1,
      runs: 200,
      seed: 1,
      effects: ["5%", "10%"],
    });
    expect(await page.textContent(".report")).toContain("alpha 0.1");
    expect(await page.locator(".power tbody tr").count()).toBe(3);
    expect(await page.textContent(".report-checks")).toContain("0.14\u00a0pp");
    await end();
  });

  test("a refused field is marked, and a running one can be ended", async () => {
    const { page, end } = await at("policies/cart-http?view=backtest");
    await page.waitForSelector(".report-say");
    await page.fill(".ask.backtest input >> nth=5", "100000");
    await page.click("button:has-text('Start')");
    await page.waitForSelector(".note.error:has-text('wants 1 to 2000 runs')");
    expect(await page.getAttribute(".ask.backtest input >> nth=5", "aria-invalid")).toBe("true");
    await page.fill(".ask.backtest input >> nth=5", "200");
    await page.click("button:has-text('Start')");
    await page.click("button:has-text('End it')");
    await page.waitForSelector("text=It was ended before it was done.");
    await end(/400/);
  });
});
