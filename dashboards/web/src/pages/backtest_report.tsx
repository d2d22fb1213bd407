// What a backtest came to: a sentence, the interval against alpha, power by check and effect, a row each check.

import { language, texts } from "../app/locale.ts";
import { asTables } from "../app/tables.ts";
import { Refused } from "../charts/refused.tsx";
import { Icon } from "../components/icon.tsx";
import { StackTable } from "../components/stack.tsx";
import { Rich } from "../components/text.tsx";
import {
  type BacktestCheck,
  type BacktestResult,
  holds,
  type Margins,
  type Power,
  powerGrid,
} from "../model/backtest.ts";
import { count, effectText, fixed, percent, span } from "../model/format.ts";

export function BacktestReport({ result }: { result: BacktestResult }) {
  const t = texts();
  const words = t.policies.backtest;
  const { refused, alpha, go } = result;
  const fine = holds(result);
  return (
    <>
      <p class="report-say">
        {words.sentence(
          percent(refused.share),
          percent(refused.low),
          percent(refused.high),
          alpha === null ? "" : percent(alpha),
        )}
      </p>
      <p class="sec-note">
        {fine !== null && (
          <>
            <Icon name={fine ? "ok" : "warn"} small tone={fine ? "" : "inconclusive"} />{" "}
            {words.verdict[fine ? "holds" : "broken"]}{" "}
          </>
        )}
        {go !== null && words.goes(percent(go.share), go.medianMs === null ? "" : span(go.medianMs, language.value))}
      </p>
      {result.restless.length > 0 && (
        <p class="sec-note">
          <Icon name="warn" small tone="inconclusive" />{" "}
          <Rich text={words.restlessSay(result.restless.map(restlessText).join(", "))} />
        </p>
      )}
      <div class="report">
        <figure class="chart">
          <figcaption>
            <b>{words.refused}</b>
            <Switch />
          </figcaption>
          {asTables.value || refused.share === null ? (
            <p>{words.refusedLabel(percent(refused.share), percent(refused.low), percent(refused.high))}</p>
          ) : (
            <Refused {...refused} alpha={alpha} />
          )}
          <p class="say">{runsText(result)}</p>
        </figure>
        <PowerTable power={result.power} />
      </div>
      <CheckTable result={result} />
      {result.untested.length > 0 && (
        <>
          <h3 class="h mt">{words.untested}</h3>
          <dl class="facts">
            {result.untested.map((one) => (
              <>
                <dt key={one.check}>{one.check || words.whole}</dt>
                <dd class="dim">{one.why}</dd>
              </>
            ))}
          </dl>
        </>
      )}
    </>
  );
}

function restlessText(one: { check: string; share: number | null }): string {
  return one.share === null ? one.check : texts().policies.backtest.restlessIn(one.check, percent(one.share));
}

function Switch() {
  const t = texts();
  return (
    <button class="link" type="button" aria-pressed={asTables.value} onClick={() => (asTables.value = !asTables.value)}>
      {asTables.value ? t.asChart : t.asTable}
    </button>
  );
}

function PowerTable({ power }: { power: readonly Power[] }) {
  const words = texts().policies.backtest;
  const grid = powerGrid(power);
  return (
    <figure class="chart">
      <figcaption>
        <b>{words.power}</b>
        <span class="say">{words.powerSay}</span>
        {power.length > 0 && <Switch />}
      </figcaption>
      {power.length === 0 ? (
        <p class="dim">{words.noPower}</p>
      ) : (
        <StackTable
          label={words.power}
          class="power"
          columns={[
            { head: words.head.check, class: "lead" },
            ...grid.effects.map((effect) => ({ head: effect, name: effect })),
          ]}
          rows={grid.rows.map((row) => ({
            key: row.check,
            cells: [row.check, ...row.cells.map((cell) => cell && <Found power={cell} />)],
          }))}
        />
      )}
    </figure>
  );
}

function Found({ power }: { power: Power }) {
  const t = texts();
  const words = t.policies.backtest;
  if (power.found === null) return <span class="dim">{t.none}</span>;
  const median = power.medianMs === null ? "" : span(power.medianMs, language.value);
  const range = power.low === null || power.high === null ? "" : t.fromTo(percent(power.low), percent(power.high));
  const share = (value: number) => `${Math.max(0, Math.min(1, value)) * 100}%`;
  return (
    <span class="found" title={[range, median && `${words.head.median}: ${median}`].filter(Boolean).join(", ")}>
      {asTables.value ? (
        <span class="dim-2">{range}</span>
      ) : (
        <span class="bar" aria-hidden="true">
          <i style={{ "--v": share(power.found) }} />
          {power.low !== null && power.high !== null && (
            <b style={{ "--at": share(power.low), "--v": share(power.high - power.low) }} />
          )}
        </span>
      )}
      <span class="num">{percent(power.found)}</span>
      <span class="dim-2">{median}</span>
    </span>
  );
}

function CheckTable({ result }: { result: BacktestResult }) {
  const t = texts();
  const words = t.policies.backtest;
  if (result.checks.length === 0) return null;
  return (
    <>
      <h3 class="h mt2">{words.checks}</h3>
      <p class="sec-note">{words.checksSay}</p>
      <StackTable
        label={words.checks}
        class="report-checks"
        columns={[
          { head: words.head.check, class: "lead" },
          ...(["alarms", "go", "cost", "slowest", "without", "margin", "suggested", "noise"] as const).map((one) => ({
            head: words.head[one],
            name: words.head[one],
            num: true,
          })),
        ]}
        rows={result.checks.map((one) => ({
          key: one.name,
          cells: cellsOf(
            one,
            result.restless.some((other) => other.check === one.name),
          ),
        }))}
      />
    </>
  );
}

function cellsOf(check: BacktestCheck, restless: boolean) {
  const t = texts();
  const words = t.policies.backtest;
  const time = (ms: number | null) => (ms === null ? t.none : span(ms, language.value));
  const noise = check.suggested?.inNoise ?? null;
  const without =
    check.without === null
      ? []
      : [percent(check.without.go), check.without.medianMs === null ? "" : time(check.without.medianMs)];
  return [
    <>
      {check.name}
      {check.vote === "veto" && <span class="tag">{t.release.checks.veto}</span>}
      {check.vote === "none" && <span class="tag">{t.release.checks.noVote}</span>}
      {restless && <span class="tag">{words.restless}</span>}
    </>,
    count(check.alarms),
    percent(check.go),
    time(check.goMedianMs),
    percent(check.slowest),
    without.filter((one) => one !== "").join(", ") || t.none,
    marginsText(check.margin, check.unit),
    marginsText(check.suggested, check.unit),
    noise === null ? t.none : words.byNoise(fixed(noise, noise < 10 ? 1 : 0)),
  ];
}

/** In the check's unit first; what part of the baseline that is, behind it. */
function marginsText(margins: Margins | null, unit: string): string {
  const { none } = texts();
  if (margins === null) return none;
  const known = [
    margins.absolute === null ? "" : bare(margins.absolute, unit, "difference"),
    margins.relative === null ? "" : bare(margins.relative, "relative", "relative"),
  ].filter((one) => one !== "");
  return known.length === 0 ? none : known.join(" · ");
}

function bare(value: number, unit: string, measure: string): string {
  const { margin } = effectText({ estimate: null, low: null, high: null, unit, measure }, value, "either");
  return margin.replace(/^±/, "");
}

function runsText(result: BacktestResult): string {
  const words = texts().policies.backtest;
  const { placebos } = result;
  const runs = words.runsSay(count(result.runs));
  if (placebos === null || placebos.units === null) return runs;
  return `${runs}${words.placebos(placebos.kind, count(placebos.canaryHosts), count(placebos.units), count(placebos.disjoint))}`;
}
