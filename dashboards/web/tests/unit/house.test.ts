// Rules of the house that no linter knows: which folder may import which, and dictionaries that say everything.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { en } from "../../src/i18n/en.ts";
import { runs } from "../../src/i18n/mark.ts";
import { zh } from "../../src/i18n/zh-CN.ts";

const SRC = fileURLToPath(new URL("../../src", import.meta.url));

/** Imports point one way; only pages (and the start, which composes) call the API. */
const MAY: Record<string, readonly string[]> = {
  model: ["model"],
  api: ["api", "model"],
  i18n: ["i18n", "model"],
  app: ["app", "i18n", "model"],
  charts: ["charts", "app", "i18n", "model"],
  components: ["components", "charts", "app", "i18n", "model"],
  pages: ["pages", "components", "charts", "app", "api", "i18n", "model"],
};

const files = (folder: string): string[] =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : /\.tsx?$/.test(name) ? [path] : [];
  });
const sources = files(SRC).filter((path) => !path.includes(".test."));

describe("folders", () => {
  test("imports point one way", () => {
    const wrong: string[] = [];
    for (const path of sources) {
      const [folder = ""] = relative(SRC, path).split("/");
      const allowed = MAY[folder];
      if (!allowed) continue;
      for (const [, to = ""] of readFileSync(path, "utf8").matchAll(/from "(\.[^"]+)"/g)) {
        const [target = ""] = relative(SRC, join(path, "..", to)).split("/");
        if (!allowed.includes(target)) wrong.push(`${relative(SRC, path)} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("a file fits what one can hold", () => {
    const long = sources
      .map((path) => [relative(SRC, path), readFileSync(path, "utf8").split("\n").length] as const)
      .filter(([path, lines]) => lines > 800 && !path.startsWith("i18n/"));
    expect(long).toEqual([]);
  });
});

/** Every sentence of a dictionary, functions called with stand-ins. */
function sentences(node: unknown, path = ""): [string, string][] {
  if (typeof node === "string") return [[path, node]];
  if (typeof node === "function") {
    return ["1", "2"].map(
      (n) => [path, String((node as (...args: unknown[]) => unknown)(n, n, n, n, n))] as [string, string],
    );
  }
  if (Array.isArray(node)) return node.flatMap((one, index) => sentences(one, `${path}[${index}]`));
  if (typeof node === "object" && node !== null)
    return Object.entries(node).flatMap(([key, one]) => sentences(one, `${path}.${key}`));
  return [];
}

describe("dictionaries", () => {
  test("no sentence is empty or shows a hole", () => {
    for (const dictionary of [en, zh]) {
      for (const [path, text] of sentences(dictionary)) {
        expect(text, path).not.toMatch(/undefined|\[object/);
        expect(text.trim(), path).not.toBe("");
      }
    }
  });

  test("Chinese has no English words but names, units and formats", () => {
    const allowed =
      /\b(?:Greylight|greylight|Kayenta|UTC|JSON|YAML|PromQL|p|α|A|webhook|webhooks|override|Loki|push|OTLP|Prometheus|remote_write|CPU|AND|OR|NOT|now|up|error|warn|fatal|info|Ctrl|g|r|l|m|s|t|j|k|Language|switch|to|English|p99|m|x|min|ms|B|d|h|HTTP|cAdvisor|S|default)\b|now-90m|2026-11-19 12:00/g;
    for (const [path, text] of sentences(zh)) {
      expect(text.replace(allowed, ""), `${path}: ${text}`).not.toMatch(/[A-Za-z]{2,}/);
    }
  });

  test("marks never leak", () => {
    for (const dictionary of [en, zh]) {
      for (const [path, text] of sentences(dictionary)) {
        const shown = runs(text)
          .map((run) => run.text)
          .join("");
        // biome-ignore lint/suspicious/noControlCharactersInRegex: the marks are control characters
        expect(shown, path).not.toMatch(/[\u0001-\u0004]/);
      }
    }
  });
});
