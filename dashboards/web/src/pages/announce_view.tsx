// What a policy can show of a release: a sentence, a picture and a table for each phase.

import { language, texts } from "../app/locale.ts";
import { asTables } from "../app/tables.ts";
import { Reach } from "../charts/reach.tsx";
import { Icon } from "../components/icon.tsx";
import { State } from "../components/states.tsx";
import { Rich } from "../components/text.tsx";
import {
  type Amount,
  type AnnouncedCheck,
  type AnnouncedPhase,
  type Announcement,
  inMargins,
  reachOf,
  tally,
} from "../model/announce.ts";
import { MARGIN, TEN, THREE, ZERO } from "../model/forest.ts";
import { count, effectText, ratio, span } from "../model/format.ts";
import type { Harm } from "../model/release.ts";

export function AnnounceView({ announcement }: { announcement: Announcement }) {
  const words = texts().policies.announce;
  if (announcement.phases.every((one) => one.checks.length === 0)) return <State head={words.none} height={80} />;
  return (
    <>
      {announcement.phases.map((phase) => (
        <Phase key={phase.name} phase={phase} />
      ))}
    </>
  );
}

function Phase({ phase }: { phase: AnnouncedPhase }) {
  const t = texts();
  const words = t.policies.announce;
  const { full, within, unknown } = tally(phase.checks);
  return (
    <section class="announced" aria-label={phase.name}>
      <div class="announced-head">
        <h3 class="h">{phase.name}</h3>
        {phase.atMostMs !== null && <span class="dim">{words.phase(span(phase.atMostMs, language.value))}</span>}
        <button
          class="link"
          type="button"
          aria-pressed={asTables.value}
          onClick={() => (asTables.value = !asTables.value)}
        >
          {asTables.value ? t.asChart : t.asTable}
        </button>
      </div>
      <p class="sec-note">
        {language.value === "en" && phase.text !== "" ? sentence(phase.text) : words.tally(full, within, unknown)}
      </p>
      <div class="bleed">
        <table role="table" class="t checks announce">
          <thead role="rowgroup">
            <tr role="row">
              <th role="columnheader">{words.head.check}</th>
              <th role="columnheader" class="num">
                {words.head.shift}
              </th>
              <Axis />
              <th role="columnheader" class="num">
                {words.head.margin}
              </th>
              <th role="columnheader" class="num">
                {words.head.goIn}
              </th>
              <th role="columnheader" class="says-c">
                {words.head.needs}
              </th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {phase.checks.map((check) => (
              <Row key={check.name} check={check} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Axis() {
  const { axis } = texts().policies.announce;
  if (asTables.value) return <th role="columnheader" class="num fx-n">{`× ${axis.margin}`}</th>;
  return (
    <th role="columnheader" class="fx">
      <span style={{ insetInlineStart: `${ZERO}%` }}>{axis.zero}</span>
      <span class="mt-tick" style={{ insetInlineStart: `${MARGIN}%` }}>
        {axis.margin}
      </span>
      <span style={{ insetInlineStart: `${THREE}%` }}>3×</span>
      <span style={{ insetInlineStart: `${TEN}%` }}>10×</span>
    </th>
  );
}

function Row({ check }: { check: AnnouncedCheck }) {
  const t = texts();
  const words = t.policies.announce;
  const shift = check.shift === null ? words.unknown : amountText(check.shift, check.harm);
  const margin = check.margin === null ? t.none : amountText(check.margin, check.harm);
  const margins = inMargins(check);
  return (
    <tr role="row">
      <td role="cell" class="name">
        <b>{check.name}</b>
        {check.vote === "veto" && <span class="tag">{t.release.checks.veto}</span>}
        {check.vote === "none" && <span class="tag">{t.release.checks.noVote}</span>}
        {check.harm === "down" && <span class="tag">{t.release.checks.harmDown}</span>}
        {check.harm === "either" && <span class="tag">{t.release.checks.harmEither}</span>}
        {check.method !== "" && <span class="second">{check.method}</span>}
      </td>
      <td role="cell" class={`num sh${check.shift === null ? " dim" : ""}`}>
        {reachOf(check) === "beyond" && <Icon name="warn" small tone="inconclusive" />}{" "}
        <span class={check.shift === null ? undefined : "est"}>{shift}</span>
      </td>
      {asTables.value ? (
        <td role="cell" class="num fx-n">
          {margins === null ? t.none : ratio(margins)}
        </td>
      ) : (
        <td role="cell" class="fx">
          {margins !== null && (
            <Reach margins={margins} both={check.harm === "either"} label={words.label(check.name, shift, margin)} />
          )}
        </td>
      )}
      <td role="cell" class="num mg dim" data-of={words.head.margin}>
        {margin}
      </td>
      <td role="cell" class="num goin" data-of={check.goInMs === null ? "" : words.head.goIn}>
        {goText(check)}
      </td>
      <td role="cell" class="says-c">
        <Says check={check} shift={shift} margin={margin} />
      </td>
    </tr>
  );
}

function goText(check: AnnouncedCheck): string {
  const words = texts().policies.announce;
  if (check.goInMs !== null) return `≈ ${span(check.goInMs, language.value)}`;
  return check.vote === "full" && check.margin !== null ? words.never : words.cannotGo;
}

/** The sentence, why it cannot be said where it cannot, and what would help most. */
function Says({ check, shift, margin }: { check: AnnouncedCheck; shift: string; margin: string }) {
  const words = texts().policies.announce;
  const english = language.value === "en" && check.text !== "";
  return (
    <>
      <p>{english ? sentence(check.text) : <Sentence check={check} shift={shift} margin={margin} />}</p>
      {check.newPods !== null && check.newPods.comparedWith !== "none" && <Pods pods={check.newPods} />}
      {check.values.length > 0 && <Values check={check} />}
      {check.helps.length > 0 && (
        <p class="helps">
          <span class="dim">{words.helps}: </span>
          {check.helps.map((one, index) => (
            <span key={one.what} title={one.text}>
              {index > 0 && "; "}
              {language.value === "en" && one.text !== "" ? one.text : (words.help[one.what] ?? one.text)}
              {one.shift !== null && <span class="dim"> ({words.later(amountText(one.shift, check.harm))})</span>}
            </span>
          ))}
        </p>
      )}
    </>
  );
}

function Sentence({ check, shift, margin }: { check: AnnouncedCheck; shift: string; margin: string }) {
  const t = texts();
  const words = t.policies.announce.sentence;
  const reason =
    check.reason === null ? null : (t.release.reason[check.reason.code]?.(check.name) ?? check.reason.text);
  const said = {
    within: words.within(shift, margin),
    beyond: words.beyond(shift, margin),
    no_margin: words.no_margin(shift),
    unknown: words.unknown(),
  }[reachOf(check)];
  return (
    <>
      {reason === null ? said : <Rich text={reason} />}
      {check.goInMs !== null && ` ${t.policies.announce.goIn(span(check.goInMs, language.value))}`}
    </>
  );
}

function Pods({ pods }: { pods: NonNullable<AnnouncedCheck["newPods"]> }) {
  const words = texts().policies.announce;
  const compared = words.comparedWith[pods.comparedWith] ?? pods.comparedWith;
  return (
    <p class="dim">
      {words.pods(compared, count(pods.canary), count(pods.old), count(pods.births), count(pods.events))}
      {pods.fresh !== null && pods.fresh > 0 && ` ${words.fresh(count(pods.fresh))}`}
      {pods.settledMs !== null && ` ${words.settled(span(pods.settledMs, language.value))}`}
    </p>
  );
}

/** A check that is tested value by value: the shift of each, the easiest to find first. */
function Values({ check }: { check: AnnouncedCheck }) {
  const t = texts();
  const words = t.policies.announce;
  return (
    <details class="more">
      <summary>{words.values(check.values.length)}</summary>
      <dl class="facts">
        {check.values.map((one) => (
          <>
            <dt key={one.value}>{one.value}</dt>
            <dd>
              {one.shift === null ? words.unknown : amountText(one.shift, check.harm)}
              {one.goInMs !== null && <span class="dim">, {words.goIn(span(one.goInMs, language.value))}</span>}
            </dd>
          </>
        ))}
      </dl>
    </details>
  );
}

/** The server writes a clause; here it stands alone. */
function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** A shift or a margin with its sign: the direction that harms. */
function amountText(amount: Amount, harm: Harm): string {
  const unit = amount.measure === "relative" ? "relative" : amount.unit;
  return effectText({ estimate: null, low: null, high: null, unit, measure: amount.measure }, amount.value, harm)
    .margin;
}
