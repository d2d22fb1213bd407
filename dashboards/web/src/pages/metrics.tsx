// Metrics: do the lines part, when, and what happened then?

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { language, texts, zone, zoneName } from "../app/locale.ts";
import { route, setParams } from "../app/route.ts";
import { useTitle } from "../app/title.ts";
import { Tabs } from "../components/controls.tsx";
import { Icon } from "../components/icon.tsx";
import { RangePicker } from "../components/range.tsx";
import { Foot } from "../components/shell.tsx";
import { State } from "../components/states.tsx";
import { Keys } from "../components/text.tsx";
import { parseDuration, type Range, rateInterval, resolve, stepFor } from "../model/duration.ts";
import { span, stamp } from "../model/format.ts";
import { useMarks } from "./marks.ts";
import { Browse, useNames } from "./metrics_browse.tsx";
import { QueryLine } from "./metrics_line.tsx";
import { QueryPanel } from "./metrics_panel.tsx";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DEFAULT_RANGE: Range = { from: "now-1h", to: "now" };

interface Line {
  readonly text: string;
  readonly hidden: boolean;
}

export default function Metrics() {
  const t = texts();
  useTitle(t.metrics.title);
  const search = route.value.search;
  const asked = useMemo(() => readState(search), [search]);
  const [drafts, setDrafts] = useState<readonly Line[]>(asked.lines);
  const [turn, setTurn] = useState(0);
  const [view, setView] = useState<"graph" | "table">(search.get("view") === "table" ? "table" : "graph");
  const written = asked.lines.map((line) => line.text).join("\n");
  // Going back brings the earlier queries into the boxes.
  useEffect(() => setDrafts(asked.lines), [written]);

  const resolved = useResolved(asked.range, turn);
  const stepMs = stepFor(resolved.end - resolved.start, 240);
  const marks = useMarks(resolved);
  const names = useNames();
  const running = asked.lines.filter((line) => !line.hidden && line.text.trim() !== "");

  const commit = (lines: readonly Line[]) => {
    const kept = lines.length === 0 ? [{ text: "", hidden: false }] : lines;
    setDrafts(kept);
    setTurn((one) => one + 1);
    setParams({
      q: kept.map((line) => line.text.trim()).filter((text) => text !== ""),
      hide: kept.flatMap((line, index) => (line.hidden ? [LETTERS[index] ?? ""] : [])),
      ...GRAPH_PARAMS,
    });
  };
  const change = (index: number, line: Line) => drafts.map((old, at) => (at === index ? line : old));
  const choose = (name: string) => {
    const last = drafts.length - 1;
    const target = drafts[last]?.text.trim() === "" ? last : drafts.length;
    commit([...drafts.slice(0, target), { text: name, hidden: false }, ...drafts.slice(target + 1)]);
  };
  const zoom = (start: number, end: number) =>
    setParams({ from: String(Math.round(start)), to: String(Math.round(end)) });
  const ask = (text: string) =>
    text
      .replaceAll("$__rate_interval", rateInterval(stepMs))
      .replaceAll("$__interval", `${Math.round(stepMs / 1000)}s`)
      .replaceAll("$__range", `${Math.round((resolved.end - resolved.start) / 1000)}s`);

  return (
    <div class="in">
      <div class="titlebar">
        <h1>{t.metrics.title}</h1>
        <div class="acts">
          <RangePicker
            range={asked.range}
            resolved={resolved}
            onChange={(range) => setParams({ from: range.from, to: range.to })}
          />
          <button class="btn" type="button" onClick={() => setTurn(turn + 1)}>
            <Icon name="refresh" small />
            {t.range.refresh}
          </button>
        </div>
      </div>
      <div class="queries">
        {drafts.map((line, index) => (
          <QueryLine
            key={index}
            letter={LETTERS[index] ?? "?"}
            line={line}
            main={index === 0}
            run={
              asked.lines[index]?.text === line.text && !line.hidden && line.text.trim() !== ""
                ? { query: ask(line.text), ...resolved, stepMs, turn }
                : null
            }
            others={running.length > 1}
            names={names.names}
            onInput={(text) => setDrafts(change(index, { ...line, text }))}
            onRun={() => commit(drafts)}
            onHide={() => commit(change(index, { ...line, hidden: !line.hidden }))}
            onRemove={
              drafts.length > 1 || line.text !== "" ? () => commit(drafts.filter((_line, at) => at !== index)) : null
            }
          />
        ))}
        <div class="row">
          <button
            class="btn small"
            type="button"
            disabled={drafts.length >= LETTERS.length}
            onClick={() => setDrafts([...drafts, { text: "", hidden: false }])}
          >
            <Icon name="plus" small />
            {t.metrics.add}
          </button>
          <span class="dim-2">{t.metrics.runs(span(stepMs, language.value))}</span>
          <span class="grow" />
        </div>
      </div>
      <div class="explore">
        <Browse names={names} onChoose={choose} />
        <div class="panels">
          <Tabs
            label={t.release.one.view}
            style="line"
            panel="panels"
            value={view}
            onChange={(next) => {
              setView(next);
              setParams({ view: next === "graph" ? null : next }, "replace");
            }}
            choices={[
              { value: "graph", text: t.metrics.graph },
              { value: "table", text: t.metrics.table },
            ]}
          />
          <div id="panels" role="tabpanel" aria-label={view === "graph" ? t.metrics.graph : t.metrics.table}>
            {running.length === 0 &&
              (names.empty ? (
                <State
                  head={t.metrics.noMetrics}
                  text={t.metrics.noMetricsText}
                  command="greylight demo"
                  height={220}
                />
              ) : (
                <State head={t.metrics.empty} text={t.metrics.emptyText} height={220} />
              ))}
            {asked.lines.map((line, index) =>
              line.hidden || line.text.trim() === "" ? null : (
                <QueryPanel
                  key={`${index} ${line.text}`}
                  letter={LETTERS[index] ?? "?"}
                  view={view}
                  run={{ query: ask(line.text), ...resolved, stepMs, turn }}
                  marks={marks}
                  first={index === 0}
                  onZoom={zoom}
                />
              ),
            )}
          </div>
        </div>
      </div>
      <Foot>
        <span>
          {stamp(resolved.start, zone.value)} – {stamp(resolved.end, zone.value)}
        </span>
        <span>{t.metrics.zoom}</span>
        <span>
          <Keys of="← →" /> {t.metrics.cursor}
        </span>
        <span>
          <Keys of="t" /> {t.metrics.chartTable}
        </span>
        <span>{t.allTimes(zoneName())}</span>
      </Foot>
    </div>
  );
}

/** Parameters of Prometheus' own graph page, dropped once they were taken over. */
const GRAPH_PARAMS: Readonly<Record<string, null>> = {
  "g0.expr": null,
  "g0.range_input": null,
  "g0.end_input": null,
  "g0.tab": null,
};

function readState(search: URLSearchParams): { lines: Line[]; range: Range } {
  const hidden = new Set(search.getAll("hide"));
  const pasted = [...search.keys()]
    .filter((key) => /^g\d+\.expr$/.test(key))
    .sort()
    .flatMap((key) => search.getAll(key));
  const queries = [...search.getAll("q"), ...pasted];
  const lines = (queries.length === 0 ? [""] : queries).map((text, index) => ({
    text,
    hidden: hidden.has(LETTERS[index] ?? ""),
  }));
  const back = search.get("g0.range_input");
  const fallback = back !== null && parseDuration(back) !== null ? { from: `now-${back}`, to: "now" } : DEFAULT_RANGE;
  return { lines, range: { from: search.get("from") ?? fallback.from, to: search.get("to") ?? fallback.to } };
}

/** The range as times, fixed until it changes or is refreshed, so that all charts of the page agree. */
function useResolved(range: Range, turn: number) {
  const last = useRef({ start: Date.now() - 3_600_000, end: Date.now() });
  // A refresh moves "now".
  return useMemo(() => {
    const found = resolve(range, Date.now(), zone.value === "utc") ?? resolve(DEFAULT_RANGE, Date.now(), true);
    if (found) last.current = found;
    return last.current;
  }, [range.from, range.to, turn]);
}
