// Tells which cohort a query reads, where the answer does not say.

import type { Query, Side } from "./release.ts";

/** The matchers inside the braces, without blanks, in a fixed order. */
function matchers(selector: string): string[] {
  const inside = /\{([^}]*)\}/.exec(selector)?.[1] ?? "";
  return (
    inside.match(/[A-Za-z_][\w.]*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"/g)?.map((one) => one.replace(/\s+/g, "")) ?? []
  );
}

/** The side whose own matchers (those the other side lacks) all stand in the query; null when neither or both do. */
export function sideOf(query: string, match: { canary: string; baseline: string }): Side | null {
  const squeezed = query.replace(/\s+/g, "");
  const canary = matchers(match.canary);
  const baseline = matchers(match.baseline);
  const reads = (own: readonly string[], other: readonly string[]) => {
    const distinct = own.filter((one) => !other.includes(one));
    return distinct.length > 0 && distinct.every((one) => squeezed.includes(one));
  };
  const isCanary = reads(canary, baseline);
  const isBaseline = reads(baseline, canary);
  if (isCanary === isBaseline) return null;
  return isCanary ? "canary" : "baseline";
}

/** The first query of each side that can be drawn. */
export function drawable(
  queries: readonly Query[],
  match: { canary: string; baseline: string },
): { canary: string; baseline: string } | null {
  const find = (side: Side) =>
    queries.find((one) => (one.side ?? sideOf(one.text, match)) === side && !one.text.includes("$"))?.text;
  const canary = find("canary");
  const baseline = find("baseline");
  return canary !== undefined && baseline !== undefined ? { canary, baseline } : null;
}
