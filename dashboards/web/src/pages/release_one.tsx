// One check, opened: values of both sides, the difference, the hosts, and the evidence over looks.

import { useId, useState } from "preact/hooks";
import { queryRange } from "../api/query_range.ts";
import { language, texts, zone } from "../app/locale.ts";
import { route, setParams } from "../app/route.ts";
import { asTables } from "../app/tables.ts";
import { Difference } from "../charts/difference.tsx";
import { compare, Evidence } from "../charts/evidence.tsx";
import { type SideLine, ValuesChart } from "../charts/values.tsx";
import { type Choice, Tabs } from "../components/controls.tsx";
import { Badge, Icon } from "../components/icon.tsx";
import { GhostChart, State, TroubleNote } from "../components/states.tsx";
import { stepFor } from "../model/duration.ts";
import { evidenceOf, looksAllowed } from "../model/evidence.ts";
import { clock, count, effectText, measured, measuredPair, moment, probability } from "../model/format.ts";
import { drawable } from "../model/queryside.ts";
import { type Check, type Look, type Release, signOfCheck, type UnitValue, type Verdict } from "../model/release.ts";
import { leading } from "../model/sentence.ts";
import { fold } from "../model/sides.ts";
import { ChartCaption, TwinTable } from "./chart_parts.tsx";
import { checkTitle, quantileName } from "./check_words.ts";
import { differenceLooks, valuesSoFar } from "./look_series.ts";
import { Distribution } from "./release_distribution.tsx";
import { type Resource, troubleOf, useResource } from "./resource.ts";

type View = "values" | "difference" | "distribution" | "hosts";
const HEIGHT = 244;

interface Props {
  readonly release: Release;
  readonly verdict: Verdict;
  readonly check: Check;
  readonly looks: Resource<Look[]>;
  readonly onStep: (by: 1 | -1) => void;
}

export function OneCheck({ release, verdict, check, looks, onStep }: Props) {
  const t = texts();
  const words = t.release.one;
  const view = route.value.search.get("view");
  const [quantile, setQuantile] = useState<number | null>(null);
  const panel = useId();
  const lead = check.quantiles.find((one) => one.q === quantile) ?? leading(check);
  const title = checkTitle(check, lead);
  const queries = drawable(check.queries, release.match);
  const views: Choice<View>[] = [
    { value: "values", text: words.values },
    { value: "difference", text: words.difference },
    { value: "distribution", text: words.distribution },
    ...(check.units.length > 0 ? [{ value: "hosts" as const, text: words.hosts, count: check.units.length }] : []),
  ];
  const shown = views.find((one) => one.value === view)?.value ?? "values";
  return (
    <section class="sec" aria-labelledby="h-one">
      <div class="sec-head">
        <h2 id="h-one">{title}</h2>
        <Badge sign={signOfCheck(check, verdict.reasons).sign} />
        <Tabs
          label={words.view}
          choices={views}
          value={shown}
          onChange={(one) => setParams({ view: one === "values" ? null : one }, "replace")}
          panel={panel}
        />
        {check.quantiles.length > 1 && (
          <div class="chips">
            {check.quantiles.map((one) => (
              <button
                key={one.q}
                type="button"
                class="chip"
                aria-pressed={one === lead}
                onClick={() => setQuantile(one.q)}
              >
                {quantileName(one.q)}
              </button>
            ))}
          </div>
        )}
        <div class="tools">
          <span class="split">
            <button class="btn small" type="button" aria-label={words.above} onClick={() => onStep(-1)}>
              <Icon name="up" small />
            </button>
            <button class="btn small" type="button" aria-label={words.below} onClick={() => onStep(1)}>
              <Icon name="down" small />
            </button>
          </span>
          {queries && (
            <a class="btn small" href={metricsLink(Object.values(queries), release)}>
              {words.open}
            </a>
          )}
        </div>
      </div>
      <div class="one">
        <div id={panel} role="tabpanel" aria-label={words[shown]}>
          {shown === "values" && (
            <Values
              release={release}
              verdict={verdict}
              check={check}
              looks={looks.value ?? []}
              queries={queries}
              q={lead?.q ?? null}
              title={title}
            />
          )}
          {shown === "difference" && <DifferenceView check={check} looks={looks} q={lead?.q ?? null} title={title} />}
          {shown === "distribution" && (
            <Distribution
              release={release}
              check={check}
              startedAt={verdict.startedAt ?? release.start}
              watermark={verdict.watermark}
              title={title}
              height={HEIGHT}
            />
          )}
          {shown === "hosts" && <Hosts check={check} />}
        </div>
        <EvidenceView release={release} verdict={verdict} check={check} looks={looks} />
        <div class="facts-row">
          <CheckFacts check={check} />
        </div>
      </div>
    </section>
  );
}

function metricsLink(queries: readonly string[], release: Release): string {
  const search = new URLSearchParams();
  for (const query of queries) search.append("q", query);
  const start = release.start ?? Date.now();
  const end = release.decidedAt ?? Date.now();
  const around = Math.max(60_000, (end - start) * 0.3);
  search.set("from", String(Math.round(start - around)));
  search.set("to", String(Math.round(end + around / 3)));
  return `metrics?${search}`;
}

interface ValuesProps {
  readonly release: Release;
  readonly verdict: Verdict;
  readonly check: Check;
  readonly looks: readonly Look[];
  readonly queries: { canary: string; baseline: string } | null;
  readonly q: number | null;
  readonly title: string;
}

/** By interval where the check's history or queries give it; otherwise what each look had in hand. */
function Values({ release, verdict, check, looks, queries, q, title }: ValuesProps) {
  const t = texts();
  const words = t.release.one;
  const start = verdict.startedAt ?? release.start;
  const until = verdict.watermark ?? verdict.decidedAt ?? Date.now();
  const span = start === null ? 0 : Math.max(10_000, until - start);
  const from = start === null ? until - 3_600_000 : start - Math.min(span * 0.5, 3_600_000);
  const step = Math.max(release.intervalMs ?? 0, stepFor(until - from, 240, 500));
  const key =
    check.history === null && queries !== null
      ? `values ${queries.canary} ${queries.baseline} ${from} ${until} ${step}`
      : null;
  const asked = useResource(key, async (signal) => {
    const range = { startMs: from, endMs: until, stepMs: step };
    const [canary, baseline] = await Promise.all([
      queryRange({ query: queries?.canary ?? "", ...range }, signal),
      queryRange({ query: queries?.baseline ?? "", ...range }, signal),
    ]);
    if (!canary.ok) return canary;
    if (!baseline.ok) return baseline;
    return { ok: true as const, value: { canary: fold(canary.value.data), baseline: fold(baseline.value.data) } };
  });
  const own = check.history && { canary: line(check.history.canary), baseline: line(check.history.baseline) };
  const byInterval = own ?? asked.value;
  const drawn = byInterval !== null && byInterval.canary.line.length + byInterval.baseline.line.length > 0;
  const fallback = {
    canary: line(valuesSoFar(looks, check, "canary", q)),
    baseline: line(valuesSoFar(looks, check, "baseline", q)),
  };
  const lines = drawn ? byInterval : fallback;
  const empty =
    lines.canary.line.every(([, value]) => value === null) && lines.baseline.line.every(([, value]) => value === null);
  const name = drawn ? words.byInterval(title) : words.soFar(title);
  const lead = check.quantiles.find((one) => one.q === q);
  const [canary, baseline] = [lead?.canary ?? check.values.canary, lead?.baseline ?? check.values.baseline];
  return (
    <figure class="chart">
      <ChartCaption name={name} table={!empty}>
        <span class="key">
          {(["canary", "baseline"] as const).map((side) => (
            <span key={side}>
              <span class={`sw ${side}`} />
              {t.side[side]}
              {verdict.cohorts[side]?.units != null && `, ${t.release.hosts(verdict.cohorts[side]?.units ?? 0)}`}
            </span>
          ))}
        </span>
      </ChartCaption>
      {asked.error !== null && asked.error.kind !== "aborted" && (
        <TroubleNote trouble={troubleOf(asked.error)} onRetry={asked.reload} />
      )}
      {key !== null && asked.loading && asked.value === null && asked.error === null ? (
        <GhostChart height={HEIGHT} />
      ) : empty ? (
        <State head={words.noValues} height={HEIGHT} />
      ) : asTables.value ? (
        <ValuesTable lines={lines} unit={check.values.unit} />
      ) : (
        <ValuesChart
          name={title}
          unit={check.values.unit}
          canary={lines.canary}
          baseline={lines.baseline}
          start={drawn ? start : null}
          phases={verdict.phases}
          decidedAt={verdict.final ? verdict.decidedAt : null}
          height={HEIGHT}
        />
      )}
      {!empty && (canary !== null || baseline !== null) && (
        <p class="say">
          {words.valuesSay(...measuredPair(canary, baseline, check.values.unit))}
          {!drawn && ` ${words.soFarSay}`}
        </p>
      )}
    </figure>
  );
}

function line(points: SideLine["line"]): SideLine {
  return { line: points, band: [] };
}

function ValuesTable({ lines, unit }: { lines: { canary: SideLine; baseline: SideLine }; unit: string }) {
  const t = texts();
  const head = t.release.one.tableHead;
  const values = new Map<number, { canary: number | null; baseline: number | null }>();
  for (const side of ["canary", "baseline"] as const) {
    for (const [at, value] of lines[side].line)
      values.set(at, { canary: null, baseline: null, ...values.get(at), [side]: value });
  }
  return (
    <TwinTable head={[head.at, head.baseline, head.canary]} label={t.release.one.values} height={HEIGHT}>
      {[...values]
        .sort(([a], [b]) => b - a)
        .map(([at, pair]) => [
          clock(at, zone.value, "second"),
          measured(pair.baseline, unit),
          measured(pair.canary, unit),
        ])}
    </TwinTable>
  );
}

function DifferenceView({
  check,
  looks,
  q,
  title,
}: {
  check: Check;
  looks: Resource<Look[]>;
  q: number | null;
  title: string;
}) {
  const t = texts();
  const words = t.release.one;
  const lines = differenceLooks(looks.value ?? [], check, q);
  return (
    <figure class="chart">
      <ChartCaption name={t.release.difference(title)} table={lines.length > 0} />
      {lines.length === 0 ? (
        <State head={words.noLooks} height={HEIGHT} />
      ) : asTables.value ? (
        <TwinTable
          head={[words.tableHead.at, words.tableHead.low, words.tableHead.estimate, words.tableHead.high]}
          label={words.difference}
          height={HEIGHT}
        >
          {[...lines].reverse().map((look) => {
            const written = effectText(look.effect, check.margin, check.harm);
            return [clock(look.at, zone.value, "second"), written.low, written.estimate, written.high];
          })}
        </TwinTable>
      ) : (
        <Difference name={title} looks={lines} margin={check.margin} harm={check.harm} height={HEIGHT} />
      )}
    </figure>
  );
}

function EvidenceView({
  release,
  verdict,
  check,
  looks,
}: {
  release: Release;
  verdict: Verdict;
  check: Check;
  looks: Resource<Look[]>;
}) {
  const t = texts();
  const words = t.release.one;
  const found = evidenceOf(looks.value ?? [], check.phase, check.name);
  const phase = verdict.phases.find((one) => one.name === check.phase);
  const table = asTables.value;
  return (
    <figure class="chart">
      <ChartCaption name={words.evidence} table={found.length > 0}>
        <span class="say">{words.evidenceKey}</span>
      </ChartCaption>
      {looks.error !== null && looks.value === null && looks.error.kind !== "aborted" && (
        <TroubleNote trouble={troubleOf(looks.error)} onRetry={looks.reload} />
      )}
      {looks.value === null && looks.loading ? (
        <GhostChart height={HEIGHT + 18} />
      ) : found.length === 0 ? (
        <State head={words.noLooks} height={HEIGHT} />
      ) : table ? (
        <TwinTable
          head={[
            words.tableHead.look,
            words.tableHead.at,
            words.tableHead.pHarm,
            words.tableHead.level,
            words.tableHead.pGo,
            words.tableHead.levelGo,
          ]}
          label={words.evidence}
          height={HEIGHT}
        >
          {[...found]
            .reverse()
            .map((look) => [
              String(look.number),
              clock(look.at, zone.value, "second"),
              probability(look.pHarm),
              probability(look.level),
              probability(look.pGo),
              probability(look.levelGo),
            ])}
        </TwinTable>
      ) : (
        <Evidence
          name={check.name}
          looks={found}
          allowed={looksAllowed(phase?.atMostMs ?? null, release.intervalMs)}
          height={HEIGHT + 18}
        />
      )}
      {found.length > 0 && <p class="say">{words.evidenceSay(found.length)}</p>}
    </figure>
  );
}

function Hosts({ check }: { check: Check }) {
  const t = texts();
  const words = t.release.one;
  if (check.units.length === 0) return <State head={words.noUnits} height={HEIGHT} />;
  const sorted = [...check.units].sort(
    (a, b) => (a.side ?? "").localeCompare(b.side ?? "") * -1 || (b.value ?? 0) - (a.value ?? 0),
  );
  const most = Math.max(...check.units.map((one) => Math.abs(one.value ?? 0)), 0) || 1;
  return (
    <div class="twin-table" tabIndex={0} role="region" aria-label={words.hosts} style={{ "--h": `${HEIGHT + 40}px` }}>
      <table class="t">
        <thead>
          <tr>
            <th>{words.unit}</th>
            <th />
            <th class="num">{t.metrics.value}</th>
            <th class="num">{words.samples}</th>
          </tr>
        </thead>
        <tbody>
          {sorted.map((one) => (
            <HostRow key={`${one.side} ${one.unit}`} one={one} most={most} unit={check.values.unit} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function HostRow({ one, most, unit }: { one: UnitValue; most: number; unit: string }) {
  const t = texts();
  return (
    <tr>
      <td class="nw">
        {one.side && <span class={`sw ${one.side}`} title={t.side[one.side]} />}
        <code>{one.unit}</code>
        {one.side && <span class="sr">{t.side[one.side]}</span>}
      </td>
      <td class="host-bar" aria-hidden="true">
        <i class={one.side ?? ""} style={{ "--v": `${(Math.abs(one.value ?? 0) / most) * 100}%` }} />
      </td>
      <td class="num">{measured(one.value, unit)}</td>
      <td class="num dim">{count(one.n)}</td>
    </tr>
  );
}

function CheckFacts({ check }: { check: Check }) {
  const t = texts();
  const words = t.release.one;
  const effect = leading(check)?.effect ?? check.effect;
  const sides = { canary: t.side.canary, baseline: t.side.baseline };
  return (
    <>
      <dl class="facts wide">
        <dt>{words.pGo}</dt>
        <dd>
          {probability(check.pGo)} <span class="sub">{compare(check.pGo, check.levelGo)}</span>
        </dd>
        <dt>{words.pHarm}</dt>
        <dd>
          {probability(check.pHarm)} <span class="sub">{compare(check.pHarm, check.level)}</span>
        </dd>
        <dt>{words.alpha}</dt>
        <dd>
          {probability(check.spent)}{" "}
          {check.budget !== null && <span class="sub">{words.spentOf(probability(check.budget))}</span>}
        </dd>
        <dt>{words.method}</dt>
        <dd>{check.method || t.none}</dd>
        <dt>{words.samples}</dt>
        <dd>
          {words.samplesAnd(count(check.n.canary), count(check.n.baseline))}
          {check.n.effective !== null && check.n.effective !== check.n.canary && (
            <span class="sub"> {words.effective(count(check.n.effective))}</span>
          )}
        </dd>
        <dt>{words.margin}</dt>
        <dd>{effect ? effectText(effect, check.margin, check.harm).margin : t.none}</dd>
        <dt>{words.vote}</dt>
        <dd>{words.votes[check.vote]}</dd>
        <dt>{t.release.checks.head.decided}</dt>
        <dd>
          {check.decidedAt === null
            ? t.none
            : moment(check.decidedAt, Date.now(), zone.value, language.value, "second")}
        </dd>
      </dl>
      {check.queries.length > 0 && (
        <dl class="facts queries-of">
          {check.queries.map((query, index) => (
            <>
              <dt key={`${index} ${query.text}`}>{query.side ? sides[query.side] : words.query}</dt>
              <dd>
                <code>{query.text}</code>
              </dd>
            </>
          ))}
        </dl>
      )}
    </>
  );
}
