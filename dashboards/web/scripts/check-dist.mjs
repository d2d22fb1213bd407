// Builds into a temporary folder and compares every byte with the committed build.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { digest } from "./digest.mjs";

const WEB = fileURLToPath(new URL("..", import.meta.url));
const DIST = join(WEB, "../dist");
const fresh = mkdtempSync(join(tmpdir(), "greylight-dist-"));

function files(folder) {
  const walk = (path) =>
    statSync(path).isFile() ? [path] : readdirSync(path).flatMap((name) => walk(join(path, name)));
  return new Map(walk(folder).map((path) => [relative(folder, path), readFileSync(path)]));
}

try {
  execFileSync(
    join(WEB, "node_modules/.bin/vite"),
    ["build", "--outDir", fresh, "--emptyOutDir", "--logLevel", "warn"],
    { cwd: WEB, stdio: ["ignore", "ignore", "inherit"] },
  );
  const built = files(fresh).set("SOURCE.sha256", Buffer.from(`${digest()}\n`));
  const stored = files(DIST);
  const names = new Set([...built.keys(), ...stored.keys()]);
  const wrong = [...names].filter((name) => !built.get(name)?.equals(stored.get(name) ?? Buffer.alloc(0)));
  if (wrong.length > 0) {
    console.error(
      `dist is not what the sources give; differing: ${wrong.sort().join(", ")}\nrun \`npm run build\` and commit dashboards/dist`,
    );
    process.exitCode = 1;
  } else console.log(`dist is fresh: ${names.size} files`);
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
