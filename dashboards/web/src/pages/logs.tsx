// Logs: when did it start, which pattern, which side?

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { fetchHistogram } from "../api/logs_histogram.ts";
import { fetchPatterns } from "../api/logs_patterns.ts";
import { type LogsPage, searchLogs } from "../api/logs_search.ts";
import { language, texts, zone, zoneName } from "../app/locale.ts";
import { route, setParams } from "../app/route.ts";
import { useTitle } from "../app/title.ts";
import { Pick, Tabs } from "../components/controls.tsx";
import { Icon } from "../components/icon.tsx";
import { QueryInput } from "../components/query_input.tsx";
import { RangePicker } from "../components/range.tsx";
import { Foot } from "../components/shell.tsx";
import { Keys } from "../components/text.tsx";
import { type Range, resolve, stepFor, writeDuration } from "../model/duration.ts";
import { bytes, count, span } from "../model/format.ts";
import {
  type Filter,
  type LogRecord,
  readFilter,
  templateQuery,
  toggleFilter,
  withFilters,
  writeFilter,
} from "../model/log.ts";
import { searchTokens } from "../model/logquery.ts";
import { Chips } from "./logs_chips.tsx";
import { Facets } from "./logs_facets.tsx";
import { HistogramPart } from "./logs_histogram.tsx";
import { PatternsPart } from "./logs_patterns.tsx";
import { RecordsPart } from "./logs_records.tsx";
import { useMarks } from "./marks.ts";
import { useResource } from "./resource.ts";

const DEFAULT_RANGE: Range = { from: "now-1h", to: "now" };
const PAGE = 200;
const BARS = 90;
/** Templates are fetched beside the records up to so many matches, to mark what varies in each body. */
const TEMPLATES_UP_TO = 500_000;

type Order = "newest" | "oldest";

export interface Asked {
  readonly query: string;
  readonly match: string | undefined;
  readonly start: string;
  readonly end: string;
}

export default function Logs() {
  const t = texts();
  useTitle(t.logs.title);
  const search = route.value.search;
  const typed = search.get("q") ?? "";
  const match = search.get("match") ?? "";
  const filters = useMemo(() => search.getAll("f").flatMap((text) => readFilter(text) ?? []), [search]);
  const order: Order = search.get("order") === "oldest" ? "oldest" : "newest";
  const view = search.get("view") === "patterns" ? "patterns" : "records";
  const range: Range = { from: search.get("from") ?? DEFAULT_RANGE.from, to: search.get("to") ?? DEFAULT_RANGE.to };
  const [draft, setDraft] = useState(typed);
  const [turn, setTurn] = useState(0);
  useEffect(() => setDraft(typed), [typed]);
  const resolved = useResolved(range, `${typed} ${match} ${turn}`);
  const asked: Asked = {
    query: withFilters(typed, filters),
    match: match || undefined,
    start: new Date(resolved.start).toISOString(),
    end: new Date(resolved.end).toISOString(),
  };
  const key = JSON.stringify([asked, turn]);
  const stepMs = stepFor(resolved.end - resolved.start, BARS);

  const histogram = useResource(`histogram ${key}`, (signal) =>
    fetchHistogram({ ...asked, step: writeDuration(stepMs), by: "severity" }, signal),
  );
  const small = (histogram.value?.total ?? Number.POSITIVE_INFINITY) <= TEMPLATES_UP_TO;
  const records = useRecords(asked, order, `${key} ${order}`);
  const patterns = useResource(view === "patterns" || small ? `patterns ${key}` : null, (signal) =>
    fetchPatterns({ ...asked, limit: 200 }, signal),
  );
  const marks = useMarks(resolved);
  const total = histogram.value?.total ?? null;
  const templates = useMemo(() => new Map(patterns.value?.patterns.map((one) => [one.id, one.text])), [patterns.value]);

  const run = () => {
    setTurn((one) => one + 1);
    setParams({ q: draft.trim() });
  };
  const filter = (one: Filter) => setParams({ f: toggleFilter(filters, one).map(writeFilter) });
  const zoom = (start: number, end: number) =>
    setParams({ from: String(Math.round(start)), to: String(Math.round(end)) });
  const stats = records.first?.stats;
  return (
    <div class="in">
      <div class="titlebar">
        <h1>{t.logs.title}</h1>
        <div class="acts">
          <RangePicker
            range={range}
            resolved={resolved}
            onChange={(next) => setParams({ from: next.from, to: next.to })}
          />
          <button class="btn" type="button" onClick={() => setTurn(turn + 1)}>
            <Icon name="refresh" small />
            {t.range.refresh}
          </button>
        </div>
      </div>
      <QueryInput
        main
        label={t.logs.search}
        value={draft}
        placeholder={t.logs.placeholder}
        gutter={<Icon name="search" small />}
        tokens={searchTokens}
        onInput={setDraft}
        onRun={run}
        bad={records.error?.kind === "refused" && records.error.code === "invalid"}
        end={
          <>
            <span class="nar-hide">
              {total !== null &&
                t.logs.found(count(total), stats?.elapsedMs == null ? "" : span(stats.elapsedMs, language.value))}
            </span>
            <button class="btn primary small" type="button" onClick={run}>
              {t.logs.search}
            </button>
          </>
        }
      />
      <Chips
        filters={filters}
        match={match}
        onRemove={filter}
        onAdd={filter}
        onMatch={(text) => setParams({ match: text })}
      />
      <HistogramPart histogram={histogram} stepMs={stepMs} range={resolved} marks={marks} onZoom={zoom} />
      <div class="explore logs">
        <Facets asked={asked} records={records.records} filters={filters} onFilter={filter} turn={key} />
        <div class="panels">
          <div class="tabline">
            <Tabs
              label={t.release.one.view}
              style="line"
              panel="logs-panel"
              value={view}
              onChange={(next) => setParams({ view: next === "records" ? null : next }, "replace")}
              choices={[
                { value: "records", text: t.logs.records, count: total ?? undefined },
                { value: "patterns", text: t.logs.patterns, count: patterns.value?.patterns.length },
              ]}
            />
            {view === "records" && (
              <Pick
                label={t.logs.order}
                value={order}
                options={[
                  ["newest", t.logs.newest],
                  ["oldest", t.logs.oldest],
                ]}
                onChange={(value) => setParams({ order: value === "oldest" ? value : null }, "replace")}
              />
            )}
          </div>
          <div id="logs-panel" role="tabpanel" aria-label={view === "records" ? t.logs.records : t.logs.patterns}>
            {view === "records" ? (
              <RecordsPart
                records={records}
                total={total}
                templates={templates}
                filters={filters}
                ever={typed === "" && filters.length === 0 && match === ""}
                onPattern={(template) => setParams({ q: templateQuery(template) })}
                onFilter={filter}
                onDrop={() => setParams({ q: null, f: null, match: null })}
                onWider={() => setParams({ from: "now-24h", to: "now" })}
              />
            ) : (
              <PatternsPart
                patterns={patterns}
                total={total}
                onChoose={(pattern) => setParams({ q: templateQuery(pattern.text), view: null })}
              />
            )}
          </div>
        </div>
      </div>
      <Foot>
        {stats && <span>{searchedText(stats)}</span>}
        <span>
          <Keys of="/" /> {t.logs.searchKey}
        </span>
        <span>
          <Keys of="j k" /> {t.logs.move}
        </span>
        <span>
          <Keys of="↵" /> {t.logs.open}
        </span>
        <span>{t.allTimes(zoneName())}</span>
      </Foot>
    </div>
  );
}

function searchedText(stats: LogsPage["stats"]): string {
  const t = texts().logs;
  const parts = [
    stats.bytes === null ? "" : bytes(stats.bytes),
    stats.scanned === null ? "" : t.scannedRecords(count(stats.scanned)),
    stats.segments === null ? "" : t.segments(count(stats.segments)),
  ].filter((one) => one !== "");
  return parts.length === 0 ? "" : t.searched(parts.join(", "));
}

/** The range as times; "now" moves only when something is asked anew. */
function useResolved(range: Range, turn: string) {
  const last = useRef({ start: Date.now() - 3_600_000, end: Date.now() });
  // A new search moves "now".
  return useMemo(() => {
    const found = resolve(range, Date.now(), zone.value === "utc") ?? resolve(DEFAULT_RANGE, Date.now(), true);
    if (found) last.current = found;
    return last.current;
  }, [range.from, range.to, turn]);
}

export interface Records {
  readonly records: readonly LogRecord[];
  readonly first: LogsPage | null;
  readonly loading: boolean;
  readonly error: ReturnType<typeof useResource>["error"];
  readonly more: boolean;
  readonly loadMore: () => void;
  readonly reload: () => void;
  readonly partial: boolean;
  readonly warnings: readonly string[];
}

/** Pages of records, one after the other, following the cursor. */
function useRecords(asked: Asked, order: Order, key: string): Records {
  const first = useResource(`records ${key}`, (signal) => searchLogs({ ...asked, limit: PAGE, order }, signal));
  const [later, setLater] = useState<{ key: string; pages: readonly LogsPage[] }>({ key, pages: [] });
  const [loading, setLoading] = useState(false);
  const [failed, setFailed] = useState<Records["error"]>(null);
  const pages = first.value === null ? [] : [first.value, ...(later.key === key ? later.pages : [])];
  const cursor = pages.at(-1)?.cursor ?? null;
  const loadMore = () => {
    if (cursor === null || loading) return;
    setLoading(true);
    void searchLogs({ ...asked, limit: PAGE, cursor, order }).then((answer) => {
      setLoading(false);
      setFailed(answer.ok ? null : answer.error);
      if (answer.ok) setLater((old) => ({ key, pages: [...(old.key === key ? old.pages : []), answer.value] }));
    });
  };
  return {
    records: useMemo(() => pages.flatMap((page) => page.records), [first.value, later, key]),
    first: first.value,
    loading: first.loading || loading,
    error: first.error ?? failed,
    more: cursor !== null,
    loadMore,
    reload: first.reload,
    partial: pages.some((page) => page.partial),
    warnings: [...new Set(pages.flatMap((page) => page.warnings))],
  };
}
