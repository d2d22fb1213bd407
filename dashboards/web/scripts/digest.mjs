// Writes what the build was made from into dist, or compares it. The Rust test `freshness` computes the same without node.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const WEB = fileURLToPath(new URL("..", import.meta.url));
const STORED = join(WEB, "../dist/SOURCE.sha256");
const SOURCES = ["index.html", "package-lock.json", "package.json", "public", "src", "tsconfig.json", "vite.config.ts"];

const sha = (content) => createHash("sha256").update(content).digest("hex");

function collect(path) {
  if (statSync(path).isFile()) return path.includes(".test.") ? [] : [path];
  return readdirSync(path).flatMap((name) => collect(join(path, name)));
}

export function digest() {
  // Ordered by bytes, as Rust orders strings.
  const files = SOURCES.flatMap((name) => collect(join(WEB, name))).map((file) => [relative(WEB, file), file]);
  files.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return sha(files.map(([name, file]) => `${name}\0${sha(readFileSync(file))}\0`).join(""));
}

if (process.argv[2] === "write") writeFileSync(STORED, `${digest()}\n`);
else if (process.argv[2] === "check" && readFileSync(STORED, "utf8").trim() !== digest()) {
  console.error("dist is older than its sources: run `npm run build` and commit dashboards/dist");
  process.exit(1);
}
