// The same evidence judged again, on demand: whether it comes to the same, and what Kayenta's judge says of it.

import { useState } from "preact/hooks";
import { fetchPolicies } from "../api/policies.ts";
import { postReplay } from "../api/replay.ts";
import { language, texts } from "../app/locale.ts";
import { Badge, Icon } from "../components/icon.tsx";
import { GhostRows, Note, State, TroubleNote } from "../components/states.tsx";
import { Rich } from "../components/text.tsx";
import { effectText, fixed } from "../model/format.ts";
import { type Check, type Reason, type Release, signOfCheck } from "../model/release.ts";
import {
  type BesideRow,
  besideRows,
  ENGINES,
  type Engine,
  type KayentaMetric,
  meaning,
  type PhaseReplay,
  type Replay,
  type Warning,
} from "../model/replay.ts";
import { leading } from "../model/sentence.ts";
import { quantileName, rangeWords } from "./check_words.ts";
import { troubleOf, useResource } from "./resource.ts";

interface Asked {
  readonly policy: string;
  readonly engine: Engine;
  readonly turn: number;
}

export function BesideKayenta({ release }: { release: Release }) {
  const t = texts();
  const words = t.release.replay;
  const [policy, setPolicy] = useState("");
  const [engine, setEngine] = useState<Engine>("both");
  const [asked, setAsked] = useState<Asked | null>(null);
  const policies = useResource("policies", fetchPolicies);
  const key = asked === null ? null : `replay ${release.id} ${asked.turn} ${asked.engine} ${asked.policy}`;
  const replay = useResource(key, (signal) => postReplay(release.id, asked ?? { policy, engine }, signal));
  const loading = asked !== null && replay.loading;
  const submit = (event: Event) => {
    event.preventDefault();
    setAsked({ policy, engine, turn: (asked?.turn ?? 0) + 1 });
  };
  const named = (name: string, revision: number | null) =>
    revision === null ? name : words.named(name, t.release.facts.revision(revision));
  return (
    <section class="sec" id="replay" aria-labelledby="h-replay">
      <div class="sec-head">
        <h2 id="h-replay">{words.title}</h2>
      </div>
      <p class="sec-note">{words.note}</p>
      <form class="replay" onSubmit={submit}>
        <label class="field">
          <span class="label">{words.policy}</span>
          <select class="input" value={policy} onChange={(event) => setPolicy(event.currentTarget.value)}>
            <option value="">
              {words.pinned(named(release.policy?.name ?? "", release.policy?.revision ?? null))}
            </option>
            {(policies.value ?? []).map((one) => (
              <option key={one.name} value={one.name}>
                {named(one.name, one.revision)}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span class="label">{words.judge}</span>
          <select
            class="input"
            value={engine}
            onChange={(event) => setEngine(ENGINES.find((one) => one === event.currentTarget.value) ?? "both")}
          >
            {ENGINES.map((one) => (
              <option key={one} value={one}>
                {words.engines[one]}
              </option>
            ))}
          </select>
        </label>
        <button class="btn" type="submit" disabled={loading}>
          <Icon name="refresh" small />
          {words.submit}
        </button>
      </form>
      {policies.error !== null && policies.error.kind !== "aborted" && (
        <TroubleNote trouble={troubleOf(policies.error)} onRetry={policies.reload} />
      )}
      <div aria-live="polite" aria-busy={loading}>
        {replay.error !== null && replay.error.kind !== "aborted" && !loading && (
          <TroubleNote trouble={troubleOf(replay.error)} onRetry={replay.reload} />
        )}
        {asked === null && <State head={words.empty} text={words.emptyText} height={80} />}
        {loading && (
          <table class="t" aria-label={t.loading}>
            <tbody>
              <GhostRows rows={5} widths={[50, 40, 60, 60, 40]} />
            </tbody>
          </table>
        )}
        {replay.value !== null && !loading && <Result replay={replay.value} />}
      </div>
    </section>
  );
}

function Result({ replay }: { replay: Replay }) {
  const words = texts().release.replay;
  return (
    <>
      <SameLine replay={replay} />
      {replay.phases.length === 0 && <State head={words.noPhases} height={80} />}
      {replay.phases.map((phase) => (
        <PhaseBeside key={phase.name} phase={phase} engine={replay.engine} alone={replay.phases.length === 1} />
      ))}
      {replay.engine !== "greylight" && <p class="sec-note beside-say">{words.noErrorRate}</p>}
    </>
  );
}

/** Whether the record stands; with another policy, what it decides in its place. */
function SameLine({ replay }: { replay: Replay }) {
  const t = texts();
  const words = t.release.replay;
  if (replay.same === false && replay.difference !== null) {
    const { look, phase, field, recorded, replayed } = replay.difference;
    const place = look === null ? words.inVerdict : words.inLook(look, phase);
    return (
      <Note kind="error">
        <Rich text={words.differs(place, field, recorded || t.none, replayed || t.none)} />
      </Note>
    );
  }
  if (replay.same === true)
    return (
      <p class="beside-same">
        <Icon name="ok" small /> {words.same}
      </p>
    );
  if (replay.verdict === null) return null;
  const first = replay.verdict.reasons[0];
  return (
    <p class="beside-same">
      <Badge sign={replay.verdict.decision} />
      <span>
        {words.otherPolicy(
          replay.policy.name,
          t.decision[replay.verdict.decision].toLowerCase(),
          t.decision[replay.recorded.decision].toLowerCase(),
        )}
        {first && <span class="dim"> {reasonWords(first)}</span>}
      </span>
    </p>
  );
}

/** The server's own words are English; another language has the dictionary's, where there are any. */
function reasonWords(reason: Reason) {
  const phrase = texts().release.reason[reason.code]?.(reason.check);
  return language.value === "en" || phrase === undefined ? reason.text : <Rich text={phrase} />;
}

function PhaseBeside({ phase, engine, alone }: { phase: PhaseReplay; engine: Engine; alone: boolean }) {
  const words = texts().release.replay;
  const rows = besideRows(phase);
  const means = meaning(phase);
  return (
    <div class="beside-phase">
      {!alone && <h3 class="h">{phase.name}</h3>}
      <Judges phase={phase} />
      {means && <p class="sec-note">{words.meaning[means]}</p>}
      {phase.ours === null && engine !== "kayenta" && <p class="sec-note">{words.notReached}</p>}
      {rows.length > 0 && (
        <table role="table" class="t beside">
          <thead role="rowgroup">
            <tr role="row">
              <th role="columnheader">{words.head.check}</th>
              {phase.ours && (
                <th role="columnheader" class="dec">
                  {words.greylight}
                </th>
              )}
              {phase.ours && <th role="columnheader">{words.head.effect}</th>}
              {phase.kayenta && <th role="columnheader">{words.kayenta}</th>}
            </tr>
          </thead>
          <tbody role="rowgroup">
            {rows.map((row) => (
              <CheckBeside key={row.name} row={row} phase={phase} />
            ))}
          </tbody>
        </table>
      )}
      {phase.kayenta?.warnings.map((one) => (
        <p key={one.text} class="dim-2 warned">
          {words.kayenta}: {warningWords(one)}
        </p>
      ))}
    </div>
  );
}

function warningWords(warning: Warning): string {
  const words = texts().release.replay.warning;
  switch (warning.kind) {
    case "few_values":
      return words.few_values(warning.least);
    case "unknown_field":
      return words.unknown_field(warning.field);
    case "unknown_word":
      return words.unknown_word(warning.field, warning.value, warning.known);
    case "other":
      return warning.text;
  }
}

/** One line each: what both say of the phase. */
function Judges({ phase }: { phase: PhaseReplay }) {
  const t = texts();
  const words = t.release.replay;
  const { ours, kayenta } = phase;
  return (
    <dl class="facts judges">
      {ours && (
        <>
          <dt>{words.greylight}</dt>
          <dd>
            <Badge sign={ours.decision} /> <span class="dim">{words.looks(ours.looks)}</span>
          </dd>
        </>
      )}
      {kayenta && (
        <>
          <dt>{words.kayenta}</dt>
          <dd>
            <Badge sign={kayenta.decision} />{" "}
            <span class="dim">
              {words.score(
                kayenta.score === null ? t.none : fixed(kayenta.score, Number.isInteger(kayenta.score) ? 0 : 1),
                words.classes[kayenta.classification] ?? kayenta.classification,
              )}
              {kayenta.reason && `: ${kayenta.reason}`}
            </span>
          </dd>
        </>
      )}
      {kayenta === null && phase.kayentaError !== "" && (
        <>
          <dt>{words.kayenta}</dt>
          <dd class="dim">{words.cannot(phase.kayentaError)}</dd>
        </>
      )}
    </dl>
  );
}

function CheckBeside({ row, phase }: { row: BesideRow; phase: PhaseReplay }) {
  const words = texts().release.replay;
  return (
    <tr role="row">
      <td role="cell" class="name">
        <b>{row.name}</b>
        {row.check?.vote === "none" && <span class="tag">{texts().release.checks.noVote}</span>}
        {row.check?.vote === "veto" && <span class="tag">{texts().release.checks.veto}</span>}
      </td>
      {phase.ours && (
        <td role="cell" class="dec">
          {row.check && <OurDecision check={row.check} phase={phase} />}
        </td>
      )}
      {phase.ours && (
        <td role="cell" class="eff">
          {row.check && <EffectWords check={row.check} />}
        </td>
      )}
      {phase.kayenta && (
        <td role="cell" class="kay" data-by={words.kayenta}>
          {row.metrics.length === 0 ? (
            <span class="dim-2">{words.notSeen}</span>
          ) : (
            <ul>
              {row.metrics.map((metric) => (
                <li key={metric.name}>
                  <Label metric={metric} />
                  {metric.name !== row.name && <span class="dim">{partName(metric.name, row.name)}</span>}
                  {metric.muted && <span class="tag">{words.muted}</span>}
                </li>
              ))}
            </ul>
          )}
        </td>
      )}
    </tr>
  );
}

/** As in the table of checks: what cannot go has shown no harm. */
function OurDecision({ check, phase }: { check: Check; phase: PhaseReplay }) {
  const { sign } = signOfCheck(check, phase.ours?.reasons ?? []);
  const quiet = check.margin === null && sign === "inconclusive" && check.vote !== "full";
  return quiet ? <span class="badge none">{texts().release.checks.noHarm}</span> : <Badge sign={sign} />;
}

function EffectWords({ check }: { check: Check }) {
  const t = texts();
  const lead = leading(check);
  const effect = lead?.effect ?? check.effect;
  if (effect === null || effect.estimate === null) return <span class="dim">{t.none}</span>;
  const written = effectText(effect, check.margin, check.harm);
  return (
    <>
      {lead && <span class="dim">{quantileName(lead.q)} </span>}
      {written.estimate}
      {written.range.kind !== "none" && <span class="dim"> {rangeWords(written.range)}</span>}
    </>
  );
}

/** A distribution is shown to Kayenta as a metric for each quantile, "latency at 0.99". */
function partName(metric: string, check: string): string {
  const rest = metric.startsWith(check) ? metric.slice(check.length).trim() : metric;
  const at = /^at ([\d.]+)$/.exec(rest);
  return at ? quantileName(Number(at[1])) : rest;
}

/** Kayenta's word for a metric, with the sign of what it does to the score. */
function Label({ metric }: { metric: KayentaMetric }) {
  const word = texts().release.replay.classes[metric.classification] ?? metric.classification;
  const [tone, icon] =
    metric.classification === "Pass"
      ? (["go", "go"] as const)
      : metric.classification === "High" || metric.classification === "Low"
        ? (["no-go", "no-go"] as const)
        : (["none", "none"] as const);
  return (
    <span class={`badge ${tone}`} title={metric.reason || metric.classification}>
      <Icon name={icon} small />
      {word}
    </span>
  );
}
