// GET /api/v1/releases/{id}/looks?data=PHASE/CHECK: what the looks pinned of one check

import type { Side } from "../model/release.ts";
import type { Pinned } from "../model/spread.ts";
import { type Answer, call } from "./client.ts";
import type { Json } from "./json.ts";

export type PinnedSides = Readonly<Record<Side, Pinned>>;

/** Null where the server gives looks without their data. */
export function fetchPinned(
  release: string,
  check: { phase: string; name: string },
  signal?: AbortSignal,
): Promise<Answer<PinnedSides | null>> {
  const query = { data: `${check.phase}/${check.name}` };
  return call(`releases/${encodeURIComponent(release)}/looks`, (json) => readPinned(json, check), { query, signal });
}

export function readPinned(json: Json, check: { phase: string; name: string }): PinnedSides | null {
  const looks = json.get("looks").list((look) => look);
  const mine = looks.filter((look) => look.get("phase").textOr("") === check.phase);
  const data = mine.map((look) => look.get("data").get(check.name)).filter((one) => !one.missing);
  if (data.length === 0) return null;
  const side = (name: Side): Pinned => {
    const parts = data.map((one) => pinned(one.get(name)));
    return { values: parts.flatMap((one) => one.values), buckets: parts.flatMap((one) => one.buckets) };
  };
  return { canary: side("canary"), baseline: side("baseline") };
}

function pinned(json: Json): Pinned {
  const numbers = (list: Json) => list.list((one) => one.numberOrNull()).filter((one): one is number => one !== null);
  const rows = (name: string) => json.get(name).list((row) => (row.missing ? [] : numbers(row)));
  const edges = json
    .get("le")
    .list((one) => (one.isText && /inf/i.test(one.text()) ? Number.POSITIVE_INFINITY : one.number()));
  if (edges.length > 0) {
    const buckets = rows("counts").flatMap((row) => row.map((count, index) => [edges[index] ?? 0, count] as const));
    return { values: [], buckets };
  }
  return {
    values: [
      ...rows("values").flat(),
      ...json
        .get("series")
        .list((one) => numbers(one.get("v")))
        .flat(),
    ],
    buckets: [],
  };
}
