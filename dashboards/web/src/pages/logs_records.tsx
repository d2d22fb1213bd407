// The records themselves. Long bodies are cut until asked for; more are loaded as the end comes near.

import { useEffect, useRef, useState } from "preact/hooks";
import { fetchContext } from "../api/logs_context.ts";
import { useShortcuts } from "../app/keys.ts";
import { language, texts, zone } from "../app/locale.ts";
import { CopyButton, Dialog } from "../components/controls.tsx";
import { Icon } from "../components/icon.tsx";
import { GhostRows, Note, State, TroubleNote } from "../components/states.tsx";
import { Pieces, Rich, SeverityWord, Template } from "../components/text.tsx";
import { bytes, clock, count, moment } from "../model/format.ts";
import { type Filter, hostOf, type LogRecord, trackOf, variables } from "../model/log.ts";
import type { Records } from "./logs.tsx";
import { troubleOf, useResource } from "./resource.ts";

const CUT = 2048;

interface Props {
  readonly records: Records;
  readonly total: number | null;
  /** Template texts by id: records carry the id. */
  readonly templates: ReadonlyMap<string, string>;
  readonly filters: readonly Filter[];
  /** True where nothing narrows the search, so that no record means none is stored. */
  readonly ever: boolean;
  readonly onFilter: (filter: Filter) => void;
  readonly onPattern: (template: string) => void;
  readonly onDrop: () => void;
  readonly onWider: () => void;
}

export function RecordsPart({ records, total, templates, filters, ever, onFilter, onPattern, onDrop, onWider }: Props) {
  const t = texts();
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [around, setAround] = useState<LogRecord | null>(null);
  const table = useRef<HTMLTableElement>(null);
  const move = (step: 1 | -1) => {
    const buttons = [...(table.current?.querySelectorAll<HTMLElement>("button.tw") ?? [])];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    buttons[Math.max(0, Math.min(buttons.length - 1, at + step))]?.focus();
  };
  useShortcuts({ j: () => move(1), k: () => move(-1) });
  const toggle = (id: string) =>
    setOpen((old) => {
      const next = new Set(old);
      if (!next.delete(id)) next.add(id);
      return next;
    });
  const last = records.records.at(-1);
  if (records.error !== null && records.error.kind !== "aborted" && records.first === null)
    return <TroubleNote trouble={troubleOf(records.error)} onRetry={records.reload} />;
  if (records.first !== null && records.records.length === 0) {
    return ever ? (
      <State head={t.logs.noResult} text={t.logs.emptyText} command="greylight demo" height={200}>
        <button class="btn" type="button" onClick={onWider}>
          {t.logs.last}
        </button>
      </State>
    ) : (
      <State head={t.logs.noResult} text={t.logs.noResultText} height={200}>
        <button class="btn" type="button" onClick={onDrop}>
          {t.logs.dropFilters}
        </button>
        <button class="btn" type="button" onClick={onWider}>
          {t.logs.last}
        </button>
      </State>
    );
  }
  return (
    <>
      {(records.partial || records.warnings.length > 0) && (
        <Note kind="partial">
          <Rich text={t.errors.partial} /> {records.warnings.join(" ")}
        </Note>
      )}
      <table role="table" class="t recs" ref={table} aria-busy={records.first === null}>
        <thead role="rowgroup" class="sr">
          <tr role="row">
            <th role="columnheader">{t.logs.head.time}</th>
            <th role="columnheader">{t.logs.head.severity}</th>
            <th role="columnheader">{t.logs.head.host}</th>
            <th role="columnheader">{t.logs.head.body}</th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {records.first === null ? (
            <GhostRows rows={10} widths={[60, 40, 50, 90]} />
          ) : (
            records.records.map((record, index) => (
              <RecordRow
                key={`${record.id} ${index}`}
                record={record}
                template={templates.get(record.pattern) ?? record.pattern}
                open={open.has(record.id)}
                filters={filters}
                onToggle={() => toggle(record.id)}
                onFilter={onFilter}
                onPattern={onPattern}
                onAround={() => setAround(record)}
              />
            ))
          )}
        </tbody>
      </table>
      {records.error !== null && records.first !== null && (
        <TroubleNote trouble={troubleOf(records.error)} onRetry={records.loadMore} />
      )}
      {last && (
        <p class="where dim-2">
          {records.more
            ? t.logs.shown(
                count(records.records.length),
                count(total),
                moment(last.time, Date.now(), zone.value, language.value, "second"),
              )
            : t.logs.endOf}
          {records.more && (
            <button class="link" type="button" onClick={records.loadMore}>
              {t.logs.older}
            </button>
          )}
        </p>
      )}
      {records.more && <Near onNear={records.loadMore} />}
      {around && <Around record={around} onClose={() => setAround(null)} />}
    </>
  );
}

/** Asks for more when the end of the list comes near the screen. */
function Near({ onNear }: { onNear: () => void }) {
  const mark = useRef<HTMLDivElement>(null);
  const latest = useRef(onNear);
  latest.current = onNear;
  useEffect(() => {
    const watch = new IntersectionObserver((entries) => entries.some((one) => one.isIntersecting) && latest.current(), {
      rootMargin: "300px",
    });
    if (mark.current) watch.observe(mark.current);
    return () => watch.disconnect();
  }, []);
  return <div ref={mark} />;
}

interface RowProps {
  readonly record: LogRecord;
  readonly template: string;
  readonly open: boolean;
  readonly filters: readonly Filter[];
  readonly onToggle: () => void;
  readonly onFilter: (filter: Filter) => void;
  readonly onPattern: (template: string) => void;
  readonly onAround: () => void;
}

function RecordRow({ record, template, open, filters, onToggle, onFilter, onPattern, onAround }: RowProps) {
  const t = texts();
  const track = trackOf(record);
  return (
    <>
      <tr role="row" class={open ? "exp" : undefined}>
        <td role="cell" class="tm">
          <button
            class="tw"
            type="button"
            aria-label={open ? t.logs.closeRecord : t.logs.openRecord}
            aria-expanded={open}
            onClick={onToggle}
          >
            <Icon name={open ? "caret" : "right"} small />
          </button>
          <code title={record.timeText}>{clock(record.time, zone.value, "milli")}</code>
        </td>
        <td role="cell">
          <SeverityWord severity={record.severity} />
        </td>
        <td role="cell" class="hs">
          {track && <span class={`sw ${track}`} title={t.side[track]} />}
          <code>{hostOf(record)}</code>
        </td>
        <td role="cell" class="bd">
          <code>
            <Body record={record} template={template} />
          </code>
        </td>
      </tr>
      {open && (
        <tr role="row" class="rec-open">
          <td role="cell" />
          <td role="cell" colSpan={3}>
            <Opened
              record={record}
              template={template}
              filters={filters}
              onFilter={onFilter}
              onPattern={onPattern}
              onAround={onAround}
            />
          </td>
        </tr>
      )}
    </>
  );
}

/** A body as text, its variables strong where its template is known, cut when it is very long. */
function Body({ record, template }: { record: LogRecord; template: string }) {
  const t = texts();
  const [whole, setWhole] = useState(false);
  const long = record.body.length > CUT;
  const text = long && !whole ? record.body.slice(0, CUT) : record.body;
  return (
    <>
      {long ? text : <Pieces pieces={variables(text, template)} />}
      {long && !whole && (
        <>
          …{" "}
          <button class="link" type="button" onClick={() => setWhole(true)}>
            {t.logs.showAll(bytes(record.body.length))}
          </button>
        </>
      )}
    </>
  );
}

function Opened({ record, template, filters, onFilter, onPattern, onAround }: Omit<RowProps, "open" | "onToggle">) {
  const t = texts();
  // A record carries its template's id; the text is known once the patterns of the range were read.
  const known = template !== "" && template !== record.pattern;
  const fields = [
    ...Object.entries(record.labels),
    ...Object.entries(record.attributes),
    ...(record.traceId ? [["trace_id", record.traceId] as const] : []),
    ...(record.spanId ? [["span_id", record.spanId] as const] : []),
  ];
  return (
    <div class="rec">
      <table class="attrs" role="table">
        <tbody role="rowgroup">
          {fields.map(([field, value]) => (
            <tr key={field} role="row">
              <th scope="row" role="rowheader">
                <code>{field}</code>
              </th>
              <td role="cell">
                <code>{value.length > CUT ? `${value.slice(0, CUT)}…` : value}</code>
              </td>
              <td role="cell" class="num">
                <FilterButton field={field} value={value} not={false} filters={filters} onFilter={onFilter} />
                <FilterButton field={field} value={value} not filters={filters} onFilter={onFilter} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <div>
        {known && (
          <>
            <p class="dim">{t.logs.pattern}</p>
            <p>
              <Template text={template} />
            </p>
          </>
        )}
        <div class="row rec-acts">
          {known && (
            <button class="btn small" type="button" onClick={() => onPattern(template)}>
              {t.logs.ofPattern}
            </button>
          )}
          <button class="btn small" type="button" onClick={onAround}>
            {t.logs.around}
          </button>
          <CopyButton
            small
            label={t.logs.json}
            text={() => JSON.stringify({ ...record, time: record.timeText, timeText: undefined }, null, 2)}
          >
            {t.logs.json}
          </CopyButton>
        </div>
      </div>
    </div>
  );
}

function FilterButton({
  field,
  value,
  not,
  filters,
  onFilter,
}: {
  field: string;
  value: string;
  not: boolean;
  filters: readonly Filter[];
  onFilter: (filter: Filter) => void;
}) {
  const t = texts();
  const active = filters.some((one) => one.field === field && one.value === value && one.not === not);
  return (
    <button
      class="btn quiet icon small"
      type="button"
      aria-pressed={active}
      aria-label={not ? t.logs.without(field, value) : t.logs.only(field, value)}
      onClick={() => onFilter({ field, value, not })}
    >
      <Icon name={not ? "minus" : "plus"} small />
    </button>
  );
}

const AROUND = 12;

function Around({ record, onClose }: { record: LogRecord; onClose: () => void }) {
  const t = texts();
  const found = useResource(`around ${record.id}`, (signal) => fetchContext(record.id, AROUND, signal));
  const row = (one: LogRecord, anchor: boolean) => (
    <tr key={`${one.id} ${anchor}`} aria-selected={anchor ? "true" : undefined} role="row">
      <td role="cell" class="tm">
        <code>{clock(one.time, zone.value, "milli")}</code>
      </td>
      <td role="cell">
        <SeverityWord severity={one.severity} />
      </td>
      <td role="cell" class="bd">
        <code>{one.body.slice(0, CUT)}</code>
        {anchor && <span class="sr">{t.logs.thisOne}</span>}
      </td>
    </tr>
  );
  return (
    <Dialog title={t.logs.aroundTitle} wide onClose={onClose}>
      {found.error !== null && found.error.kind !== "aborted" && (
        <TroubleNote trouble={troubleOf(found.error)} onRetry={found.reload} />
      )}
      <div class="twin-table" tabIndex={0} role="region" aria-label={t.logs.aroundTitle} style={{ "--h": "60vh" }}>
        <table class="t recs" role="table">
          <tbody role="rowgroup">
            {found.value?.before.map((one) => row(one, false))}
            {row(record, true)}
            {found.value?.after.map((one) => row(one, false))}
          </tbody>
        </table>
      </div>
      <form method="dialog">
        <div class="row">
          <button class="btn" type="submit">
            {t.close}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
