// The pages on the real binary: GREYLIGHT_BIN starts it, data goes in by remote write and Loki push, a release is judged.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXAMPLES, exampleText } from "../../src/model/policy_examples.ts";
import { toYaml } from "../../src/model/yaml_write.ts";
import { barriers, close, expected, launch, open } from "./harness.ts";
import { type Written, writeRequest } from "./remote_write.ts";

const BINARY = process.env.GREYLIGHT_BIN ?? "";
if (BINARY === "") console.log("GREYLIGHT_BIN is not set: the pages are not tested on the real binary");

const SECOND = 1000;
const HISTORY_S = 300;
const RUN_S = 60;

const POLICY = {
  name: "pages",
  interval: "1s",
  delay: "1s",
  warm_up: "2s",
  phases: [
    {
      name: "tenth",
      lasts: { at_least: "5s", at_most: "40s" },
      checks: [
        {
          name: "error share",
          kind: "ratio",
          events: 'http_requests_total{code="500", $cohort}',
          trials: "http_requests_total{$cohort}",
          harm: "up",
          margin: { absolute: 0.02 },
        },
      ],
    },
  ],
};

/** Counters of one host, a sample a second: `share` of 200 requests a second fail, with a little unevenness. */
function host(version: string, instance: string, from: number, seconds: number, share: number): Written[] {
  const count = (code: string, part: (second: number) => number): Written => {
    let total = 0;
    const samples = Array.from({ length: seconds }, (_one, second): [number, number] => {
      total += part(second);
      return [from + second * SECOND, total];
    });
    return {
      labels: {
        __name__: "http_requests_total",
        service_name: "cart",
        service_version: version,
        instance,
        code,
        job: "cart",
      },
      samples,
    };
  };
  const failed = (second: number) => Math.round(200 * share + ((second * 7919) % 3) - 1);
  const up: Written = {
    labels: { __name__: "up", service_name: "cart", service_version: version, instance, job: "cart" },
    samples: Array.from({ length: seconds }, (_one, second): [number, number] => [from + second * SECOND, 1]),
  };
  return [
    count("500", (second) => Math.max(0, failed(second))),
    count("200", (second) => 200 - Math.max(0, failed(second))),
    up,
  ];
}

describe.skipIf(BINARY === "")("on the real binary", () => {
  let browser: Browser;
  let server: ChildProcess;
  let url = "";
  const folder = mkdtempSync(join(tmpdir(), "greylight-pages-"));
  const start = Math.floor(Date.now() / SECOND) * SECOND - (RUN_S + 5) * SECOND;

  const post = async (path: string, body: BodyInit, headers: Record<string, string>, method = "POST") => {
    const response = await fetch(`${url}${path}`, { method, body, headers });
    const text = await response.text();
    expect(response.ok, `${path}: ${response.status} ${text}`).toBe(true);
    return text === "" ? null : JSON.parse(text);
  };
  const json = { "Content-Type": "application/json" };
  const yaml = { "Content-Type": "application/yaml" };

  const judged = async (id: string) => {
    for (;;) {
      const verdict = (await (await fetch(`${url}/api/v1/releases/${id}/verdict`)).json()) as {
        decision: string;
        final: boolean;
      };
      if (verdict.final) return verdict;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  };
  const release = async (key: string, version: string) => {
    const body = {
      key,
      service: "cart",
      environment: "production",
      by: "tests",
      baseline: { name: "1.4.2" },
      canary: { name: version },
      policy: "pages",
      start: new Date(start).toISOString(),
      pre_period: "280s",
    };
    return ((await post("/api/v1/releases", JSON.stringify(body), json)) as { id: string }).id;
  };

  beforeAll(async () => {
    browser = await launch();
    server = spawn(BINARY, ["serve", "--listen", "127.0.0.1:0", "--grpc-listen", "off", "--data", folder], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const line = await new Promise<string>((resolve, reject) => {
      let text = "";
      server.stdout?.on("data", (chunk) => {
        text += chunk;
        if (text.includes("\n")) resolve(text.split("\n")[0] ?? "");
      });
      server.on("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    });
    url = `http://${(JSON.parse(line) as { http: string }).http}`;
    const before = start - HISTORY_S * SECOND;
    const series = [
      ...["b1", "b2"].flatMap((one) => host("1.4.2", one, before, HISTORY_S + RUN_S, 0.02)),
      ...host("1.5.0", "c1", start, RUN_S, 0.02),
      ...host("1.6.0", "d1", start, RUN_S, 0.3),
    ];
    await post("/api/v1/write", Buffer.from(writeRequest(series)), {
      "Content-Type": "application/x-protobuf",
      "Content-Encoding": "snappy",
      "X-Prometheus-Remote-Write-Version": "0.1.0",
    });
    const ns = (second: number) => `${BigInt(start + second * SECOND) * 1_000_000n}`;
    const lines = Array.from({ length: 300 }, (_one, second) => [
      ns(Math.floor(second / 6)),
      second % 50 === 0 ? `error: payment pay_${second} not confirmed` : `order ${90_000 + second} placed at /cart`,
    ]);
    const streams = [
      {
        stream: { service_name: "cart", service_version: "1.6.0", instance: "d1" },
        values: [...lines, [ns(55), "only needle-7f3a9c here"]],
      },
    ];
    await post("/loki/api/v1/push", JSON.stringify({ streams }), json);
    await post("/api/v1/policies/pages", JSON.stringify(POLICY), json, "PUT");
  });
  afterAll(async () => {
    await browser?.close();
    if (server && server.exitCode === null) {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGTERM");
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  });

  test("files carry a policy and a tag, a missing one is 404, and the API answers JSON", async () => {
    const shell = await fetch(`${url}/ui/releases/any`);
    expect([shell.status, shell.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    expect(shell.headers.get("content-security-policy")).toContain("default-src 'none'");
    const again = await fetch(`${url}/ui/releases/any`, {
      headers: { "If-None-Match": shell.headers.get("etag") ?? "" },
    });
    expect(again.status).toBe(304);
    expect((await fetch(`${url}/ui/assets/nope.js`)).status).toBe(404);
    expect((await fetch(`${url}/`)).url).toBe(`${url}/ui/`);
  });

  test("nothing judged yet: the list says what to do", async () => {
    const opened = await open(browser, `${url}/`);
    await opened.page.waitForSelector(".state:has-text('No release has been judged yet')");
    await close(opened);
  });

  test("a bad release is refused, and the page says why with the answer's numbers", async () => {
    const id = await release("bad", "1.6.0");
    const verdict = await judged(id);
    expect(verdict.decision).toBe("no_go");
    const opened = await open(browser, `${url}/ui/releases/${id}`);
    await opened.page.waitForSelector(".plate.no-go:has-text('No-go')");
    expect(await opened.page.textContent("h1")).toContain("cart 1.4.2→1.6.0");
    expect(await opened.page.textContent(".says")).toContain("rror share");
    await opened.page.waitForSelector(".checks tr:has-text('error share') .badge.no-go");
    await opened.page.waitForSelector(".one .l-bound-no-go", { state: "attached" });
    await opened.page.waitForSelector(".one .l-canary", { state: "attached" });
    expect(await opened.page.locator(".one text:has-text('no-go')").count()).toBeGreaterThan(0);
    expect(await opened.page.textContent("main")).not.toMatch(/NaN|undefined|\[object/);
    expect(await barriers(opened.page)).toEqual([]);
    await close(opened);
  });

  test("a good release goes, and the list shows both", async () => {
    const id = await release("good", "1.5.0");
    expect((await judged(id)).decision).toBe("go");
    const opened = await open(browser, `${url}/ui/releases`);
    await opened.page.waitForFunction(() => document.querySelectorAll(".list .row-link").length === 2);
    const signs = await opened.page.$$eval(".list tbody .badge", (all) => all.map((one) => one.textContent).sort());
    expect(signs).toEqual(["Go", "No-go"]);
    await opened.page.waitForSelector(".list .wv", { state: "attached" });
    await opened.page.click(".list a:has-text('1.5.0')");
    await opened.page.waitForSelector(".plate.go:has-text('Go')");
    expect(await opened.page.textContent(".says .main")).toContain("no worse than its margin");
    await close(opened);
  });

  test("an override is a new revision that the page shows", async () => {
    const id = await release("over", "1.6.0");
    await judged(id);
    const opened = await open(browser, `${url}/ui/releases/${id}`);
    await opened.page.click("button:has-text('Override…')");
    await opened.page.fill("dialog input", "lin.wei");
    await opened.page.fill("dialog textarea", "Known and accepted.");
    await opened.page.click("dialog button.danger");
    await opened.page.waitForSelector(".plate.go:has-text('overridden by lin.wei')");
    await close(opened);
  });

  test("every example is a policy that the server takes, and comes back as it was", async () => {
    for (const example of EXAMPLES) {
      const text = exampleText(example);
      const checked = (await post("/api/v1/policies/check", text, yaml)) as { name: string; policy: unknown };
      expect(checked.name).toMatch(/^my-/);
      // What the page writes of a stored document is that document again.
      const again = (await post("/api/v1/policies/check", toYaml(checked.policy), yaml)) as { policy: unknown };
      expect(again.policy).toEqual(checked.policy);
    }
  });

  test("a policy is refused at its line, mended, and stored as a new revision", async () => {
    const opened = await open(browser, `${url}/ui/policies/pages`);
    await opened.page.waitForSelector(".editor-status:has-text('No error found')");
    const text = await opened.page.inputValue(".code textarea");
    await opened.page.fill(".code textarea", text.replace("absolute: 0.02", "absolute: -0.02"));
    await opened.page.waitForSelector(".fault:has-text('phases[0].checks[0].margin.absolute')");
    const line = text.split("\n").findIndex((one) => one.includes("absolute")) + 1;
    expect(await opened.page.textContent(".code-lines .bad")).toBe(String(line));
    await opened.page.fill(".code textarea", text.replace("kind: ratio", "kind: ratio\n        marign: 1"));
    await opened.page.waitForSelector(".fault:has-text('unknown key')");
    expect(await opened.page.textContent(".fault")).toContain("marign");
    await opened.page.fill(".code textarea", text.replace("absolute: 0.02", "absolute: 0.03"));
    await opened.page.waitForSelector(".editor-status:has-text('No error found')");
    await opened.page.click("button.primary:has-text('Save')");
    await opened.page.waitForSelector(".editor-status:has-text('Saved as revision')");
    const stored = (await (await fetch(`${url}/api/v1/policies/pages`)).json()) as { policy: typeof POLICY };
    expect(stored.policy.phases[0]?.checks[0]?.margin).toEqual({ absolute: 0.03 });
    await post("/api/v1/policies/pages", JSON.stringify(POLICY), json, "PUT");
    expected(opened, /400/);
    await close(opened);
  });

  test("what a policy can show of a release is said", async () => {
    const id = await release("announced", "1.5.0");
    const opened = await open(browser, `${url}/ui/policies/pages?view=announce&release=${id}`);
    await opened.page.waitForSelector(".announce tbody tr:has-text('error share')");
    expect(await opened.page.textContent(".announce .mg")).toContain("+2\u00a0pp");
    expect(await opened.page.textContent("main")).not.toMatch(/NaN|undefined|\[object/);
    expect(await barriers(opened.page)).toEqual([]);
    await judged(id);
    await close(opened);
  });

  test("a backtest is started from the page and reported", async () => {
    const phases = [{ ...POLICY.phases[0], lasts: { at_least: "5s", at_most: "20s" } }];
    await post(
      "/api/v1/policies/tried",
      JSON.stringify({ ...POLICY, name: "tried", pre_period: "60s", phases }),
      json,
      "PUT",
    );
    const opened = await open(browser, `${url}/ui/policies/tried?view=backtest`);
    const field = (label: string) => opened.page.locator(`.ask.backtest .field:has(.label:text-is("${label}")) input`);
    await field("Cohort").fill('{service_name="cart", service_version="1.4.2"}');
    await field("From").fill(String(start - (HISTORY_S - 10) * SECOND));
    await field("To").fill(String(start + (RUN_S - 10) * SECOND));
    await field("Placebo releases").fill("20");
    await field("Effects").fill("500%");
    await opened.page.click("button:has-text('Start')");
    await opened.page.waitForSelector(".report-say:has-text('of good releases')", { timeout: 40_000 });
    const id = new URL(opened.page.url()).searchParams.get("id") ?? "";
    const report = (await (await fetch(`${url}/api/v1/backtests/${id}`)).json()) as {
      runs: number;
      power: { found: number }[];
    };
    expect(report.runs).toBe(20);
    expect(await opened.page.textContent(".report .say")).toContain("20 placebo releases");
    const found = Math.round((report.power[0]?.found ?? -1) * 100);
    expect(await opened.page.textContent(".power .found .num")).toBe(`${found}\u00a0%`);
    expect(await opened.page.textContent("main")).not.toMatch(/NaN|undefined|\[object/);
    expect(await barriers(opened.page)).toEqual([]);
    await close(opened);
  });

  test("a release without a policy shows how packs chose its checks", async () => {
    const started = (await post(
      "/api/v1/releases",
      JSON.stringify({
        service: "cart",
        baseline: { name: "1.4.2" },
        canary: { name: "1.5.0" },
        start: new Date(start).toISOString(),
      }),
      json,
    )) as { id: string };
    const opened = await open(browser, `${url}/ui/releases/${started.id}`);
    await opened.page.click(".parts .tabs button:has-text('How the checks were chosen')");
    await opened.page.waitForSelector(".packs-taken tbody tr:has-text('error share')");
    expect(await opened.page.textContent("main")).not.toMatch(/NaN|undefined|\[object/);
    expect(await barriers(opened.page)).toEqual([]);
    await close(opened);
  });

  test("metrics are listed, drawn and shown as numbers", async () => {
    const query = 'sum by (service_version) (rate(http_requests_total{code="500"}[10s]))';
    const opened = await open(
      browser,
      `${url}/ui/metrics?q=${encodeURIComponent(query)}&from=${start - 60_000}&to=${start + RUN_S * SECOND}`,
    );
    await opened.page.waitForSelector(".timechart canvas");
    expect(await opened.page.locator(".legend tbody tr").count()).toBe(3);
    await opened.page.waitForSelector(".pick-metric:has-text('http_requests_total')");
    await opened.page.goto(`${url}/ui/metrics?q=${encodeURIComponent("sum(rate(up[5m])")}`);
    await opened.page.waitForSelector(".query.bad");
    expected(opened, /400/);
    await close(opened);
  });

  test("a word in the logs is found, with its bar and its pattern", async () => {
    const range = `from=${start - 60_000}&to=${start + 120 * SECOND}`;
    const opened = await open(browser, `${url}/ui/logs?q=needle-7f3a9c&${range}`);
    await opened.page.waitForSelector(".recs .bd:has-text('needle-7f3a9c')");
    expect(await opened.page.locator(".recs button.tw").count()).toBe(1);
    await opened.page.waitForSelector(".tabs .c:has-text('1')");
    await opened.page.goto(`${url}/ui/logs?view=patterns&${range}`);
    await opened.page.waitForSelector(".pattern-list .pat:has-text('placed at')");
    await opened.page.goto(`${url}/ui/logs?${range}`);
    await opened.page.click(".recs button.tw");
    await opened.page.click("button:has-text('Records around')");
    await opened.page.waitForFunction(() => document.querySelectorAll("dialog .recs tbody tr").length > 1);
    await close(opened);
  });

  test("status shows what was taken in", async () => {
    const opened = await open(browser, `${url}/ui/status`);
    await opened.page.waitForSelector("#ingest tbody tr td");
    await opened.page.waitForSelector(".health:has-text('Everything accepted is stored')");
    const accepted = await opened.page.$$eval("#ingest tbody tr", (rows) =>
      rows.map((row) => row.querySelectorAll("td")[4]?.textContent ?? ""),
    );
    expect(accepted.some((one) => /[1-9]/.test(one))).toBe(true);
    expect(await opened.page.textContent("main")).not.toMatch(/NaN|undefined|\[object/);
    await close(opened);
  });

  test("every page in Chinese draws without an error", async () => {
    for (const path of ["releases", "policies", "policies/pages", "metrics?q=up", "logs", "status"]) {
      const opened = await open(browser, `${url}/ui/${path}${path.includes("?") ? "&" : "?"}lang=zh-CN&theme=dark`);
      await opened.page.waitForSelector(".foot");
      await opened.page.waitForFunction(() => document.querySelectorAll("[aria-busy=true], .ghost").length === 0);
      expect(await barriers(opened.page)).toEqual([]);
      await close(opened);
    }
  });
});
