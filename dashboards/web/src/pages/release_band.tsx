// The verdict: a sign, then a sentence, then a picture, then facts. Each says the same at greater length.

import { language, texts, zone } from "../app/locale.ts";
import { Difference } from "../charts/difference.tsx";
import { Icon, SIGN_ICON, SIGN_TONE } from "../components/icon.tsx";
import { Rich, Template } from "../components/text.tsx";
import { looksAllowed } from "../model/evidence.ts";
import { effectText, moment, percent, probability, span } from "../model/format.ts";
import {
  type Check,
  checkId,
  type Delivery,
  type Look,
  type Reason,
  type Release,
  type Sign,
  signOf,
  type Verdict,
} from "../model/release.ts";
import { closest, deciding, headline, leading, waitingChecks, weighty } from "../model/sentence.ts";
import { checkTitle, worstEnd } from "./check_words.ts";
import { differenceLooks } from "./look_series.ts";

interface Props {
  readonly release: Release;
  readonly verdict: Verdict;
  readonly looks: readonly Look[];
  readonly deliveries: readonly Delivery[] | null;
  readonly now: number;
}

export function VerdictBand({ release, verdict, looks, deliveries, now }: Props) {
  const t = texts();
  const sign = signOf({ ...release, decision: verdict.decision, final: verdict.final, reasons: verdict.reasons });
  return (
    <section class={`verdict ${SIGN_TONE[sign]}`} aria-label={t.release.verdict}>
      <div class="in">
        <Plate sign={sign} verdict={verdict} />
        <Says release={release} verdict={verdict} now={now} />
        <Picture verdict={verdict} looks={looks} sign={sign} />
        <Facts release={release} verdict={verdict} deliveries={deliveries} now={now} />
      </div>
    </section>
  );
}

function Plate({ sign, verdict }: { sign: Sign; verdict: Verdict }) {
  const t = texts();
  const phase = verdict.phases.find((one) => one.name === verdict.phase);
  const under = verdict.override
    ? t.release.overriddenBy(verdict.override.by)
    : sign === "running"
      ? phase?.decision === "waiting"
        ? t.release.onCall
        : t.release.soFar
      : sign === "inconclusive" && verdict.final
        ? t.release.timeOut
        : verdict.final
          ? t.release.final
          : "";
  const open = sign !== "go" && sign !== "no_go" && sign !== "inconclusive";
  const word = t.decision[sign];
  return (
    <div
      class={`plate ${SIGN_TONE[sign]}${open || !verdict.final ? " so-far" : ""}${word.length > 8 ? " long" : ""}`}
      role="status"
    >
      <Icon name={SIGN_ICON[sign]} />
      <span class="word">{word}</span>
      {under && <span class="fin">{under}</span>}
    </div>
  );
}

function Says({ release, verdict, now }: { release: Release; verdict: Verdict; now: number }) {
  const t = texts();
  const words = t.release;
  const { shown, left } = weighty(verdict);
  const outcome = release.outcomes.at(-1);
  const patterns = verdict.checks
    .flatMap((check) => (check.decision === "no_go" ? check.patterns : []))
    .filter((one) => one.change === "new" || one.change === "more");
  return (
    <div class="says">
      <p class="main">{mainSentence(release, verdict)}</p>
      {verdict.override && <p class="more-why">{words.why(verdict.override.why)}</p>}
      {shown.length > 0 && (
        <ul class="why">
          {shown.map((reason) => {
            const harm = reason.code === "harm_shown";
            return (
              <li key={`${reason.code} ${reason.check}`}>
                <Icon name={harm ? "no-go" : "inconclusive"} small tone={harm ? "no-go" : "inconclusive"} />
                <span>
                  <ReasonText reason={reason} phase={verdict.phase} />
                </span>
              </li>
            );
          })}
          {left > 0 && (
            <li>
              <span />
              <span class="dim">{words.moreReasons(left)}</span>
            </li>
          )}
        </ul>
      )}
      {patterns.slice(0, 2).map((pattern) => (
        <p class="more-why" key={pattern.id}>
          <Template text={pattern.text} />
        </p>
      ))}
      <MoreWhy verdict={verdict} />
      {outcome && (
        <p class="more-why">
          {words.outcome[outcome.action]?.(
            outcome.by,
            moment(outcome.time, now, zone.value, language.value, "second"),
            outcome.trafficShare === null ? "" : percent(outcome.trafficShare),
          ) ?? outcome.action}
        </p>
      )}
    </div>
  );
}

/** The server's own words where there are any, led by the check; the dictionary's otherwise. */
function ReasonText({ reason, phase }: { reason: Reason; phase: string }) {
  const phrase = texts().release.reason[reason.code]?.(reason.check || phase);
  if (language.value === "en" && reason.text !== "") {
    return (
      <>
        {reason.check && <b>{reason.check}: </b>}
        {reason.text}
      </>
    );
  }
  return (
    <>
      {phrase && <Rich text={phrase} />}
      {phrase && reason.text ? "；" : ""}
      {reason.text}
    </>
  );
}

function mainSentence(release: Release, verdict: Verdict): string {
  const t = texts();
  const words = t.release.headline;
  const head = headline(release.state, verdict);
  switch (head.kind) {
    case "go":
      return words.go(head.full);
    case "overridden":
      return words.overridden(t.decision[head.decision].toLowerCase(), head.by);
    case "worse": {
      const quantile = leading(head.check);
      const effect = quantile?.effect ?? head.check.effect;
      const written = effect ? effectText(effect, head.check.margin, head.check.harm) : null;
      const least = written === null ? t.none : head.check.harm === "down" ? written.high : written.low;
      // "Worse by" says the direction, so the sign would say it twice.
      const bare = (text: string) => (text === t.none ? "" : text.replace(/^[+−±]/, ""));
      return words.worse(checkTitle(head.check, quantile), bare(least), written === null ? "" : bare(written.margin));
    }
    case "patterns":
      return words.patterns(head.fresh, head.more);
    case "refused":
      return words.refused;
    case "running_clear":
      return words.runningClear(
        head.waiting,
        head.timeLeft?.lowMs == null ? "" : span(head.timeLeft.lowMs, language.value),
        head.timeLeft?.highMs == null ? "" : span(head.timeLeft.highMs, language.value),
      );
    case "running_hurt":
      return words.runningHurt(head.check.name);
    case "time_out":
      return words.timeOut(head.missing, head.full);
    case "waiting_phase":
      return words.waiting(head.phase);
    case "no_data":
      return words.noData;
    case "cancelled":
      return words.cancelled;
    case "failed":
      return words.failed;
    case "pending":
      return words.pending;
  }
}

/** Which check is nearest to its margin, and what holds up go. */
function MoreWhy({ verdict }: { verdict: Verdict }) {
  const t = texts();
  if (verdict.decision === "no_go") return null;
  const full = verdict.checks.filter((check) => check.vote === "full");
  const nearest = closest(
    full.filter((check) => check.margin !== null && (check.effect !== null || check.quantiles.length > 0)),
  );
  const vetoes = verdict.checks
    .filter((check) => check.vote === "veto" && check.decision === "inconclusive")
    .map((check) => check.name);
  const quantile = nearest && leading(nearest);
  const effect = nearest && (quantile?.effect ?? nearest.effect);
  const written = nearest && effect && effectText(effect, nearest.margin, nearest.harm);
  const done = full.filter((check) => check.decision === "go").length;
  return (
    <p class="more-why">
      {!verdict.final && full.length > 0 && verdict.decision === "inconclusive" && (
        <>{t.release.progress(done, full.length)} </>
      )}
      {nearest && written && (
        <>
          <Rich
            text={t.release.closest(
              checkTitle(nearest, quantile),
              written.estimate,
              worstEnd(nearest, written),
              written.margin,
            )}
          />{" "}
        </>
      )}
      {vetoes.length > 0 && verdict.decision === "go" && (
        <Rich text={t.release.vetoOnly([...new Set(vetoes)].join(", "))} />
      )}
    </p>
  );
}

/** The one difference worth a picture: of the check that refused, that needs longest, or that is closest to its margin. */
function Picture({ verdict, looks, sign }: { verdict: Verdict; looks: readonly Look[]; sign: Sign }) {
  const t = texts();
  const drawn = (check: Check) => differenceLooks(looks, check, leading(check)?.q ?? null).length > 1;
  const candidates = verdict.checks.filter(drawn);
  const refused = closest(candidates.filter((check) => check.decision === "no_go"));
  const waits = new Set(waitingChecks(verdict).map(checkId));
  const chosen =
    refused ??
    (sign === "running"
      ? closest(candidates.filter((check) => waits.has(checkId(check)) && check.margin !== null))
      : null) ??
    deciding(candidates);
  if (!chosen) return <figure class="chart" />;
  const quantile = leading(chosen);
  const say = refused ? t.release.refusedSay : sign === "running" ? t.release.longestSay : t.release.closestSay;
  return (
    <figure class="chart">
      <figcaption>
        <b>{t.release.difference(checkTitle(chosen, quantile))}</b>
        <span class="say">{say}</span>
      </figcaption>
      <Difference
        name={checkTitle(chosen, quantile)}
        looks={differenceLooks(looks, chosen, quantile?.q ?? null)}
        margin={chosen.margin}
        harm={chosen.harm}
        height={118}
      />
    </figure>
  );
}

function Facts({
  release,
  verdict,
  deliveries,
  now,
}: {
  release: Release;
  verdict: Verdict;
  deliveries: readonly Delivery[] | null;
  now: number;
}) {
  const t = texts();
  const words = t.release.facts;
  const phase = verdict.phases.find((one) => one.name === verdict.phase);
  const allowed = looksAllowed(phase?.atMostMs ?? null, release.intervalMs);
  const started = verdict.startedAt ?? release.start;
  const at = (time: number | null, detail: "minute" | "second" = "second") =>
    moment(time, now, zone.value, language.value, detail);
  const answered = deliveries?.filter((one) => one.attempts.some((attempt) => attempt.taken)) ?? [];
  return (
    <dl class="facts">
      {verdict.decidedAt !== null && verdict.final ? (
        <>
          <dt>{words.decided}</dt>
          <dd>
            {at(verdict.decidedAt)}{" "}
            {started !== null && (
              <span class="sub">{words.after(span(verdict.decidedAt - started, language.value))}</span>
            )}
          </dd>
        </>
      ) : (
        <>
          <dt>{words.now}</dt>
          <dd>{at(verdict.watermark)}</dd>
        </>
      )}
      {phase && phase.looks !== null && (
        <>
          <dt>{words.look}</dt>
          <dd>
            {words.lookOf(String(phase.looks), allowed === null ? "" : String(allowed))}, {phase.name}
          </dd>
        </>
      )}
      {verdict.alphaSpent !== null && (
        <>
          <dt>{words.alpha}</dt>
          <dd>
            {probability(verdict.alphaSpent)}{" "}
            {verdict.alpha !== null && <span class="sub">{`${t.of} ${probability(verdict.alpha)}`}</span>}
          </dd>
        </>
      )}
      {verdict.policy.name && (
        <>
          <dt>{words.policy}</dt>
          <dd>
            {verdict.policy.name}{" "}
            {verdict.policy.revision !== null && <span class="sub">{words.revision(verdict.policy.revision)}</span>}
          </dd>
        </>
      )}
      {deliveries !== null && deliveries.length > 0 && (
        <>
          <dt>{words.delivered}</dt>
          <dd>{words.deliveredOf(answered.length, deliveries.length)}</dd>
        </>
      )}
      {verdict.final && verdict.expiresAt !== null && (
        <>
          <dt>{words.expires}</dt>
          <dd>{at(verdict.expiresAt, "minute")}</dd>
        </>
      )}
    </dl>
  );
}
