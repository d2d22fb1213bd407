// What is being said, by template: counts follow the search and the range.

import type { Patterns } from "../api/logs_patterns.ts";
import { texts } from "../app/locale.ts";
import { GhostRows, Note, State, TroubleNote } from "../components/states.tsx";
import { Rich, SeverityWord, Template } from "../components/text.tsx";
import { count, percent } from "../model/format.ts";
import type { LogPattern } from "../model/log.ts";
import { type Resource, troubleOf } from "./resource.ts";

export function PatternsPart({
  patterns,
  total,
  onChoose,
}: {
  patterns: Resource<Patterns>;
  total: number | null;
  onChoose: (pattern: LogPattern) => void;
}) {
  const t = texts();
  const head = t.logs.head;
  const found = patterns.value?.patterns ?? [];
  if (patterns.error !== null && patterns.value === null && patterns.error.kind !== "aborted")
    return <TroubleNote trouble={troubleOf(patterns.error)} onRetry={patterns.reload} />;
  if (patterns.value !== null && found.length === 0)
    return <State head={t.logs.noPatterns} text={t.logs.noResultText} height={160} />;
  const all = total ?? found.reduce((sum, one) => sum + one.count, 0);
  const most = found[0]?.count ?? 1;
  return (
    <>
      {patterns.value?.partial && (
        <Note kind="partial">
          <Rich text={t.errors.partial} />
        </Note>
      )}
      <p class="sec-note pad-y">{patterns.value === null ? "\u00a0" : t.logs.patternsSay(count(found.length))}</p>
      <div class="scroll" tabIndex={0} role="region" aria-label={t.logs.patterns}>
        <table class="t pattern-list">
          <thead>
            <tr>
              <th class="num">{head.count}</th>
              <th class="num">{head.share}</th>
              <th>{head.severity}</th>
              <th>{head.pattern}</th>
              <th class="pat-bar">
                <span class="sr">{head.share}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {patterns.value === null && <GhostRows rows={8} widths={[30, 30, 40, 90, 60]} />}
            {found.map((one) => (
              <tr key={one.id || one.text}>
                <td class="num">
                  <b>{count(one.count)}</b>
                </td>
                <td class="num dim">{all > 0 ? percent(one.count / all) : t.none}</td>
                <td>
                  <SeverityWord severity={one.severity} />
                </td>
                <td title={one.example}>
                  <button
                    class="row-pick"
                    type="button"
                    aria-label={`${t.logs.ofPattern}: ${one.text}`}
                    onClick={() => onChoose(one)}
                  >
                    <Template text={one.text} />
                  </button>
                </td>
                <td class="pat-bar" aria-hidden="true">
                  <i style={{ "--v": `${(one.count / most) * 100}%` }} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
