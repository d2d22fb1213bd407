// Which checks ready-made packs took for this release, and which they left, each with its reason.

import { texts } from "../app/locale.ts";
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
      <div class="scroll" tabIndex={0} role="region" aria-label={words.taken(packs.taken.length)}>
        <table class="t packs-taken">
          <thead>
            <tr>
              <th>{words.head.check}</th>
              <th>{words.head.pack}</th>
              <th>{words.head.phase}</th>
              <th>{words.head.reads}</th>
              <th class="num">{words.head.margin}</th>
              <th>{words.head.why}</th>
            </tr>
          </thead>
          <tbody>
            {packs.taken.map((one) => (
              <Taken key={`${one.phase}/${one.check}`} one={one} />
            ))}
          </tbody>
        </table>
      </div>
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

function Taken({ one }: { one: TakenCheck }) {
  const t = texts();
  return (
    <tr>
      <td>
        <b>{one.check}</b>
        {one.vote === "veto" && <span class="tag">{t.release.checks.veto}</span>}
        {one.vote === "none" && <span class="tag">{t.release.checks.noVote}</span>}
      </td>
      <td>{one.pack}</td>
      <td class="dim">{one.phase}</td>
      <td class="reads">
        {one.source !== "" && <span class="dim">{one.source}</span>}
        {one.reads.map((query) => (
          <code key={query}>{query}</code>
        ))}
      </td>
      <td class="num">{one.margin || t.none}</td>
      <td class="why-p">
        {one.why}
        {one.note !== "" && <span class="second">{one.note}</span>}
      </td>
    </tr>
  );
}
