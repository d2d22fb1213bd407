// Releases as marks on a chart of time: what happened then?

import { useMemo } from "preact/hooks";
import { fetchReleases } from "../api/releases.ts";
import { texts } from "../app/locale.ts";
import type { Resolved } from "../model/duration.ts";
import { percent } from "../model/format.ts";
import { type TimeMark, thin } from "../model/marks.ts";
import type { ReleaseSummary } from "../model/release.ts";
import { useResource } from "./resource.ts";

const MARKS_MAX = 12;

/** Starts of phases and refusals inside the range. A server without releases, or one that refuses, gives no marks. */
export function useMarks(range: Resolved): readonly TimeMark[] {
  const from = Math.floor(range.start / 60_000) * 60_000 - 86_400_000;
  const found = useResource(`marks ${from} ${Math.floor(range.end / 60_000)}`, (signal) =>
    fetchReleases({ start: new Date(from).toISOString(), end: new Date(range.end).toISOString(), limit: 50 }, signal),
  );
  const noGo = texts().decision.no_go.toLowerCase();
  return useMemo(() => {
    const all = (found.value?.releases ?? []).flatMap((release) => marksOf(release, noGo));
    const inside = all.filter((mark) => mark.at > range.start && mark.at < range.end).slice(0, MARKS_MAX);
    return thin(inside, range.start, range.end);
  }, [found.value, range.start, range.end, noGo]);
}

function marksOf(release: ReleaseSummary, noGo: string): TimeMark[] {
  const phases = release.phases.flatMap((phase, index): TimeMark[] => {
    if (phase.startedAt === null) return [];
    const share = phase.trafficShare === null ? phase.name : percent(phase.trafficShare);
    return [
      {
        at: phase.startedAt,
        text: index === 0 ? `${release.service} ${release.canary}, ${share}` : share,
        refused: false,
      },
    ];
  });
  const refused =
    release.decision === "no_go" && release.decidedAt !== null
      ? [{ at: release.decidedAt, text: `${release.service} ${release.canary}, ${noGo}`, refused: true }]
      : [];
  return [...phases, ...refused];
}
