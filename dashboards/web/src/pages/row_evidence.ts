// The evidence of a row, from the release's looks where the list does not carry it.
// Asked only for rows on the screen, a few at a time, and once for what is decided.

import { useEffect, useRef, useState } from "preact/hooks";
import { fetchLooks } from "../api/looks.ts";
import { evidenceLine } from "../model/evidence.ts";
import type { EvidencePoint, ReleaseSummary } from "../model/release.ts";

const POINTS = 80;
const AT_ONCE = 2;
const RUNNING_MS = 10_000;

const kept = new Map<string, readonly EvidencePoint[]>();
const waiting: (() => Promise<void>)[] = [];
let running = 0;

function enqueue(job: () => Promise<void>): void {
  waiting.push(job);
  pump();
}

function pump(): void {
  while (running < AT_ONCE) {
    const job = waiting.shift();
    if (!job) return;
    running += 1;
    void job().finally(() => {
      running -= 1;
      pump();
    });
  }
}

export function useRowEvidence(release: ReleaseSummary): {
  ref: { current: HTMLDivElement | null };
  points: readonly EvidencePoint[];
} {
  const ref = useRef<HTMLDivElement>(null);
  const own = release.evidence;
  const open = release.state === "running" && !release.final;
  const key = `${release.id} ${release.decidedAt ?? ""} ${release.final}`;
  const [points, setPoints] = useState<readonly EvidencePoint[]>(kept.get(key) ?? []);
  const given = own.length > 0;
  useEffect(() => {
    if (given || (kept.has(key) && !open) || release.state === "pending") return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = () =>
      enqueue(async () => {
        if (stop.signal.aborted) return;
        const answer = await fetchLooks(release.id, stop.signal);
        if (!answer.ok) return;
        const line = evidenceLine(answer.value, POINTS);
        kept.set(key, line);
        setPoints(line);
        if (open && !stop.signal.aborted) timer = setTimeout(ask, RUNNING_MS);
      });
    const watch = new IntersectionObserver((entries) => {
      if (!entries.some((one) => one.isIntersecting)) return;
      watch.disconnect();
      ask();
    });
    if (ref.current) watch.observe(ref.current);
    return () => {
      stop.abort();
      watch.disconnect();
      clearTimeout(timer);
    };
  }, [key, given, open, release.id, release.state]);
  return { ref, points: given ? own : points };
}
