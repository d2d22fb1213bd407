// Fields with their values. The first few are counted by the server over the whole search, the rest over what is shown.

import { useMemo, useState } from "preact/hooks";
import { fetchHistogram } from "../api/logs_histogram.ts";
import { texts } from "../app/locale.ts";
import { Find } from "../components/controls.tsx";
import { count } from "../model/format.ts";
import { type FacetValue, type Filter, facetsOf, type LogRecord, severityOf, tierOf } from "../model/log.ts";
import type { Asked } from "./logs.tsx";
import { useResource } from "./resource.ts";

const OPEN_FIRST = 5;
const VALUES_SHOWN = 5;
const FIELDS_SHOWN = 40;

interface Props {
  readonly asked: Asked;
  readonly records: readonly LogRecord[];
  readonly filters: readonly Filter[];
  readonly onFilter: (filter: Filter) => void;
  readonly turn: string;
}

export function Facets({ asked, records, filters, onFilter, turn }: Props) {
  const t = texts();
  const [text, setText] = useState("");
  const facets = useMemo(() => facetsOf(records), [records]);
  const shown = facets
    .filter(({ field }) => field.toLowerCase().includes(text.trim().toLowerCase()))
    .slice(0, FIELDS_SHOWN);
  return (
    <aside aria-label={t.logs.fields}>
      <Find label={t.logs.findField} value={text} onInput={setText} />
      {shown.map((facet, index) => (
        <Facet
          key={facet.field}
          field={facet.field}
          local={facet.values}
          n={records.length}
          openAtFirst={index < OPEN_FIRST}
          asked={asked}
          filters={filters}
          onFilter={onFilter}
          turn={turn}
        />
      ))}
    </aside>
  );
}

interface FacetProps extends Omit<Props, "records"> {
  readonly field: string;
  readonly local: readonly FacetValue[];
  readonly n: number;
  readonly openAtFirst: boolean;
}

function Facet({ field, local, n, openAtFirst, asked, filters, onFilter, turn }: FacetProps) {
  const t = texts();
  const [open, setOpen] = useState(openAtFirst);
  const [all, setAll] = useState(false);
  const start = Date.parse(asked.start);
  const seconds = Math.max(1, Math.ceil((Date.parse(asked.end) - start) / 1000));
  // One bucket over the whole range is the count of each value in it.
  const exact = useResource(open ? `facet ${field} ${turn}` : null, (signal) =>
    fetchHistogram({ ...asked, step: `${seconds}s`, by: field }, signal),
  );
  const counted = exact.value === null ? null : sums(exact.value.buckets.map((one) => one.by));
  const values = counted !== null && counted.length > 0 ? counted : local;
  const most = values[0]?.count ?? 1;
  const shown = all ? values.slice(0, 100) : values.slice(0, VALUES_SHOWN);
  return (
    <details class="facet" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <code>{field}</code>
        <span class="dim-2">{values.length}</span>
      </summary>
      <ul title={counted === null ? t.logs.counted(count(n)) : undefined}>
        {shown.map(({ value, count: amount }) => {
          const active = filters.some((one) => one.field === field && one.value === value && !one.not);
          return (
            <li key={value}>
              <button
                type="button"
                aria-pressed={active}
                title={t.logs.only(field, value)}
                onClick={() => onFilter({ field, value, not: false })}
              >
                <i style={{ "--v": `${(amount / most) * 100}%` }} class={toneOf(field, value)} />
                <span class="facet-value">{value === "" ? t.none : value}</span>
                <span class="num">{count(amount)}</span>
              </button>
            </li>
          );
        })}
      </ul>
      {values.length > VALUES_SHOWN && !all && (
        <button class="link" type="button" onClick={() => setAll(true)}>
          {t.logs.moreValues(values.length - VALUES_SHOWN)}
        </button>
      )}
    </details>
  );
}

function sums(buckets: readonly Readonly<Record<string, number>>[]): FacetValue[] {
  const found = new Map<string, number>();
  for (const by of buckets)
    for (const [value, n] of Object.entries(by)) if (n > 0) found.set(value, (found.get(value) ?? 0) + n);
  return [...found]
    .map(([value, n]) => ({ value, count: n }))
    .filter((one) => one.value !== "")
    .sort((a, b) => b.count - a.count);
}

function toneOf(field: string, value: string): string {
  if (field === "track" && (value === "canary" || value === "baseline")) return value;
  if (field !== "severity") return "";
  return { error: "sv-e", warn: "sv-w", other: "" }[tierOf(severityOf(value))];
}
