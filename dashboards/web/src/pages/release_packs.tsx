// Which checks ready-made packs took for this release, and which they left, each with its reason.

import { texts } from "../app/locale.ts";
import { StackTable } from "../components/stack.tsx";
import type { Packs, TakenCheck } from "../model/release.ts";

export function PacksPart({ packs }: { packs: Packs }) {
  const t = texts();
  const words = t.release.packs;
  return (
    <section aria-label={t.release.parts.packs}>
      <p class="sec-note">{words.note}</p>
      <p class="report-say">
        {words.taken(packs.taken.length)}, {words.left(packs.left.length)}
      </p>
      <StackTable
        label={words.taken(packs.taken.length)}
        class="packs-taken"
        columns={[
          { head: words.head.check, class: "lead" },
          { head: words.head.pack },
          { head: words.head.phase },
          { head: words.head.reads, class: "reads" },
          { head: words.head.margin, num: true, name: words.head.margin },
          { head: words.head.why, class: "why-p" },
        ]}
        rows={packs.taken.map((one) => ({ key: `${one.phase}/${one.check}`, cells: cellsOf(one) }))}
      />
      {packs.left.length > 0 && (
        <details class="more mt">
          <summary>
            {words.leftHead} ({packs.left.length})
          </summary>
          <dl class="facts packs-left">
            {packs.left.map((one) => (
              <>
                <dt key={`${one.pack}/${one.check}`}>
                  {one.check} <span class="dim-2">{one.pack}</span>
                </dt>
                <dd>{one.why}</dd>
              </>
            ))}
          </dl>
        </details>
      )}
    </section>
  );
}

function cellsOf(one: TakenCheck) {
  const t = texts();
  return [
    <>
      <b>{one.check}</b>
      {one.vote === "veto" && <span class="tag">{t.release.checks.veto}</span>}
      {one.vote === "none" && <span class="tag">{t.release.checks.noVote}</span>}
    </>,
    one.pack,
    <span key="phase" class="dim">
      {one.phase}
    </span>,
    <>
      {one.source !== "" && <span class="dim">{one.source}</span>}
      {one.reads.map((query) => (
        <code key={query}>{query}</code>
      ))}
    </>,
    one.margin || t.none,
    <>
      {one.why}
      {one.note !== "" && <span class="second">{one.note}</span>}
    </>,
  ];
}
