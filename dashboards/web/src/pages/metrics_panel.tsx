// One query's answer: chart with its legend, or table.

import { useMemo, useState } from "preact/hooks";
import { queryInstant } from "../api/query.ts";
import { texts, zone } from "../app/locale.ts";
import { asTables } from "../app/tables.ts";
import { TimeChart } from "../charts/timechart.tsx";
import { GhostChart, Note, State, TroubleNote } from "../components/states.tsx";
import { clock, measured, plain, stamp } from "../model/format.ts";
import type { TimeMark } from "../model/marks.ts";
import { columns, labelText, sharedLabels, shortLabel, summary, tones, unitOf } from "../model/series.ts";
import { type Ran, type Run, useRun } from "./metrics_run.ts";
import { troubleOf, useResource } from "./resource.ts";

const DRAWN_MAX = 60;
const LEGEND_MAX = 12;

interface Props {
  readonly letter: string;
  readonly view: "graph" | "table";
  readonly run: Run;
  readonly marks: readonly TimeMark[];
  readonly first: boolean;
  readonly onZoom: (start: number, end: number) => void;
}

export function QueryPanel({ letter, view, run, marks, first, onZoom }: Props) {
  const t = texts();
  const ran = useRun(run);
  const [last, setLast] = useState<Ran | null>(null);
  if (ran.value !== null && ran.value !== last) setLast(ran.value);
  const height = first ? 284 : 220;
  if (view === "table") return <InstantTable letter={letter} run={run} />;
  const shown = ran.value ?? (ran.error === null ? last : null);
  if (ran.error !== null && ran.value === null) return null;
  if (shown === null) return <GhostChart height={height} />;
  if (shown.series.length === 0)
    return <State head={`${letter}: ${t.metrics.noSeries}`} text={t.metrics.noSeriesText} height={120} />;
  return (
    <figure class={`chart ${first ? "mt" : "mt2"}`}>
      {shown.warnings.length > 0 && <Note kind="partial">{shown.warnings.join(" ")}</Note>}
      <Graph letter={letter} run={run} ran={shown} height={height} marks={marks} onZoom={onZoom} />
    </figure>
  );
}

function Graph({
  letter,
  run,
  ran,
  height,
  marks,
  onZoom,
}: {
  letter: string;
  run: Run;
  ran: Ran;
  height: number;
  marks: readonly TimeMark[];
  onZoom: (start: number, end: number) => void;
}) {
  const t = texts();
  const [cursor, setCursor] = useState<number | null>(null);
  const [alone, setAlone] = useState<number | null>(null);
  const [more, setMore] = useState(false);
  const drawn = useMemo(() => ran.series.slice(0, DRAWN_MAX), [ran]);
  const tone = useMemo(() => tones(drawn), [drawn]);
  const shared = useMemo(() => sharedLabels(ran.series), [ran]);
  const unit = unitOf(run.query);
  const align = (at: number) => Math.floor(at / run.stepMs) * run.stepMs;
  const { times, rows } = useMemo(
    () => columns(drawn, align(run.start), align(run.end), run.stepMs),
    [drawn, run.start, run.end, run.stepMs],
  );
  const series = useMemo(
    () =>
      drawn.map((one, index) => ({
        name: shortLabel(one.labels, shared),
        tone: tone[index] ?? ("rest" as const),
        shown: alone === null || alone === index,
      })),
    [drawn, shared, tone, alone],
  );
  const legend = more ? ran.series : ran.series.slice(0, LEGEND_MAX);
  const at = cursor === null ? null : (times[cursor] ?? null);
  const value = (index: number) => (cursor === null ? null : (rows[index]?.[cursor] ?? null));
  const say = (index: number) =>
    t.chart.cursorAt(
      clock(times[index] ?? 0, zone.value, "second"),
      series
        .slice(0, 6)
        .map((one, row) => `${one.name} ${measured(rows[row]?.[index] ?? null, unit)}`)
        .join(", "),
    );
  if (asTables.value)
    return (
      <RangeTable
        letter={letter}
        times={times}
        rows={rows}
        names={series.map((one) => one.name)}
        unit={unit}
        height={height}
      />
    );
  return (
    <>
      <div class="chart-holder" style={{ blockSize: `${height}px` }}>
        <TimeChart
          name={t.metrics.chartLabel(run.query, ran.series.length)}
          times={times}
          rows={rows}
          series={series}
          unit={unit}
          height={height}
          marks={marks}
          onZoom={onZoom}
          onCursor={setCursor}
          say={say}
        />
        {at !== null && (
          <CursorTip
            at={at}
            left={(at - (times[0] ?? 0)) / Math.max(1, (times.at(-1) ?? 1) - (times[0] ?? 0))}
            entries={series
              .map((one, index) => ({ ...one, text: measured(value(index), unit), known: value(index) !== null }))
              .filter((one) => one.known && one.shown)
              .slice(0, 10)}
          />
        )}
      </div>
      <table class="t legend">
        <thead>
          <tr>
            <th>
              {letter} <span class="dim-2">{Object.keys(shared).length > 0 ? labelText(shared) : ""}</span>
            </th>
            <th class="num">
              {at === null ? "" : t.metrics.at(clock(at, zone.value, run.stepMs < 60_000 ? "second" : "minute"))}
            </th>
            <th class="num">{t.metrics.last}</th>
            <th class="num">{t.metrics.min}</th>
            <th class="num">{t.metrics.mean}</th>
            <th class="num">{t.metrics.max}</th>
          </tr>
        </thead>
        <tbody>
          {legend.map((one, index) => {
            const found = summary(one.points);
            return (
              <tr key={labelText(one.labels)}>
                <td class="lg-name">
                  <button
                    class="lg"
                    type="button"
                    aria-pressed={alone === null || alone === index}
                    title={t.metrics.isolate}
                    onClick={() => setAlone(alone === index ? null : index)}
                  >
                    <span class={`sw ${tone[index] ?? "rest"}`} />
                    <code>{shortLabel(one.labels, shared)}</code>
                  </button>
                </td>
                <td class="num">
                  <b>{cursor === null ? "" : measured(value(index), unit)}</b>
                </td>
                {[found.last, found.min, found.mean, found.max].map((figure, column) => (
                  <td key={column} class="num dim">
                    {measured(figure, unit)}
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
      {ran.series.length > LEGEND_MAX && (
        <p class="where dim-2">
          {t.releases.shownOf(legend.length, ran.series.length)}
          {!more && (
            <button class="link" type="button" onClick={() => setMore(true)}>
              {t.more}
            </button>
          )}
        </p>
      )}
    </>
  );
}

function CursorTip({
  at,
  left,
  entries,
}: {
  at: number;
  left: number;
  entries: readonly { name: string; tone: string; text: string }[];
}) {
  return (
    <div
      class={`tip at${left > 0.6 ? " left" : ""}`}
      style={{ insetInlineStart: `calc(64px + ${left} * (100% - 70px))`, insetBlockStart: "28px" }}
    >
      <table>
        <tbody>
          <tr>
            <td colSpan={2}>
              <b>{clock(at, zone.value, "second")}</b>
            </td>
          </tr>
          {entries.map((one) => (
            <tr key={one.name}>
              <td>
                <span class={`sw ${one.tone}`} />
                {one.name.slice(0, 60)}
              </td>
              <td class="num">
                <b>{one.text}</b>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const ROWS_MAX = 400;

/** The chart's text twin. */
function RangeTable({
  letter,
  times,
  rows,
  names,
  unit,
  height,
}: {
  letter: string;
  times: readonly number[];
  rows: readonly (readonly (number | null)[])[];
  names: readonly string[];
  unit: string;
  height: number;
}) {
  const t = texts();
  const shown = names.slice(0, 8);
  const order = times
    .map((_t, index) => index)
    .reverse()
    .filter((index) => rows.some((row) => row[index] !== null))
    .slice(0, ROWS_MAX);
  return (
    <div
      class="twin-table"
      tabIndex={0}
      role="region"
      aria-label={`${letter}: ${t.metrics.table}`}
      style={{ "--h": `${height}px` }}
    >
      <table class="t">
        <thead>
          <tr>
            <th>
              {letter} {t.metrics.time}
            </th>
            {shown.map((name) => (
              <th key={name} class="num">
                <code>{name}</code>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {order.map((index) => (
            <tr key={index}>
              <td class="nw">{clock(times[index] ?? 0, zone.value, "second")}</td>
              {shown.map((name, row) => (
                <td key={name} class="num">
                  {measured(rows[row]?.[index] ?? null, unit)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The values at the end of the range, by an instant query. */
function InstantTable({ letter, run }: { letter: string; run: Run }) {
  const t = texts();
  const asked = useResource(`instant ${run.query} ${run.end} ${run.turn}`, (signal) =>
    queryInstant(run.query, run.end, signal),
  );
  const [rows, setRows] = useState(100);
  if (asked.error !== null && asked.error.kind !== "aborted")
    return <TroubleNote trouble={troubleOf(asked.error)} onRetry={asked.reload} />;
  if (asked.value === null) return <GhostChart height={160} />;
  const data = asked.value.data;
  if (data.kind === "other")
    return <State head={letter} text={t.metrics.notVector(data.type, data.series)} height={80} />;
  if (data.samples.length === 0)
    return <State head={`${letter}: ${t.metrics.noSeries}`} text={t.metrics.noSeriesText} height={120} />;
  return (
    <>
      <table class="t mt">
        <caption class="sr">{t.metrics.tableAt(stamp(run.end, zone.value, "second"))}</caption>
        <thead>
          <tr>
            <th>
              {letter} {t.metrics.seriesHead}
            </th>
            <th class="num">{t.metrics.value}</th>
          </tr>
        </thead>
        <tbody>
          {data.samples.slice(0, rows).map((one) => (
            <tr key={labelText(one.labels)}>
              <td>
                <code>{labelText(one.labels)}</code>
              </td>
              <td class="num" title={String(one.value)}>
                {plain(one.value)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {data.samples.length > rows && (
        <p class="where dim-2">
          {t.releases.shownOf(rows, data.samples.length)}
          <button class="link" type="button" onClick={() => setRows(rows + 400)}>
            {t.more}
          </button>
        </p>
      )}
    </>
  );
}
