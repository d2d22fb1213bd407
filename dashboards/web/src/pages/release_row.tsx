// One release in the list.

import { language, texts } from "../app/locale.ts";
import { EvidenceRow } from "../charts/evidence.tsx";
import { Badge, Icon } from "../components/icon.tsx";
import { effectText, percent, span } from "../model/format.ts";
import { type Check, type Phase, type ReleaseSummary, type Sign, signOf } from "../model/release.ts";
import { leading } from "../model/sentence.ts";
import { timeToDecide } from "../model/summary.ts";
import { checkTitle } from "./check_words.ts";
import { useRowEvidence } from "./row_evidence.ts";

interface Props {
  readonly release: ReleaseSummary;
  readonly now: number;
  readonly clock: (at: number | null) => string;
}

export function ReleaseRow({ release, now, clock }: Props) {
  const t = texts();
  const sign = signOf(release);
  const warning =
    sign === "running"
      ? release.reasons.find(
          (one) => one.code === "stale_data" || one.code === "no_data" || one.code === "share_mismatch",
        )
      : undefined;
  return (
    <tr role="row">
      <td role="cell" class="dec">
        <Badge sign={sign} />
        {release.overriddenBy !== "" && <span class="second nb">{t.releases.overridden(release.overriddenBy)}</span>}
        {sign === "inconclusive" && release.final && release.overriddenBy === "" && (
          <span class="second nb">{t.releases.timeOut}</span>
        )}
      </td>
      <td role="cell" class="rel">
        <a class="row-link" href={`releases/${encodeURIComponent(release.id)}`}>
          <b>{release.service}</b>{" "}
          <span class="dim">
            {release.baseline}
            <span class="arrow">→</span>
            {release.canary}
          </span>
        </a>
        {warning && (
          <>
            {" "}
            <span class="warn1" title={warning.text}>
              <Icon name="warn" small tone="inconclusive" />
              <span class="sr">{warning.text}</span>
            </span>
          </>
        )}
      </td>
      <td role="cell" class="dim wh">
        {[release.environment, release.region].filter((one) => one !== "").join(", ") || t.none}
      </td>
      <td role="cell" class="phc">
        <Phases phases={release.phases} sign={sign} now={now} />
      </td>
      <td role="cell" class="dim pht">
        {phaseText(release)}
      </td>
      <td role="cell" class="evc">
        <EvidenceCell release={release} sign={sign} />
      </td>
      <td role="cell" class="chk">
        {release.decidingCheck ? (
          <Deciding check={release.decidingCheck} reasons={release.reasons} />
        ) : (
          <span class="dim">{release.reasons[0]?.text ?? t.none}</span>
        )}
      </td>
      <td role="cell" class="num np">
        <NewPatterns counts={release.newPatterns} />
      </td>
      <td role="cell" class="num td">
        <Took release={release} sign={sign} now={now} />
      </td>
      <td role="cell" class="num dim ag">
        {clock(release.decidedAt ?? release.start)}
      </td>
      <td role="cell" class="dim by">
        {release.by}
      </td>
    </tr>
  );
}

function Phases({ phases, sign, now }: { phases: readonly Phase[]; sign: Sign; now: number }) {
  return (
    <div class="phs" style={{ gridTemplateColumns: `repeat(${Math.max(1, phases.length)}, 22px)` }}>
      {phases.map((phase) => {
        const open = phase.decision === "inconclusive" && phase.startedAt !== null;
        const tone =
          phase.decision === "go"
            ? "go"
            : phase.decision === "no_go"
              ? "no-go"
              : open && sign === "running"
                ? "running"
                : open
                  ? "inconclusive"
                  : "";
        const share = !open
          ? phase.startedAt === null
            ? 0
            : 1
          : sign !== "running" || phase.atMostMs === null
            ? 1
            : Math.min(1, Math.max(0.04, (now - (phase.startedAt ?? now)) / phase.atMostMs));
        return (
          <i key={phase.name} class={`prog ${tone}`}>
            {share > 0 && phase.decision !== "waiting" && <i style={{ "--v": `${share * 100}%` }} />}
          </i>
        );
      })}
    </div>
  );
}

function phaseText(release: ReleaseSummary): string {
  const t = texts();
  if (release.outcome !== "") return t.release.outcomes[release.outcome] ?? release.outcome;
  const phase = release.phases.find((one) => one.name === release.phase);
  if (!phase) return release.phase || t.none;
  return phase.trafficShare === null ? phase.name : `${phase.name}, ${percent(phase.trafficShare)}`;
}

function EvidenceCell({ release, sign }: { release: ReleaseSummary; sign: Sign }) {
  const t = texts();
  const { ref, points } = useRowEvidence(release);
  const end = sign === "running" || sign === "pending" ? "open" : release.decision;
  return (
    <div class="ev-cell" ref={ref}>
      {points.length === 0 ? (
        <span class="dim-2">{sign === "no_data" ? t.chart.noData : t.none}</span>
      ) : (
        <EvidenceRow points={points} end={end} label={t.releases.evidenceSay[end === "inconclusive" ? "open" : end]} />
      )}
    </div>
  );
}

function Deciding({ check, reasons }: { check: Check; reasons: ReleaseSummary["reasons"] }) {
  const t = texts();
  const quantile = leading(check);
  const effect = quantile?.effect ?? check.effect;
  const reason = reasons.find((one) => one.check === check.name);
  const name = checkTitle(check, quantile);
  if (effect === null) {
    return (
      <>
        <b>{name}</b> <span class="dim">{reason?.text ?? ""}</span>
      </>
    );
  }
  const written = effectText(effect, check.margin, check.harm);
  const harmIsUp = check.harm !== "down";
  const bound =
    check.decision === "no_go"
      ? harmIsUp
        ? `≥\u00a0${written.low}`
        : `≤\u00a0${written.high}`
      : harmIsUp
        ? `≤\u00a0${written.high}`
        : `≥\u00a0${written.low}`;
  return (
    <>
      <b>{name}</b>{" "}
      <span class="dim">
        {written.estimate === t.none ? "" : `${written.estimate}, `}
        {bound.endsWith(t.none) ? "" : bound}
      </span>
    </>
  );
}

const GRAVE = ["fatal", "error", "warn", "info"] as const;

function NewPatterns({ counts }: { counts: Readonly<Record<string, number>> | null }) {
  const t = texts();
  if (counts === null) return <span class="dim">{t.none}</span>;
  const worst = GRAVE.find((severity) => (counts[severity] ?? 0) > 0);
  if (!worst) return <span class="dim">0</span>;
  const text = t.releases.newPatterns[worst]?.(counts[worst] ?? 0) ?? String(counts[worst]);
  return <span class={worst === "error" || worst === "fatal" ? "hot" : "dim"}>{text}</span>;
}

function Took({ release, sign, now }: { release: ReleaseSummary; sign: Sign; now: number }) {
  const t = texts();
  if (sign !== "running" && sign !== "pending") return <>{span(timeToDecide(release), language.value)}</>;
  const left = release.timeLeft;
  const low = left?.lowMs ?? left?.highMs ?? null;
  const high = left?.highMs ?? null;
  return (
    <>
      {release.start === null ? t.none : span(Math.max(0, now - release.start), language.value)}
      {low !== null && high !== null && (
        <span class="second">{t.releases.left(span(low, language.value), span(high, language.value))}</span>
      )}
    </>
  );
}
