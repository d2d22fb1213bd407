// Backtests of one policy: the form, what runs, what came of it, and the earlier ones.

import { useEffect, useState } from "preact/hooks";
import { endBacktest, fetchBacktest, fetchBacktests, startBacktest } from "../api/backtests.ts";
import { language, store, stored, texts, zone } from "../app/locale.ts";
import { route, setParams } from "../app/route.ts";
import { Icon } from "../components/icon.tsx";
import { StackTable } from "../components/stack.tsx";
import { GhostRows, State, type Trouble, TroubleNote } from "../components/states.tsx";
import { type Backtest, type BacktestProgress, effectsOf, isOver } from "../model/backtest.ts";
import { resolve } from "../model/duration.ts";
import { count, moment, percent } from "../model/format.ts";
import { BacktestReport } from "./backtest_report.tsx";
import { troubleOf, useNow, useResource } from "./resource.ts";

/** `alpha` is what that revision of the policy accepts. */
export function Backtests({
  policy,
  revision,
  alpha,
  dirty,
}: {
  policy: string;
  revision: number | null;
  alpha: number | null;
  dirty: boolean;
}) {
  const t = texts();
  const words = t.policies.backtest;
  const all = useResource("backtests", fetchBacktests, { everyMs: 15_000 });
  const mine = (all.value ?? []).filter((one) => one.policy === policy);
  const chosen = route.value.search.get("id") ?? mine[0]?.id ?? null;
  const missing = all.error?.kind === "refused" && (all.error.status === 404 || all.error.status === 405);
  return (
    <section class="sec tight" aria-label={words.title}>
      <p class="sec-note">{words.note}</p>
      {dirty && <p class="hint">{t.policies.announce.dirty}</p>}
      {all.error !== null && all.error.kind !== "aborted" && (
        <TroubleNote
          trouble={missing ? { head: "", text: words.missing } : troubleOf(all.error)}
          onRetry={all.reload}
        />
      )}
      {!missing && (
        <Form
          policy={policy}
          match={mine[0]?.match ?? ""}
          onStarted={(id) => {
            setParams({ id }, "replace");
            all.reload();
          }}
        />
      )}
      {chosen !== null && <One key={chosen} id={chosen} revision={revision} alpha={alpha} onOver={all.reload} />}
      {all.value !== null && chosen === null && <State head={words.none} text={words.noneText} height={100} />}
      {mine.length > 0 && <Earlier backtests={mine} chosen={chosen} />}
    </section>
  );
}

interface Draft {
  readonly match: string;
  readonly from: string;
  readonly to: string;
  readonly splitBy: string;
  readonly hosts: string;
  readonly runs: string;
  readonly seed: string;
  readonly effects: string;
}

const FIRST: Draft = {
  match: "",
  from: "now-7d",
  to: "now",
  splitBy: "instance",
  hosts: "1",
  runs: "200",
  seed: "1",
  effects: "5%, 10%, 20%",
};

/** Fields of the form by the names that the server gives them. */
const FIELD_OF: Readonly<Record<string, keyof Draft>> = {
  match: "match",
  range: "from",
  "range[0]": "from",
  "range[1]": "to",
  split_by: "splitBy",
  canary_hosts: "hosts",
  runs: "runs",
  seed: "seed",
};

function Form({ policy, match, onStarted }: { policy: string; match: string; onStarted: (id: string) => void }) {
  const words = texts().policies.backtest;
  const [typed, setTyped] = useState<Partial<Draft>>({ match: stored(`backtest ${policy}`) ?? "" });
  const [trouble, setTrouble] = useState<(Trouble & { field: keyof Draft | null }) | null>(null);
  const [busy, setBusy] = useState(false);
  const draft: Draft = { ...FIRST, ...typed, match: typed.match || match };
  const submit = async (event: Event) => {
    event.preventDefault();
    const range = resolve({ from: draft.from, to: draft.to }, Date.now(), zone.value === "utc");
    if (range === null) return setTrouble({ head: "", text: words.badRange, field: "from" });
    setTrouble(null);
    setBusy(true);
    store(`backtest ${policy}`, draft.match);
    const answer = await startBacktest(policy, {
      match: draft.match,
      start: new Date(range.start).toISOString(),
      end: new Date(range.end).toISOString(),
      splitBy: draft.splitBy,
      canaryHosts: Number(draft.hosts),
      runs: Number(draft.runs),
      seed: Number(draft.seed),
      effects: effectsOf(draft.effects),
    });
    setBusy(false);
    if (answer.ok) return onStarted(answer.value);
    const field = answer.error.kind === "refused" ? answer.error.field : "";
    setTrouble({ ...troubleOf(answer.error), field: FIELD_OF[field] ?? (/^effects/.test(field) ? "effects" : null) });
  };
  const input = (name: keyof Draft, label: string, extra: { hint?: string; number?: boolean; wide?: boolean } = {}) => (
    <label class={`field${extra.wide ? " wide" : ""}`} title={extra.hint}>
      <span class="label">{label}</span>
      <input
        class="input"
        required={name !== "effects"}
        type={extra.number ? "number" : "text"}
        min={extra.number ? (name === "seed" ? 0 : 1) : undefined}
        step={extra.number ? 1 : undefined}
        aria-invalid={trouble?.field === name}
        placeholder={name === "match" ? '{service_name="cart"}' : undefined}
        value={draft[name]}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => setTyped({ ...typed, [name]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <form class="ask backtest" onSubmit={(event) => void submit(event)}>
      {input("match", words.match, { hint: words.matchHint, wide: true })}
      {input("from", words.from)}
      {input("to", words.to)}
      {input("splitBy", words.splitBy, { hint: words.splitHint })}
      {input("hosts", words.hosts, { number: true })}
      {input("runs", words.runs, { number: true })}
      {input("seed", words.seed, { number: true })}
      {input("effects", words.effects, { hint: words.effectsHint })}
      <button class="btn primary" type="submit" disabled={busy}>
        {words.submit}
      </button>
      {trouble && <TroubleNote trouble={trouble} />}
    </form>
  );
}

/** One backtest, followed until it is over. */
function One({
  id,
  revision,
  alpha,
  onOver,
}: {
  id: string;
  revision: number | null;
  alpha: number | null;
  onOver: () => void;
}) {
  const t = texts();
  const words = t.policies.backtest;
  const [live, setLive] = useState(true);
  const one = useResource(`backtest ${id}`, (signal) => fetchBacktest(id, signal), { everyMs: live ? 1000 : null });
  const state = one.value?.state;
  useEffect(() => {
    if (state === undefined || !isOver(state)) return;
    setLive(false);
    onOver();
  }, [state]);
  const end = async () => {
    await endBacktest(id);
    one.reload();
  };
  if (one.error !== null && one.value === null && one.error.kind !== "aborted")
    return <TroubleNote trouble={troubleOf(one.error)} onRetry={one.reload} />;
  if (one.value === null)
    return (
      <table class="t" aria-busy="true" aria-label={t.loading}>
        <tbody>
          <GhostRows rows={4} widths={[60, 40, 40]} />
        </tbody>
      </table>
    );
  const { progress, result, error } = one.value;
  return (
    <div class="backtest-one" aria-live="polite">
      {!isOver(one.value.state) && (
        <div class="row running-one">
          <Icon name="running" small />
          <Progress progress={progress} />
          <button class="btn small" type="button" onClick={() => void end()}>
            {words.cancel}
          </button>
        </div>
      )}
      {one.value.state === "failed" && <TroubleNote trouble={{ head: "", text: words.failed(error) }} />}
      {one.value.state === "interrupted" && <p class="sec-note">{words.interrupted}</p>}
      {one.value.state === "cancelled" && <p class="sec-note">{words.cancelled}</p>}
      {result !== null && (
        <BacktestReport
          result={{ ...result, alpha: result.alpha ?? (one.value.revision === revision ? alpha : null) }}
        />
      )}
    </div>
  );
}

function Progress({ progress }: { progress: BacktestProgress | null }) {
  const words = texts().policies.backtest;
  if (progress === null || progress.of === 0)
    return (
      <>
        <div class="prog unsure grow">
          <i />
        </div>
        <span class="dim">{words.work[progress?.work ?? "waiting"] ?? progress?.work}</span>
      </>
    );
  const share = Math.min(100, (progress.done / progress.of) * 100);
  return (
    <>
      <div
        class="prog grow"
        role="progressbar"
        aria-label={words.title}
        aria-valuenow={Math.round(share)}
        aria-valuemin={0}
        aria-valuemax={100}
      >
        <i style={{ "--v": `${share}%` }} />
      </div>
      <span class="dim">
        {words.progress(count(progress.done), count(progress.of), words.work[progress.work] ?? progress.work)}
      </span>
    </>
  );
}

function Earlier({ backtests, chosen }: { backtests: readonly Backtest[]; chosen: string | null }) {
  const t = texts();
  const words = t.policies.backtest;
  const now = useNow(60_000);
  const at = (time: number | null) => moment(time, now, zone.value, language.value);
  return (
    <>
      <h3 class="h mt2">{words.earlier}</h3>
      <StackTable
        label={words.earlier}
        class="earlier"
        columns={[
          { head: words.head.state },
          { head: words.head.started },
          { head: words.match, class: "lead" },
          { head: words.head.range },
          { head: words.head.runs, num: true, name: words.head.runs },
          { head: words.head.refused, num: true, name: words.head.refused },
        ]}
        rows={backtests.map((one) => ({
          key: one.id,
          selected: one.id === chosen,
          cells: [
            words.states[one.state] ?? one.state,
            <button
              key="open"
              class="link"
              type="button"
              aria-current={one.id === chosen}
              onClick={() => setParams({ id: one.id }, "replace")}
            >
              {one.startedAt === null ? words.open : at(one.startedAt)}
            </button>,
            <code key="match">{one.match}</code>,
            one.range[0] === null ? t.none : t.fromTo(at(one.range[0]), at(one.range[1])),
            one.result === null ? t.none : count(one.result.runs),
            one.result === null ? t.none : percent(one.result.refused.share),
          ],
        }))}
      />
    </>
  );
}
