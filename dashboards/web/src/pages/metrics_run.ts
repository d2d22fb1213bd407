// One query over the page's range. The line above and the panel below read the same answer.

import type { Answer } from "../api/client.ts";
import type { Enveloped } from "../api/prometheus.ts";
import { queryRange } from "../api/query_range.ts";
import type { Series } from "../model/series.ts";
import { type Resource, useResource } from "./resource.ts";

export interface Run {
  readonly query: string;
  readonly start: number;
  readonly end: number;
  readonly stepMs: number;
  readonly turn: number;
}

export interface Ran {
  readonly series: readonly Series[];
  readonly warnings: readonly string[];
  readonly tookMs: number;
}

const shared = new Map<string, Promise<Answer<Ran>>>();

export function useRun(run: Run | null): Resource<Ran> {
  const key = run === null ? null : `${run.query} ${run.start} ${run.end} ${run.stepMs} ${run.turn}`;
  return useResource(key, () => ask(key ?? "", run));
}

function ask(key: string, run: Run | null): Promise<Answer<Ran>> {
  const known = shared.get(key);
  if (known) return known;
  const began = performance.now();
  const align = (t: number) => Math.floor(t / (run?.stepMs ?? 1)) * (run?.stepMs ?? 1);
  const asked = queryRange({
    query: run?.query ?? "",
    startMs: align(run?.start ?? 0),
    endMs: align(run?.end ?? 0),
    stepMs: run?.stepMs ?? 1000,
  }).then((answer) => read(answer, began));
  shared.set(key, asked);
  // A handful is enough: the line and the panel of each query on the page.
  for (const old of [...shared.keys()].slice(0, -64)) shared.delete(old);
  return asked;
}

function read(answer: Answer<Enveloped<Series[]>>, began: number): Answer<Ran> {
  return answer.ok
    ? {
        ok: true,
        value: { series: answer.value.data, warnings: answer.value.warnings, tookMs: performance.now() - began },
      }
    : answer;
}
