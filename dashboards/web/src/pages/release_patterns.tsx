// Log patterns that differ between the sides, with what was expected and lines to read.

import { useState } from "preact/hooks";
import { language, texts, zone } from "../app/locale.ts";
import { MirrorBars } from "../charts/spark.tsx";
import { Segments } from "../components/controls.tsx";
import { State } from "../components/states.tsx";
import { SeverityWord, Template } from "../components/text.tsx";
import { clock, count, moment, ratio } from "../model/format.ts";
import { bySeverity, templateQuery, variables } from "../model/log.ts";
import { type Check, checkId, type Pattern, type PatternChange, type Release, type Verdict } from "../model/release.ts";

type Filter = "changed" | PatternChange;

const CHANGES = ["new", "more", "fewer", "gone", "same"] as const;

interface Found {
  readonly pattern: Pattern;
  readonly check: Check;
}

export function LogPatterns({ release, verdict, now }: { release: Release; verdict: Verdict; now: number }) {
  const t = texts();
  const words = t.release.patterns;
  const [filter, setFilter] = useState<Filter>("changed");
  const checks = verdict.checks.filter((check) => check.kind === "patterns" || check.patterns.length > 0);
  if (checks.length === 0) return null;
  const all = gather(checks);
  const of = (change: Filter) =>
    all.filter(({ pattern }) => (change === "changed" ? pattern.change !== "same" : pattern.change === change));
  const shown = of(filter).sort(graver);
  return (
    <section class="sec" aria-labelledby="h-pat">
      <div class="sec-head">
        <h2 id="h-pat">{words.title}</h2>
        {all.length > 0 && (
          <Segments
            label={words.filter}
            value={filter}
            onChange={setFilter}
            choices={[
              { value: "changed", text: words.changed, count: of("changed").length },
              ...CHANGES.filter((change) => change !== "same" || of("same").length > 0).map((change) => ({
                value: change,
                text: words.change[change],
                count: of(change).length,
              })),
            ]}
          />
        )}
      </div>
      {all.length === 0 ? (
        <State head={words.empty} height={60} />
      ) : shown.length === 0 ? (
        <p class="dim pad-y">{words.none}</p>
      ) : (
        <table role="table" class="t pats">
          <Head />
          <tbody role="rowgroup">
            {shown.slice(0, 100).map(({ pattern, check }) => (
              <PatternRows
                key={`${checkId(check)} ${pattern.id} ${pattern.change}`}
                pattern={pattern}
                check={check}
                release={release}
                verdict={verdict}
                now={now}
              />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

/** One row a template: where phases repeat a check, the latest phase speaks. */
function gather(checks: readonly Check[]): Found[] {
  const found = new Map<string, Found>();
  for (const check of checks)
    for (const pattern of check.patterns) found.set(`${check.name} ${pattern.id || pattern.text}`, { pattern, check });
  return [...found.values()];
}

function graver(a: Found, b: Found): number {
  const refuses = (one: Found) =>
    one.check.decision === "no_go" && (one.pattern.change === "new" || one.pattern.change === "more") ? 0 : 1;
  return (
    refuses(a) - refuses(b) ||
    CHANGES.indexOf(a.pattern.change) - CHANGES.indexOf(b.pattern.change) ||
    bySeverity(a.pattern.severity, b.pattern.severity) ||
    (b.pattern.canary ?? 0) - (a.pattern.canary ?? 0)
  );
}

function Head() {
  const t = texts();
  const head = t.release.patterns.head;
  return (
    <thead role="rowgroup">
      <tr role="row">
        <th role="columnheader" class="w-chg">
          {head.change}
        </th>
        <th role="columnheader" class="w-sev">
          {head.severity}
        </th>
        <th role="columnheader">{head.pattern}</th>
        <th role="columnheader" class="num">
          <span class="sw baseline" />
          {t.side.Baseline}
        </th>
        <th role="columnheader" class="num">
          <span class="sw canary" />
          {t.side.Canary}
        </th>
        <th role="columnheader" class="w-rate">
          {head.rate}
        </th>
        <th role="columnheader" class="w-rate">
          {head.over}
        </th>
        <th role="columnheader" class="num">
          {head.hosts}
        </th>
        <th role="columnheader">
          <span class="sr">{head.actions}</span>
        </th>
      </tr>
    </thead>
  );
}

interface RowProps {
  readonly pattern: Pattern;
  readonly check: Check;
  readonly release: Release;
  readonly verdict: Verdict;
  readonly now: number;
}

function PatternRows({ pattern, check, release, verdict, now }: RowProps) {
  const t = texts();
  const words = t.release.patterns;
  const fresh = pattern.change === "new";
  const harmful = fresh && (pattern.severity === "error" || pattern.severity === "fatal");
  const refuses =
    check.decision === "no_go" &&
    (fresh || pattern.change === "more") &&
    check.vote !== "none" &&
    bySeverity(pattern.severity, "warn") <= 0;
  const notes = [
    pattern.firstSeen === null
      ? ""
      : words.firstSeen(moment(pattern.firstSeen, now, zone.value, language.value, "second")),
    refuses ? words.refuses : "",
    pattern.accepted ? words.accepted : "",
  ].filter((one) => one !== "");
  const open = pattern.examples.length > 0;
  return (
    <>
      <tr role="row" class={open ? "open-row" : undefined}>
        <td role="cell" class="vt chg">
          <span class={`chg-w${harmful ? " no-go" : ""}`}>{words.change[pattern.change]}</span>
        </td>
        <td role="cell" class="vt sv">
          <SeverityWord severity={pattern.severity} />
        </td>
        <td role="cell" class="vt pt">
          <Template text={pattern.text} />
          {notes.length > 0 && <div class="second">{notes.join(", ")}</div>}
        </td>
        <td role="cell" class="num vt nb" data-l={t.side.baseline}>
          {count(pattern.baseline)}
        </td>
        <td role="cell" class="num vt nc" data-l={t.side.canary}>
          <b>{count(pattern.canary)}</b>
        </td>
        <td role="cell" class="vt rt nw">
          <Rate pattern={pattern} />
        </td>
        <td role="cell" class="vt sp">
          <MirrorBars canary={pattern.counts.canary} baseline={pattern.counts.baseline} label={words.sparkLabel} />
        </td>
        <td role="cell" class="num vt nw hs">
          {pattern.units === null
            ? t.none
            : words.hosts(pattern.units, pattern.unitsTotal ?? verdict.cohorts.canary?.units ?? null)}
        </td>
        <td role="cell" class="vt num act">
          <a class="link" href={logsLink(pattern, release, verdict)}>
            {words.records}
          </a>
        </td>
      </tr>
      {open && (
        <tr role="row" class="exrow">
          <td role="cell" />
          <td role="cell" />
          <td role="cell" colSpan={7}>
            <ul class="examples">
              {pattern.examples.slice(0, 3).map((one, index) => (
                <li key={`${one.time} ${index}`}>
                  <span>{clock(one.time, zone.value, "milli")}</span>
                  <span>{one.unit}</span>
                  <span>
                    {variables(one.body.slice(0, 2000), pattern.text).map((piece, at) =>
                      piece.variable ? <mark key={at}>{piece.text}</mark> : piece.text,
                    )}
                  </span>
                </li>
              ))}
            </ul>
          </td>
        </tr>
      )}
    </>
  );
}

/** What was seen against what was expected. `low` and `high` bound the ratio only where both sides were seen. */
function Rate({ pattern }: { pattern: Pattern }) {
  const words = texts().release.patterns;
  const { change, canary, expected, low, high } = pattern;
  const expectedText = expected === null ? "" : String(Number(expected.toPrecision(2)));
  if (change === "gone")
    return (
      <span class="dim">
        {expected !== null && expected < 5
          ? words.tooEarly(expectedText)
          : expectedText && words.expected(expectedText)}
      </span>
    );
  if (change === "new" || canary === null || expected === null || expected <= 0)
    return <span class="dim">{expectedText && words.expected(expectedText)}</span>;
  return (
    <>
      {words.ratio(ratio(canary / expected))}{" "}
      {low !== null && (
        <span class="dim">
          ({high === null ? texts().atLeast(ratio(low)) : texts().fromTo(ratio(low), ratio(high))})
        </span>
      )}
    </>
  );
}

/** The records of a template on both sides over the release. */
function logsLink(pattern: Pattern, release: Release, verdict: Verdict): string {
  const start = verdict.startedAt ?? release.start;
  const end = verdict.watermark ?? verdict.decidedAt;
  const search = new URLSearchParams();
  search.set("q", templateQuery(pattern.text));
  if (start !== null) search.set("from", String(start - 60_000));
  if (end !== null) search.set("to", String(end + 60_000));
  return `logs?${search}`;
}
