// What one side handles and the other does not: routes, callers, codes, and log templates.

import { useState } from "preact/hooks";
import { texts } from "../app/locale.ts";
import { Badge } from "../components/icon.tsx";
import { StackTable } from "../components/stack.tsx";
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
      <StackTable
        label={check.check}
        class="compat-values"
        columns={[
          { head: words.head.value, class: "lead" },
          { head: words.head.decision },
          { head: sided("baseline", words.head.baseline), num: true, name: words.head.baseline },
          { head: sided("canary", words.head.canary), num: true, name: words.head.canary },
          { head: words.head.difference, num: true, name: words.head.difference },
        ]}
        rows={shown.map((one) => ({ key: one.value, cells: cellsOf(one, check) }))}
      />
      {!whole && sorted.length > FIRST && (
        <button class="link" type="button" onClick={() => setWhole(true)}>
          {words.all(sorted.length)}
        </button>
      )}
      {check.notListed > 0 && <p class="hint">{words.more(check.notListed)}</p>}
    </>
  );
}

function sided(side: "baseline" | "canary", word: string) {
  return (
    <>
      <span class={`sw ${side}`} />
      {word}
    </>
  );
}

function cellsOf(one: ComparedValue, check: ComparedCheck) {
  const t = texts();
  const words = t.release.compatibility;
  const written = one.effect === null ? null : effectText(one.effect, check.margin, check.harm);
  return [
    <>
      <code>{one.value}</code>
      {one.onlyOn !== null && (
        <span class="tag only">
          <span class={`sw ${one.onlyOn}`} />
          {words.only[one.onlyOn]}
        </span>
      )}
    </>,
    one.tested && one.decision !== null ? <Badge sign={one.decision} /> : <span class="dim-2">{words.pooled}</span>,
    <Side key="baseline" handled={one.baseline} />,
    <Side key="canary" handled={one.canary} />,
    written?.estimate ?? t.none,
  ];
}

function Side({ handled }: { handled: Handled }) {
  const t = texts();
  const words = t.release.compatibility;
  const { events, trials, share } = handled;
  if (trials === null || trials === 0) return <span class="dim-2">{t.none}</span>;
  return (
    <>
      {share !== null && percent(share)}{" "}
      <span class="dim-2">{events === null ? count(trials) : words.of(count(events), count(trials))}</span>
    </>
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
        <StackTable
          label={words.templates}
          columns={[
            { head: t.release.patterns.head.change },
            { head: t.release.patterns.head.severity },
            { head: words.head.template, class: "tpl" },
            { head: words.head.baseline, num: true, name: words.head.baseline },
            { head: words.head.canary, num: true, name: words.head.canary },
            { head: words.head.expected, num: true, name: words.head.expected },
          ]}
          rows={compared.patterns.map((one) => ({
            key: `${one.check} ${one.id}`,
            cells: [
              <b key="change">{changeWord(one.change)}</b>,
              <SeverityWord key="severity" severity={one.severity} />,
              <Template key="text" text={one.text} />,
              count(one.baseline),
              count(one.canary),
              count(one.expected),
            ],
          }))}
        />
      )}
      {compared.patternsNotListed > 0 && <p class="hint">{words.more(compared.patternsNotListed)}</p>}
    </>
  );
}

function changeWord(change: string): string {
  const words = texts().release.patterns.change;
  return change === "new" || change === "gone" ? words[change] : change;
}
