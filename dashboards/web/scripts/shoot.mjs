// Pictures of the pages: light and dark, wide and narrow. `npm run shots -- [FOLDER] [NAME...]`

import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { serve } from "../tests/fixtures/server.mjs";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const PAGES = {
  releases: "releases",
  release: "releases/r-go",
  "release-no-go": "releases/r-no-go",
  "release-running": "releases/r-running",
  "release-distribution": "releases/r-go?view=distribution&check=performance/latency",
  "release-hosts": "releases/r-no-go?view=hosts",
  "release-compatibility": "releases/r-go?part=compatibility",
  "release-shows": "releases/r-running?part=shows",
  "release-packs": "releases/r-running?part=packs",
  policies: "policies",
  "policy-new": "policies?new=logs",
  policy: "policies/cart-http",
  announce: "policies/cart-http?view=announce&release=r-go",
  backtest: "policies/cart-http?view=backtest&id=bt-1",
  metrics: `metrics?q=${encodeURIComponent('histogram_quantile(0.99, sum by (track) (rate(http_request_duration_seconds{service_name="checkout"}[5m])))')}&q=${encodeURIComponent('sum by (route) (rate(http_requests_total{service_name="checkout"}[5m]))')}&q=${encodeURIComponent("sum by (instance) (rate(process_cpu_seconds_total[5m])")}&from=now-3h&to=now`,
  logs: `logs?q=${encodeURIComponent('NOT "health check"')}&f=environment%3Dproduction&f=!instance%3Dcheckout-b4&from=now-90m&to=now`,
  "logs-patterns": "logs?view=patterns&from=now-90m&to=now",
  status: "status",
};

const [folder = "/tmp/greylight-shots", ...only] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const target = process.env.GREYLIGHT_URL ? { url: process.env.GREYLIGHT_URL, close: async () => {} } : await serve({});
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const looks = [
  ["", { width: 1440, height: 900 }, "light", "en"],
  [".dark", { width: 1440, height: 900 }, "dark", "en"],
  [".390", { width: 390, height: 844 }, "light", "en"],
  [".zh", { width: 1440, height: 900 }, "light", "zh-CN"],
];
for (const [suffix, viewport, theme, lang] of looks) {
  for (const [name, path] of Object.entries(PAGES)) {
    if (only.length > 0 && !only.includes(name + suffix) && !only.includes(name)) continue;
    const page = await browser.newPage({ viewport, reducedMotion: "reduce" });
    page.on("console", (message) => message.type() === "error" && console.log(`${name}${suffix}: ${message.text()}`));
    page.on("pageerror", (error) => console.log(`${name}${suffix}: ${error}`));
    await page.goto(`${target.url}/ui/${path}${path.includes("?") ? "&" : "?"}theme=${theme}&lang=${lang}`);
    await page.waitForTimeout(1500);
    // What is shown only on demand is asked for.
    const replay = page.locator("form.replay button");
    if ((await replay.count()) > 0) {
      await replay.click();
      await page.waitForTimeout(600);
    }
    // A list that loads as one scrolls has no end worth showing.
    const tall = await page.evaluate(() => document.documentElement.scrollHeight);
    if (tall > 5200) await page.setViewportSize({ width: viewport.width, height: 1280 });
    await page.screenshot({ path: `${folder}/${name}${suffix}.png`, fullPage: tall <= 5200 });
    await page.close();
  }
}
await browser.close();
await target.close();
