// What one side handles and the other does not: routes, callers, codes, and log templates.

import { useState } from "preact/hooks";
import { language, texts } from "../app/locale.ts";
import { Badge } from "../components/icon.tsx";
import { SeverityWord, Template } from "../components/text.tsx";
import {
  type ComparedCheck,
  type ComparedValue,
  type Compatibility,
  type Handled,
  oneSided,
  sortValues,
} from "../model/compatibility.ts";
import { count, effectText, percent } from "../model/format.ts";

const FIRST = 12;

export function CompatibilityPart({ compared }: { compared: Compatibility }) {
  const words = texts().release.compatibility;
  const { canary, baseline } = oneSided(compared);
  return (
    <section class="compat" aria-label={texts().release.parts.compatibility}>
      <p class="sec-note">{words.note}</p>
      {compared.checks.length > 0 && <p class="report-say">{words.summary(canary, baseline)}</p>}
      {compared.checks.map((check) => (
        <Compared key={`${check.phase}/${check.check}`} check={check} />
      ))}
      <Templates compared={compared} />
    </section>
  );
}

function Compared({ check }: { check: ComparedCheck }) {
  const t = texts();
  const words = t.release.compatibility;
  const [whole, setWhole] = useState(false);
  const sorted = sortValues(check.values);
  const shown = whole ? sorted : sorted.slice(0, FIRST);
  return (
    <>
      <div class="announced-head mt2">
        <h3 class="h">{check.check}</h3>
        <Badge sign={check.decision} />
        <span class="dim">{words.by(check.by)}</span>
        <span class="dim-2">{check.phase}</span>
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label={check.check}>
        <table class="t compat-values">
          <thead>
            <tr>
              <th>{words.head.value}</th>
              <th>{words.head.decision}</th>
              <th class="num">
                <span class="sw baseline" />
                {words.head.baseline}
              </th>
              <th class="num">
                <span class="sw canary" />
                {words.head.canary}
              </th>
              <th class="num">{words.head.difference}</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((one) => (
              <ValueRow key={one.value} one={one} check={check} />
            ))}
          </tbody>
        </table>
      </div>
      {!whole && sorted.length > FIRST && (
        <button class="link" type="button" onClick={() => setWhole(true)}>
          {words.all(sorted.length)}
        </button>
      )}
      {check.notListed > 0 && <p class="hint">{words.more(check.notListed)}</p>}
    </>
  );
}

function ValueRow({ one, check }: { one: ComparedValue; check: ComparedCheck }) {
  const t = texts();
  const words = t.release.compatibility;
  const written = one.effect === null ? null : effectText(one.effect, check.margin, check.harm);
  return (
    <tr>
      <td>
        <code>{one.value}</code>
        {one.onlyOn !== null && (
          <span class="tag only">
            <span class={`sw ${one.onlyOn}`} />
            {words.only[one.onlyOn]}
          </span>
        )}
      </td>
      <td class="nw">
        {one.tested && one.decision !== null ? (
          <Badge sign={one.decision} />
        ) : (
          <span class="dim-2">{words.pooled}</span>
        )}
      </td>
      <Side handled={one.baseline} />
      <Side handled={one.canary} />
      <td class="num">{written?.estimate ?? t.none}</td>
    </tr>
  );
}

function Side({ handled }: { handled: Handled }) {
  const t = texts();
  const words = t.release.compatibility;
  const { events, trials, share } = handled;
  if (trials === null || trials === 0) return <td class="num dim-2">{t.none}</td>;
  return (
    <td class="num">
      {share !== null && percent(share)}{" "}
      <span class="dim-2">{events === null ? count(trials) : words.of(count(events), count(trials))}</span>
    </td>
  );
}

function Templates({ compared }: { compared: Compatibility }) {
  const t = texts();
  const words = t.release.compatibility;
  return (
    <>
      <h3 class="h mt2">{words.templates}</h3>
      {compared.patterns.length === 0 ? (
        <p class="dim">{words.noTemplates}</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label={words.templates}>
          <table class="t">
            <thead>
              <tr>
                <th>{t.release.patterns.head.change}</th>
                <th>{t.release.patterns.head.severity}</th>
                <th>{words.head.template}</th>
                <th class="num">{words.head.baseline}</th>
                <th class="num">{words.head.canary}</th>
                <th class="num">{words.head.expected}</th>
              </tr>
            </thead>
            <tbody>
              {compared.patterns.map((one) => (
                <tr key={`${one.check} ${one.id}`}>
                  <td class="nw" lang={language.value}>
                    {changeWord(one.change)}
                  </td>
                  <td>
                    <SeverityWord severity={one.severity} />
                  </td>
                  <td class="tpl">
                    <Template text={one.text} />
                  </td>
                  <td class="num">{count(one.baseline)}</td>
                  <td class="num">{count(one.canary)}</td>
                  <td class="num dim">{count(one.expected)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {compared.patternsNotListed > 0 && <p class="hint">{words.more(compared.patternsNotListed)}</p>}
    </>
  );
}

function changeWord(change: string): string {
  const words = texts().release.patterns.change;
  return change === "new" || change === "gone" ? words[change] : change;
}
