// Figures over many releases.

import type { ReleaseSummary } from "./release.ts";

/** How long the decision took: as the server says, else from start to decision. */
export function timeToDecide(release: ReleaseSummary): number | null {
  if (release.timeToDecideMs !== null) return release.timeToDecideMs;
  return release.decidedAt !== null && release.start !== null ? release.decidedAt - release.start : null;
}

export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? null) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
