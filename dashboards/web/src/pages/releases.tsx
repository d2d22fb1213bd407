// Releases: what runs, what needs a person, how the week went.

import { useRef, useState } from "preact/hooks";
import { fetchReleases } from "../api/releases.ts";
import { useRowKeys } from "../app/keys.ts";
import { language, texts, zone, zoneName } from "../app/locale.ts";
import { route, setParams } from "../app/route.ts";
import { useTitle } from "../app/title.ts";
import { type Decided, Week } from "../charts/week.tsx";
import { Find, Pick, Segments } from "../components/controls.tsx";
import { SignIcon } from "../components/icon.tsx";
import { Foot } from "../components/shell.tsx";
import { GhostRows, State } from "../components/states.tsx";
import { Keys } from "../components/text.tsx";
import { clock, day, span, startOfDay } from "../model/format.ts";
import { type ReleaseSummary, signOf } from "../model/release.ts";
import { median, timeToDecide } from "../model/summary.ts";
import { ReleaseRow } from "./release_row.tsx";
import { useNow, useResource } from "./resource.ts";
import { Stale } from "./stale.tsx";

type Filter = "all" | "running" | "no_go" | "inconclusive" | "go";

const DAYS = ["1", "7", "30", "90"] as const;
const PAGE = 100;
const FIRST_ROWS = 40;

export default function Releases() {
  const t = texts();
  useTitle(t.releases.title);
  const search = route.value.search;
  const days = Number(search.get("days") ?? 7) || 7;
  const filter = filterOf(search.get("decision"));
  const service = search.get("service") ?? "";
  const environment = search.get("environment") ?? "";
  const text = search.get("q") ?? "";
  const now = useNow(5000);
  const list = useResource(
    `releases ${days}`,
    (signal) => loadAll(new Date(Date.now() - days * 86_400_000).toISOString(), signal),
    { everyMs: 2000 },
  );
  const [rows, setRows] = useState(FIRST_ROWS);
  const all = list.value ?? [];
  const inPlace = all.filter(
    (one) =>
      (service === "" || one.service === service) &&
      (environment === "" || one.environment === environment) &&
      matches(one, text),
  );
  const shown = inPlace.filter((one) => filter === "all" || groupOf(one) === filter);
  const table = useRef<HTMLTableElement>(null);
  useRowKeys(table);
  const filtered = filter !== "all" || service !== "" || environment !== "" || text !== "";
  const drop = () => setParams({ decision: null, service: null, environment: null, q: null });
  return (
    <div class="in">
      <div class="titlebar">
        <h1>{t.releases.title}</h1>
        <div class="acts">
          <Pick
            label={t.range.label}
            value={String(days)}
            options={DAYS.map((one) => [one, t.releases.lastDays(Number(one))] as const)}
            onChange={(value) => setParams({ days: value === "7" ? null : value })}
          />
        </div>
      </div>
      <Stale of={list} />
      {list.value !== null && all.length > 0 && <Summary releases={all} days={days} now={now} />}
      {list.value !== null && all.length === 0 ? (
        <State head={t.releases.empty} text={t.releases.emptyText} command="greylight demo" height={260} />
      ) : (
        <>
          <Filters
            releases={all}
            counted={inPlace}
            filter={filter}
            service={service}
            environment={environment}
            text={text}
            ago={
              list.error === null && list.at !== null
                ? t.live(span(Math.max(1000, Math.round((now - list.at) / 1000) * 1000), language.value))
                : t.stale
            }
          />
          {list.error === null || list.value !== null ? (
            <div class="bleed">
              {list.value !== null && shown.length === 0 && filtered ? (
                <State head={t.releases.noResult} text={t.releases.noResultText(all.length)}>
                  <button class="btn" type="button" onClick={drop}>
                    {t.releases.drop}
                  </button>
                </State>
              ) : (
                <table role="table" class="t list" ref={table} aria-busy={list.value === null}>
                  <Head />
                  <tbody role="rowgroup">
                    {list.value === null ? (
                      <GhostRows rows={8} widths={[60, 70, 60, 50, 60, 80, 80, 30, 60, 40, 60]} />
                    ) : (
                      <Groups releases={shown.slice(0, rows)} now={now} />
                    )}
                  </tbody>
                </table>
              )}
            </div>
          ) : null}
        </>
      )}
      <Foot>
        <span>{t.releases.shownOf(Math.min(rows, shown.length), all.length)}</span>
        {shown.length > rows && (
          <button class="link" type="button" onClick={() => setRows(rows + PAGE)}>
            {t.more}
          </button>
        )}
        <span>
          <Keys of="j k" /> {t.releases.move}
        </span>
        <span>
          <Keys of="↵" /> {t.releases.open}
        </span>
        <span>{t.allTimes(zoneName())}</span>
      </Foot>
    </div>
  );
}

/** Follows the cursor until the range is whole; a range of more releases than this is cut. */
async function loadAll(start: string, signal: AbortSignal) {
  const releases: ReleaseSummary[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < 10; page += 1) {
    const answer = await fetchReleases({ start, limit: PAGE, cursor }, signal);
    if (!answer.ok) return answer;
    releases.push(...answer.value.releases);
    if (answer.value.cursor === null || answer.value.cursor === "") break;
    cursor = answer.value.cursor;
  }
  return { ok: true as const, value: releases };
}

function filterOf(text: string | null): Filter {
  return text === "running" || text === "no_go" || text === "inconclusive" || text === "go" ? text : "all";
}

function groupOf(release: ReleaseSummary): Filter {
  const sign = signOf(release);
  switch (sign) {
    case "go":
    case "no_go":
    case "running":
      return sign;
    case "pending":
      return "running";
    case "inconclusive":
    case "no_data":
    case "failed":
    case "cancelled":
      return "inconclusive";
  }
}

function matches(release: ReleaseSummary, text: string): boolean {
  if (text === "") return true;
  const labels = Object.entries(release.labels).map(([key, value]) => `${key}=${value}`);
  const all = [
    release.service,
    release.canary,
    release.baseline,
    release.environment,
    release.region,
    release.by,
    release.key,
    ...labels,
  ]
    .join(" ")
    .toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

function Summary({ releases, days, now }: { releases: readonly ReleaseSummary[]; days: number; now: number }) {
  const t = texts();
  const decided = releases.flatMap((one): Decided[] => {
    const tookMs = timeToDecide(one);
    return one.final && one.decidedAt !== null && tookMs !== null
      ? [{ id: one.id, at: one.decidedAt, tookMs, decision: one.decision }]
      : [];
  });
  const of = (decision: string) => releases.filter((one) => one.final && one.decision === decision).length;
  return (
    <section aria-label={t.releases.week(t.releases.lastDays(days))} class="week">
      <dl class="tally">
        {(["go", "no_go", "inconclusive"] as const).map((decision) => (
          <div key={decision}>
            <dt>
              <SignIcon sign={decision} />
              {t.decision[decision]}
            </dt>
            <dd>{of(decision)}</dd>
          </div>
        ))}
        <div class="wide">
          <dt>{t.releases.median}</dt>
          <dd>{span(median(decided.map((one) => one.tookMs)), language.value)}</dd>
        </div>
      </dl>
      <figure class="chart">
        <figcaption class="sr">{t.releases.weekSay}</figcaption>
        <Week decided={decided} start={now - days * 86_400_000} end={now + days * 86_400_000 * 0.04} now={now} />
      </figure>
    </section>
  );
}

interface FilterProps {
  readonly releases: readonly ReleaseSummary[];
  readonly counted: readonly ReleaseSummary[];
  readonly filter: Filter;
  readonly service: string;
  readonly environment: string;
  readonly text: string;
  readonly ago: string;
}

function Filters({ releases, counted, filter, service, environment, text, ago }: FilterProps) {
  const t = texts();
  const of = (wanted: Filter) => counted.filter((one) => groupOf(one) === wanted).length;
  const word = (wanted: Exclude<Filter, "all">) => (
    <>
      <SignIcon sign={wanted} />
      {t.decision[wanted]}
    </>
  );
  const distinct = (values: readonly string[], name: string) => [
    ["", `${name}: ${t.releases.any}`] as const,
    ...[...new Set(values)]
      .filter((one) => one !== "")
      .sort()
      .map((one) => [one, one] as const),
  ];
  return (
    <div class="filters">
      <Find
        main
        label={t.releases.filter}
        placeholder={t.releases.find}
        value={text}
        onInput={(value) => setParams({ q: value }, "replace")}
      />
      <Segments
        small={false}
        label={t.releases.byDecision}
        value={filter}
        onChange={(value) => setParams({ decision: value === "all" ? null : value })}
        choices={[
          { value: "all", text: t.all, count: counted.length },
          { value: "running", text: word("running"), count: of("running") },
          { value: "no_go", text: word("no_go"), count: of("no_go") },
          { value: "inconclusive", text: word("inconclusive"), count: of("inconclusive") },
          { value: "go", text: word("go"), count: of("go") },
        ]}
      />
      <Pick
        label={t.releases.service}
        value={service}
        options={distinct(
          releases.map((one) => one.service),
          t.releases.service,
        )}
        onChange={(value) => setParams({ service: value })}
      />
      <Pick
        label={t.releases.environment}
        value={environment}
        options={distinct(
          releases.map((one) => one.environment),
          t.releases.environment,
        )}
        onChange={(value) => setParams({ environment: value })}
      />
      <div class="end dim-2">{ago}</div>
    </div>
  );
}

function Head() {
  const head = texts().releases.head;
  return (
    <thead role="rowgroup">
      <tr role="row">
        <th role="columnheader">{head.decision}</th>
        <th role="columnheader">{head.release}</th>
        <th role="columnheader" class="wh">
          {head.where}
        </th>
        <th role="columnheader" class="phc">
          {head.phases}
        </th>
        <th role="columnheader" class="pht">
          <span class="sr">{head.phases}</span>
        </th>
        <th role="columnheader" class="evc" title={texts().releases.evidenceTitle}>
          {head.evidence}
        </th>
        <th role="columnheader" class="chk">
          {head.check}
        </th>
        <th role="columnheader" class="num np">
          {head.patterns}
        </th>
        <th role="columnheader" class="num td">
          {head.time}
        </th>
        <th role="columnheader" class="num ag">
          {head.at}
        </th>
        <th role="columnheader" class="by">
          {head.by}
        </th>
      </tr>
    </thead>
  );
}

/** What runs first, then by the day of decision. */
function Groups({ releases, now }: { releases: readonly ReleaseSummary[]; now: number }) {
  const t = texts();
  const running = releases.filter((one) => groupOf(one) === "running");
  const done = releases.filter((one) => groupOf(one) !== "running");
  const byDay = new Map<number, ReleaseSummary[]>();
  for (const one of done) {
    const at = startOfDay(one.decidedAt ?? one.start ?? now, zone.value);
    byDay.set(at, [...(byDay.get(at) ?? []), one]);
  }
  const today = startOfDay(now, zone.value);
  const name = (at: number) => {
    const written = day(at, zone.value, language.value);
    if (at === today) return t.releases.today(written);
    return at === startOfDay(today - 1, zone.value) ? t.releases.yesterday(written) : written;
  };
  return (
    <>
      {running.length > 0 && <Group name={t.releases.running} releases={running} now={now} />}
      {[...byDay]
        .sort(([a], [b]) => b - a)
        .map(([at, items]) => (
          <Group
            key={at}
            name={name(at)}
            releases={items.sort((a, b) => (b.decidedAt ?? b.start ?? 0) - (a.decidedAt ?? a.start ?? 0))}
            now={now}
          />
        ))}
    </>
  );
}

function Group({ name, releases, now }: { name: string; releases: readonly ReleaseSummary[]; now: number }) {
  return (
    <>
      <tr role="row" class="group">
        <th role="columnheader" colSpan={11} scope="rowgroup">
          {name}
        </th>
      </tr>
      {releases.map((release) => (
        <ReleaseRow key={release.id} release={release} now={now} clock={(at) => clock(at, zone.value)} />
      ))}
    </>
  );
}
