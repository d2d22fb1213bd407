// Status: is everything that was accepted stored, and what wants a look?

import { useEffect, useRef, useState } from "preact/hooks";
import { endQuery, fetchStatus } from "../api/status.ts";
import { language, texts, zone, zoneName } from "../app/locale.ts";
import { useTitle } from "../app/title.ts";
import { Spark } from "../charts/spark.tsx";
import { CopyButton, Find, Segments } from "../components/controls.tsx";
import { Icon } from "../components/icon.tsx";
import { Foot } from "../components/shell.tsx";
import { GhostRows, State, type Trouble, TroubleNote } from "../components/states.tsx";
import { Rich } from "../components/text.tsx";
import { bytes, clock, count, day, fixed, moment, span } from "../model/format.ts";
import {
  type Agent,
  type AgentHealth,
  agentHealth,
  type Concern,
  concerns,
  type Job,
  type Receiver,
  rates,
  type Status as StatusModel,
  type StoredTable,
} from "../model/status.ts";
import { troubleOf, useResource } from "./resource.ts";
import { Stale } from "./stale.tsx";

const BEAT_MS = 5000;
const KEPT = 120;

/** Rates by receiver at each answer since the page was opened. */
type Rates = ReadonlyMap<string, number>;

export default function Status() {
  const t = texts();
  useTitle(t.status.title);
  const asked = useResource("status", (signal) => fetchStatus(signal), { everyMs: BEAT_MS });
  const status = asked.value;
  const history = useRates(status);
  return (
    <>
      <div class="in">
        <div class="titlebar">
          <h1>{t.status.title}</h1>
          {status && (
            <div class="meta">
              <span>greylight {status.version}</span>
              {status.startedAt !== null && (
                <span>{t.status.up(span(status.now - status.startedAt, language.value))}</span>
              )}
              {status.tenant !== "" && <span>{t.status.tenant(status.tenant)}</span>}
            </div>
          )}
          {status && (
            <div class="acts">
              <CopyButton label={t.status.copy} text={() => JSON.stringify(status, null, 2)}>
                {t.status.copy}
              </CopyButton>
            </div>
          )}
        </div>
        <Stale of={asked} />
      </div>
      {status && <Health status={status} />}
      <div class="in">
        {(status !== null || asked.error === null) && (
          <>
            <Figures status={status} history={history} />
            <Receivers status={status} history={history} />
            <div class="cols">
              <Storage status={status} />
              <Jobs status={status} />
            </div>
            <Agents status={status} />
            <Queries status={status} onEnded={asked.reload} />
          </>
        )}
        <Foot>
          {asked.at !== null && <span>{t.status.refreshed(clock(asked.at, zone.value, "second"))}</span>}
          <span>{t.allTimes(zoneName())}</span>
        </Foot>
      </div>
    </>
  );
}

function useRates(status: StatusModel | null): readonly Rates[] {
  const [history, setHistory] = useState<readonly Rates[]>([]);
  const before = useRef<StatusModel | null>(null);
  useEffect(() => {
    if (status === null || status === before.current) return;
    const found = rates(before.current, status);
    before.current = status;
    if (found.size > 0) setHistory((old) => [...old.slice(1 - KEPT), found]);
  }, [status]);
  return history;
}

function Health({ status }: { status: StatusModel }) {
  const t = texts();
  const found = concerns(status);
  const head = status.readOnly !== "" ? t.status.readOnlyHead : t.status.fine;
  return (
    <section class="health" aria-label={t.status.summary}>
      <div class="in">
        <p class="main" role="status">
          <Icon name={status.readOnly !== "" ? "error" : "ok"} tone={status.readOnly !== "" ? "no-go" : ""} />
          {head} {found.length > 0 && t.status.look(found.length)}
        </p>
        {found.length > 0 && (
          <ul class="why">
            {found.slice(0, 8).map((one) => (
              <li key={JSON.stringify(one)}>
                <Icon
                  name={one.kind === "read_only" ? "error" : "warn"}
                  small
                  tone={one.kind === "read_only" ? "no-go" : "inconclusive"}
                />
                <span>
                  <Rich text={concernText(one)} />
                </span>
              </li>
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}

function concernText(concern: Concern): string {
  const t = texts().status;
  switch (concern.kind) {
    case "read_only":
      return t.concern.read_only(concern.reason);
    case "refusing":
      return t.concern.refusing(concern.reason);
    case "damaged":
      return t.concern.damaged(concern.files);
    case "silent":
      return t.concern.silent(concern.host, span(concern.forMs, language.value));
    case "queueing":
      return t.concern.queueing(concern.host, bytes(concern.bytes));
    case "refused":
      return t.concern.refused(
        (t.unit[concern.unit] ?? t.unit[""] ?? String)(count(concern.count)),
        concern.receiver,
        concern.reason,
      );
    case "job":
      return t.concern.job(concern.job, concern.text);
  }
}

function Figures({ status, history }: { status: StatusModel | null; history: readonly Rates[] }) {
  const t = texts();
  const words = t.status.kpi;
  const of = (unit: string) =>
    history.map((one) =>
      (status?.receivers ?? [])
        .filter((receiver) => receiver.unit === unit)
        .reduce((sum, receiver) => sum + (one.get(receiver.name) ?? 0), 0),
    );
  const rate = (values: readonly number[]) =>
    values.length === 0 ? <span class="measuring">{t.status.measuring}</span> : fixed(values.at(-1) ?? 0, 0);
  const samples = of("samples");
  const records = of("records");
  const used = status?.disk?.used ?? null;
  const free = status?.disk?.free ?? null;
  const stored = (status?.tables ?? []).reduce((sum, one) => sum + (one.bytes ?? 0), 0);
  const accepted = (status?.receivers ?? []).reduce((sum, one) => sum + (one.accepted ?? 0), 0);
  return (
    <dl class="kpis">
      <div>
        <dt>{words.samples}</dt>
        <dd>
          {rate(samples)}
          <Spark values={samples} />
        </dd>
      </div>
      <div>
        <dt>{words.records}</dt>
        <dd>
          {rate(records)}
          <Spark values={records} />
        </dd>
      </div>
      <div>
        <dt>{words.accepted}</dt>
        <dd>{status === null ? t.none : count(accepted)}</dd>
      </div>
      <div>
        <dt>{words.queries}</dt>
        <dd>{status === null ? t.none : status.queries.length}</dd>
      </div>
      <div>
        <dt>{status?.memory ? words.memory : words.head}</dt>
        <dd>
          {bytes(status?.memory?.used ?? status?.head?.bytes ?? null)}{" "}
          {status?.memory?.limit != null && <small>{words.ofTotal(bytes(status.memory.limit))}</small>}
          {!status?.memory && status?.head?.series != null && <small>{words.series(count(status.head.series))}</small>}
        </dd>
      </div>
      <div>
        <dt>{used === null ? words.stored : words.disk}</dt>
        <dd>
          {bytes(used ?? (status === null ? null : stored))}{" "}
          {status?.disk?.total != null ? (
            <small>{words.ofTotal(bytes(status.disk.total))}</small>
          ) : (
            free !== null && <small>{words.free(bytes(free))}</small>
          )}
          {status && <Disk tables={status.tables} total={status.disk?.total ?? null} />}
        </dd>
      </div>
    </dl>
  );
}

const TONES = ["k1", "k2", "k3", "k4"] as const;

function Disk({ tables, total }: { tables: readonly StoredTable[]; total: number | null }) {
  const all = total ?? tables.reduce((sum, one) => sum + (one.bytes ?? 0), 0);
  if (all <= 0) return null;
  const label = tables.map((one) => `${one.name} ${bytes(one.bytes)}`).join(", ");
  return (
    <span class="disk" role="img" aria-label={label}>
      {tables.map((one, index) => (
        <i key={one.name} class={TONES[index % TONES.length]} style={{ "--v": `${((one.bytes ?? 0) / all) * 100}%` }} />
      ))}
    </span>
  );
}

function Scroll({ label, children }: { label: string; children: preact.ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      {children}
    </div>
  );
}

function StateBadge({ state }: { state: string }) {
  const word = texts().status.state[state] ?? state;
  const hurt = state === "failed" || state === "error" || state === "stalled";
  const late = state === "behind" || state === "waiting";
  const icon = hurt ? "error" : late ? "warn" : state === "off" ? "minus" : state === "idle" ? "wait" : "ok";
  return (
    <span class={`badge ${hurt ? "no-go" : late ? "inconclusive" : "none"}`}>
      <Icon name={icon} small />
      {word}
    </span>
  );
}

function Receivers({ status, history }: { status: StatusModel | null; history: readonly Rates[] }) {
  const t = texts();
  const words = t.status.receiver;
  return (
    <section class="sec" id="ingest" aria-labelledby="h-in">
      <div class="sec-head">
        <h2 id="h-in">{t.status.ingest}</h2>
        <span class="dim-2">{t.status.sinceStart}</span>
      </div>
      {status !== null && status.receivers.length === 0 ? (
        <State head={t.status.noReceivers} height={60} />
      ) : (
        <Scroll label={t.status.ingest}>
          <table class="t">
            <thead>
              <tr>
                <th>{words.name}</th>
                <th>{words.state}</th>
                <th class="sp">{words.rate}</th>
                <th class="num">{words.perSecond}</th>
                <th class="num">{words.accepted}</th>
                <th class="num">{words.refused}</th>
                <th>{words.why}</th>
                <th class="num">{words.last}</th>
                <th class="num">{words.durable}</th>
              </tr>
            </thead>
            <tbody>
              {status === null ? (
                <GhostRows rows={5} widths={[70, 50, 60, 40, 40, 30, 60, 30, 30]} />
              ) : (
                status.receivers.map((one) => (
                  <ReceiverRow
                    key={one.name}
                    one={one}
                    now={status.now}
                    values={history.map((rate) => rate.get(one.name) ?? 0)}
                  />
                ))
              )}
            </tbody>
          </table>
        </Scroll>
      )}
    </section>
  );
}

function ReceiverRow({ one, now, values }: { one: Receiver; now: number; values: readonly number[] }) {
  const t = texts();
  const last = values.at(-1);
  return (
    <tr>
      <td class="nw">{one.name}</td>
      <td class="nw">
        <StateBadge state={one.state} />
      </td>
      <td class="sp">{values.length > 1 && <Spark values={values} />}</td>
      <td class="num">
        {last === undefined ? <span class="dim">{t.none}</span> : fixed(last, last > 0 && last < 10 ? 1 : 0)}
      </td>
      <td class="num">{count(one.accepted)}</td>
      <td class="num">{one.refused ? <b>{count(one.refused)}</b> : <span class="dim">{count(one.refused)}</span>}</td>
      <td class="why-r">
        {one.refusals.length === 0 ? (
          <span class="dim">{t.none}</span>
        ) : (
          one.refusals
            .map((refusal) => `${refusal.reason}${one.refusals.length > 1 ? ` (${count(refusal.count)})` : ""}`)
            .join("; ")
        )}
      </td>
      <td class="num dim nw">
        {one.lastAt === null ? t.none : t.status.ago(span(Math.max(0, now - one.lastAt), language.value))}
      </td>
      <td class="num">
        {one.durableP99Ms === null ? <span class="dim">{t.none}</span> : span(one.durableP99Ms, language.value)}
      </td>
    </tr>
  );
}

function Storage({ status }: { status: StatusModel | null }) {
  const t = texts();
  const words = t.status.table;
  const tables = status?.tables ?? [];
  const oldest = Math.min(...tables.flatMap((one) => one.oldest ?? []));
  return (
    <section class="sec c7" aria-labelledby="h-st">
      <div class="sec-head">
        <h2 id="h-st">{t.status.storage}</h2>
        {Number.isFinite(oldest) && (
          <span class="dim-2">{t.status.oldest(day(oldest, zone.value, language.value))}</span>
        )}
      </div>
      {status !== null && tables.length === 0 ? (
        <State head={t.status.noTables} height={60} />
      ) : (
        <Scroll label={t.status.storage}>
          <table class="t">
            <thead>
              <tr>
                <th>{words.name}</th>
                <th class="num">{words.size}</th>
                <th class="num">{words.rows}</th>
                <th class="num">{words.per}</th>
                <th class="num">{words.segments}</th>
                <th class="num">{words.kept}</th>
                <th class="num">{words.oldest}</th>
              </tr>
            </thead>
            <tbody>
              {status === null && <GhostRows rows={4} widths={[60, 40, 40, 40, 30, 30, 40]} />}
              {tables.map((one, index) => (
                <tr key={one.name}>
                  <td class="nw">
                    <span class={`sw ${TONES[index % TONES.length]}`} />
                    {one.name}
                  </td>
                  <td class="num">{bytes(one.bytes)}</td>
                  <td class="num">{count(one.rows)}</td>
                  <td class="num">
                    {one.bytes !== null && one.rows ? (
                      `${fixed(one.bytes / one.rows, one.bytes / one.rows < 10 ? 2 : 1)}\u00a0B`
                    ) : (
                      <span class="dim">{t.none}</span>
                    )}
                  </td>
                  <td class="num">{count(one.segments)}</td>
                  <td class="num">{one.retention || <span class="dim">{t.none}</span>}</td>
                  <td class="num nw">
                    {one.oldest === null ? (
                      <span class="dim">{t.none}</span>
                    ) : (
                      moment(one.oldest, status?.now ?? 0, zone.value, language.value)
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </section>
  );
}

function Jobs({ status }: { status: StatusModel | null }) {
  const t = texts();
  const words = t.status.job;
  return (
    <section class="sec c5" aria-labelledby="h-wk">
      <div class="sec-head">
        <h2 id="h-wk">{t.status.jobs}</h2>
      </div>
      <Scroll label={t.status.jobs}>
        <table class="t">
          <thead>
            <tr>
              <th>{words.name}</th>
              <th>{words.state}</th>
              <th class="num">{words.now}</th>
              <th class="num">{words.last}</th>
            </tr>
          </thead>
          <tbody>
            {status === null && <GhostRows rows={5} widths={[60, 50, 50, 40]} />}
            {status?.jobs.map((one) => (
              <JobRow key={one.name} one={one} now={status.now} />
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function JobRow({ one, now }: { one: Job; now: number }) {
  const t = texts();
  return (
    <tr title={one.error || undefined}>
      <td class="nw">{one.name}</td>
      <td class="nw">
        <StateBadge state={one.state} />
      </td>
      <td class="num">{one.error || one.text || <span class="dim">{t.none}</span>}</td>
      <td class="num dim nw">
        {one.lastAt === null ? t.none : t.status.ago(span(Math.max(0, now - one.lastAt), language.value))}
      </td>
    </tr>
  );
}

type AgentFilter = "all" | AgentHealth;

function Agents({ status }: { status: StatusModel | null }) {
  const t = texts();
  const words = t.status.agent;
  const [filter, setFilter] = useState<AgentFilter>("all");
  const [text, setText] = useState("");
  const agents = status?.agents ?? [];
  const health = (one: Agent) => agentHealth(one, status?.now ?? 0);
  const rank = { silent: 0, queueing: 1, healthy: 2 };
  const shown = agents
    .filter(
      (one) =>
        (filter === "all" || health(one) === filter) &&
        `${one.host} ${one.role} ${one.version}`.toLowerCase().includes(text.toLowerCase()),
    )
    .sort((a, b) => rank[health(a)] - rank[health(b)] || a.host.localeCompare(b.host));
  const n = (wanted: AgentHealth) => agents.filter((one) => health(one) === wanted).length;
  // A server that has taken data from elsewhere needs no agent, so it is not asked for one.
  if (status !== null && agents.length === 0 && status.receivers.some((one) => (one.accepted ?? 0) > 0)) return null;
  return (
    <section class="sec" id="agents" aria-labelledby="h-ag">
      <div class="sec-head">
        <h2 id="h-ag">{t.status.agents}</h2>
        {agents.length > 0 && (
          <>
            <Segments
              label={t.status.agentFilter}
              value={filter}
              onChange={setFilter}
              choices={[
                { value: "all", text: t.all, count: agents.length },
                ...(["silent", "queueing", "healthy"] as const).map((one) => ({
                  value: one,
                  text: t.status.agentHealth[one],
                  count: n(one),
                })),
              ]}
            />
            <div class="tools">
              <Find main label={t.status.agentFilter} value={text} onInput={setText} />
            </div>
          </>
        )}
      </div>
      {status !== null && agents.length === 0 ? (
        <State head={t.status.noAgents} text={t.status.noAgentsText} command="greylight agent" height={100} />
      ) : (
        <Scroll label={t.status.agents}>
          <table class="t">
            <thead>
              <tr>
                <th>{words.host}</th>
                <th>{words.state}</th>
                <th>{words.role}</th>
                <th>{words.version}</th>
                <th class="num">{words.seen}</th>
                <th class="num">{words.lag}</th>
                <th class="num">{words.queue}</th>
                <th class="num">{words.series}</th>
                <th class="num">{words.clock}</th>
              </tr>
            </thead>
            <tbody>
              {status === null && <GhostRows rows={3} widths={[60, 50, 40, 30, 30, 30, 30, 30, 30]} />}
              {status &&
                shown
                  .slice(0, 200)
                  .map((one) => <AgentRow key={one.host} one={one} health={health(one)} now={status.now} />)}
            </tbody>
          </table>
        </Scroll>
      )}
    </section>
  );
}

const HEALTH_ICON = {
  silent: ["error", "no-go"],
  queueing: ["warn", "inconclusive"],
  healthy: ["ok", "none"],
} as const;

function AgentRow({ one, health, now }: { one: Agent; health: AgentHealth; now: number }) {
  const t = texts();
  const [icon, tone] = HEALTH_ICON[health];
  const none = <span class="dim">{t.none}</span>;
  return (
    <tr>
      <td class="nw">{one.host}</td>
      <td class="nw">
        <span class={`badge ${tone}`}>
          <Icon name={icon} small />
          {t.status.agentHealth[health]}
        </span>
      </td>
      <td class="nw">{one.role || none}</td>
      <td class="nw">{one.version || none}</td>
      <td class="num nw">
        {one.lastSeen === null ? none : t.status.ago(span(Math.max(0, now - one.lastSeen), language.value))}
      </td>
      <td class="num">{one.lagMs === null ? none : span(one.lagMs, language.value)}</td>
      <td class="num">
        {one.queueBytes === null ? none : one.queueBytes === 0 ? <span class="dim">0</span> : bytes(one.queueBytes)}
        {one.queueBytes !== null && one.queueBytes > 0 && one.queueLimitBytes !== null && (
          <span class="dim"> {t.status.kpi.ofTotal(bytes(one.queueLimitBytes))}</span>
        )}
      </td>
      <td class="num">{count(one.series)}</td>
      <td class="num">{one.clockMs === null ? none : span(one.clockMs, language.value)}</td>
    </tr>
  );
}

function Queries({ status, onEnded }: { status: StatusModel | null; onEnded: () => void }) {
  const t = texts();
  const words = t.status.query;
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const list = [...(status?.queries ?? [])].sort((a, b) => (b.elapsedMs ?? 0) - (a.elapsedMs ?? 0));
  const end = async (id: string) => {
    const answer = await endQuery(id);
    setTrouble(answer.ok ? null : troubleOf(answer.error));
    onEnded();
  };
  return (
    <section class="sec" aria-labelledby="h-q">
      <div class="sec-head">
        <h2 id="h-q">{t.status.queries}</h2>
        {list.length > 1 && <span class="dim-2">{t.status.slowest}</span>}
      </div>
      {trouble && <TroubleNote trouble={trouble} />}
      {status !== null && list.length === 0 && <p class="dim">{t.status.noQueries}</p>}
      {list.length > 0 && (
        <Scroll label={t.status.queries}>
          <table class="t">
            <thead>
              <tr>
                <th>{words.query}</th>
                <th>{words.kind}</th>
                <th>{words.by}</th>
                <th class="num">{words.for}</th>
                <th class="num">{words.memory}</th>
                <th>
                  <span class="sr">{words.actions}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.map((one) => (
                <tr key={one.id}>
                  <td class="query-text">
                    <code>{one.query.slice(0, 400)}</code>
                  </td>
                  <td>{one.kind || t.none}</td>
                  <td class="nw">{one.by || t.none}</td>
                  <td class="num nw">
                    <b>{span(one.elapsedMs, language.value)}</b>{" "}
                    {one.limitMs !== null && (
                      <span class="dim">{t.status.kpi.ofTotal(span(one.limitMs, language.value))}</span>
                    )}
                  </td>
                  <td class="num">{bytes(one.memoryBytes)}</td>
                  <td class="nw num">
                    <button class="link" type="button" onClick={() => void end(one.id)}>
                      {t.status.end}
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </section>
  );
}
