// May the cohorts be compared, and how far has the release come?

import type { ComponentChildren } from "preact";
import { language, texts, zone } from "../app/locale.ts";
import { Icon, type IconName } from "../components/icon.tsx";
import { Note } from "../components/states.tsx";
import { Rich } from "../components/text.tsx";
import { count, moment, percent, span } from "../model/format.ts";
import type { Cohort, Phase, Release, Side, Verdict } from "../model/release.ts";

/** A line above all else while units of a side send nothing. */
export function Silent({ verdict }: { verdict: Verdict }) {
  const silent = [...(verdict.cohorts.canary?.silent ?? []), ...(verdict.cohorts.baseline?.silent ?? [])];
  if (silent.length === 0 || verdict.final) return null;
  const shown = silent.slice(0, 4).join(", ") + (silent.length > 4 ? ` +${silent.length - 4}` : "");
  return (
    <div class="mt">
      <Note kind="partial">
        <Rich text={texts().release.silent(shown)} />
      </Note>
    </div>
  );
}

export function ValidityStrip({ verdict }: { verdict: Verdict }) {
  const t = texts();
  return (
    <ul class="valid" aria-label={t.release.valid}>
      <CohortItem side="baseline" cohort={verdict.cohorts.baseline} />
      <CohortItem side="canary" cohort={verdict.cohorts.canary} />
      {verdict.validity.map((one) => (
        <li key={one.name}>
          <Icon name={one.ok ? "ok" : "warn"} small tone={one.ok ? "" : "bad"} />
          {one.ok ? <span>{wording(one.name, one.text)}</span> : <b>{wording(one.name, one.text)}</b>}
        </li>
      ))}
    </ul>
  );
}

/** The server's text, with the name before it unless it begins with the name. */
function wording(name: string, text: string): string {
  const word = texts().release.validity[name] ?? name;
  if (text === "") return word;
  const plain = name.replace(/_/g, " ");
  const rest = text.toLowerCase().startsWith(plain) ? text.slice(plain.length).trim() : text;
  // "68 of 68 minutes" needs no name before it, and a word after a name needs a colon.
  if (name === "completeness" && rest !== "") return rest;
  return rest.toLowerCase().startsWith(word.toLowerCase())
    ? rest
    : `${word}${/^\p{L}/u.test(rest) ? ": " : " "}${rest}`;
}

function CohortItem({ side, cohort }: { side: Side; cohort: Cohort | null }) {
  const t = texts();
  if (cohort === null) return null;
  const facts = [
    cohort.units === null ? "" : t.release.hosts(cohort.units),
    cohort.requests === null ? "" : t.release.requests(count(cohort.requests)),
  ];
  return (
    <li>
      <span class={`sw ${side}`} />
      <span>
        <b>
          {t.side[side]} {cohort.name}
        </b>{" "}
        {facts.filter((one) => one !== "").join(", ")}
      </span>
    </li>
  );
}

export function PhaseSteps({ release, verdict, now }: { release: Release; verdict: Verdict; now: number }) {
  const t = texts();
  const outcome = release.outcomes.at(-1);
  if (verdict.phases.length === 0) return null;
  const columns = verdict.phases.length + (outcome ? 1 : 0);
  return (
    <ol
      class="steps"
      aria-label={t.release.phases}
      style={{ gridTemplateColumns: columns < 4 ? `repeat(${columns}, minmax(0, 1fr))` : undefined }}
    >
      {verdict.phases.map((phase, index) => (
        <PhaseStep
          key={phase.name}
          phase={phase}
          first={index === 0}
          open={!verdict.final && phase.name === verdict.phase && release.state === "running"}
          now={now}
        />
      ))}
      {outcome && (
        <li>
          <div class="name">
            <Icon name={outcome.action === "promoted" ? "ok" : "minus"} small />
            <b>{t.release.outcomes[outcome.action] ?? outcome.action}</b>
            {outcome.trafficShare !== null && <span class="share">{percent(outcome.trafficShare)}</span>}
          </div>
          <div class="prog" aria-hidden="true">
            <i style={{ "--v": `${(outcome.trafficShare ?? (outcome.action === "promoted" ? 1 : 0)) * 100}%` }} />
          </div>
          <div class="txt">
            {t.release.outcome[outcome.action]?.(
              outcome.by,
              moment(outcome.time, now, zone.value, language.value, "second"),
              "",
            ) ?? ""}
          </div>
        </li>
      )}
    </ol>
  );
}

interface Look {
  readonly icon: IconName;
  readonly tone: string;
  readonly word: string;
}

function lookOf(phase: Phase, open: boolean): Look {
  const t = texts();
  if (phase.decision === "go") return { icon: "go", tone: "go", word: t.decision.go };
  if (phase.decision === "no_go") return { icon: "no-go", tone: "no-go", word: t.decision.no_go };
  if (phase.startedAt === null)
    return {
      icon: "wait",
      tone: "wait",
      word: phase.decision === "waiting" && open ? t.release.onCall : t.release.notReached,
    };
  if (phase.decision === "waiting") return { icon: "wait", tone: "wait", word: t.decision.waiting };
  return open
    ? { icon: "running", tone: "running", word: t.decision.running }
    : { icon: "inconclusive", tone: "inconclusive", word: t.decision.inconclusive };
}

function PhaseStep({ phase, first, open, now }: { phase: Phase; first: boolean; open: boolean; now: number }) {
  const t = texts();
  const look = lookOf(phase, open);
  const until = phase.decidedAt ?? (open ? now : null);
  const took = phase.startedAt !== null && until !== null ? Math.max(0, until - phase.startedAt) : null;
  const most = phase.atMostMs;
  const share = (part: number | null) =>
    part === null || most === null || most === 0 ? null : `${Math.min(100, (part / most) * 100)}%`;
  const [elapsed, least] = [share(took), share(phase.atLeastMs)];
  return (
    <li aria-current={open ? "step" : undefined}>
      <div class="name">
        <Icon name={look.icon} small tone={look.tone} />
        <b class={phase.startedAt === null ? "off" : undefined}>{phase.name}</b>
        <span class="dim">{look.word.toLowerCase()}</span>
        {phase.trafficShare !== null && (
          <span class="share">{t.release.shareOf(percent(phase.trafficShare), first)}</span>
        )}
      </div>
      <div class={`prog ${look.tone}`} aria-hidden="true">
        {elapsed !== null && <i style={{ "--v": elapsed }} />}
        {least !== null && <b style={{ "--at": least }} />}
      </div>
      <div class="txt">
        <PhaseText phase={phase} took={took} now={now} />
      </div>
    </li>
  );
}

function PhaseText({ phase, took, now }: { phase: Phase; took: number | null; now: number }): ComponentChildren {
  const t = texts();
  if (phase.startedAt === null) return null;
  const detail = phase.atMostMs !== null && phase.atMostMs < 600_000 ? "second" : "minute";
  const at = (time: number) => moment(time, now, zone.value, language.value, detail);
  const bounds = [phase.atLeastMs, phase.atMostMs].map((ms) => (ms === null ? "" : span(ms, language.value))) as [
    string,
    string,
  ];
  const text =
    phase.decidedAt === null
      ? t.release.phaseSince(at(phase.startedAt), span(took, language.value), ...bounds)
      : t.release.phaseRan(at(phase.startedAt), at(phase.decidedAt), span(took, language.value), ...bounds);
  return <Rich text={text} />;
}
