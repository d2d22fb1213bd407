// Every metric that exists, with its type, unit and labels.

import { useEffect, useState } from "preact/hooks";
import { fetchLabelValues } from "../api/label_values.ts";
import { fetchMetadata } from "../api/metadata.ts";
import { fetchSeries, SERIES_LIMIT } from "../api/series.ts";
import { texts } from "../app/locale.ts";
import { Find } from "../components/controls.tsx";
import { TroubleNote } from "../components/states.tsx";
import { count } from "../model/format.ts";
import { rank } from "../model/promql.ts";
import type { Metric } from "../model/series.ts";
import { type Resource, troubleOf, useResource } from "./resource.ts";

const SHOWN_MAX = 80;

export interface Names {
  readonly names: readonly string[];
  readonly metadata: ReadonlyMap<string, Metric>;
  readonly asked: Resource<string[]>;
  /** True once the server has said that it stores no metric. */
  readonly empty: boolean;
}

export function useNames(): Names {
  const asked = useResource("names", (signal) => fetchLabelValues("__name__", "", signal), { everyMs: 60_000 });
  const metadata = useResource("metadata", (signal) => fetchMetadata(signal));
  return {
    names: asked.value ?? [],
    metadata: metadata.value ?? new Map(),
    asked,
    empty: asked.value !== null && asked.value.length === 0,
  };
}

export function Browse({ names, onChoose }: { names: Names; onChoose: (name: string) => void }) {
  const t = texts();
  const words = t.metrics;
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState<string | null>(null);
  const found =
    text.trim() === ""
      ? names.names
      : [...rank(names.names, text.trim(), names.names.length), ...names.names.filter((one) => one === text.trim())];
  const shown = found.slice(0, SHOWN_MAX);
  const error = names.asked.error;
  return (
    <aside class="browse" aria-label={words.exist}>
      <Find label={words.find} value={text} onInput={setText} />
      {error !== null && names.asked.value === null && error.kind !== "aborted" && (
        <TroubleNote trouble={troubleOf(error)} onRetry={names.asked.reload} />
      )}
      <ul>
        {shown.map((name) => (
          <li key={name} aria-current={name === chosen ? "true" : undefined}>
            <button
              class="pick-metric"
              type="button"
              onClick={() => {
                setChosen(name);
                onChoose(name);
              }}
              title={names.metadata.get(name)?.help}
            >
              <code>
                <Highlighted name={name} part={text.trim()} />
              </code>
              <span class="dim-2">{describe(names.metadata.get(name))}</span>
            </button>
          </li>
        ))}
      </ul>
      <p class="hint">
        {words.names(shown.length, count(names.names.length))}
        {chosen !== null && <LabelsOf metric={chosen} />}
      </p>
    </aside>
  );
}

function describe(metric: Metric | undefined): string {
  if (!metric) return "\u00a0";
  return metric.unit === "" ? metric.type : `${metric.type}, ${metric.unit}`;
}

function Highlighted({ name, part }: { name: string; part: string }) {
  const at = part === "" ? -1 : name.toLowerCase().indexOf(part.toLowerCase());
  if (at < 0) return <>{name}</>;
  return (
    <>
      {name.slice(0, at)}
      <b>{name.slice(at, at + part.length)}</b>
      {name.slice(at + part.length)}
    </>
  );
}

/** How many values each label of a metric has, from its series. */
function LabelsOf({ metric }: { metric: string }) {
  const t = texts();
  const series = useResource(`series ${metric}`, (signal) =>
    fetchSeries(`{__name__=${JSON.stringify(metric)}}`, signal),
  );
  const [text, setText] = useState("");
  useEffect(() => {
    const values = new Map<string, Set<string>>();
    for (const labels of series.value ?? []) {
      for (const [key, value] of Object.entries(labels)) {
        if (key === "__name__") continue;
        values.set(key, (values.get(key) ?? new Set()).add(value));
      }
    }
    const listed = [...values].sort((a, b) => b[1].size - a[1].size).map(([key, found]) => `${key} ${found.size}`);
    setText(listed.join(", "));
  }, [series.value]);
  if (text === "") return null;
  return (
    <>
      . {t.metrics.labelsOf(text)}
      {(series.value?.length ?? 0) >= SERIES_LIMIT ? ` (${t.metrics.truncated})` : ""}
    </>
  );
}
