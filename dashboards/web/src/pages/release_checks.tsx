// The table of checks with its forest plot, closest to harm first.

import { useState } from "preact/hooks";
import { language, store, stored, texts, zone } from "../app/locale.ts";
import { compare } from "../charts/evidence.tsx";
import { Forest } from "../charts/forest.tsx";
import { type Choice, Segments } from "../components/controls.tsx";
import { Badge, SignIcon } from "../components/icon.tsx";
import { GhostRows, State } from "../components/states.tsx";
import { MARGIN, TEN, THREE, ZERO } from "../model/forest.ts";
import { count, effectText, measuredPair, moment, probability } from "../model/format.ts";
import { type Check, checkId, type Quantile, type Sign, signOfCheck, type Verdict } from "../model/release.ts";
import { leading } from "../model/sentence.ts";
import { quantileName, rangeWords } from "./check_words.ts";

type Filter = "all" | Sign;

interface Props {
  readonly verdict: Verdict | null;
  readonly rows: readonly Check[];
  readonly selected: Check | null;
  readonly onSelect: (check: Check) => void;
  readonly now: number;
  readonly failed: boolean;
}

export function Checks({ verdict, rows, selected, onSelect, now, failed }: Props) {
  const t = texts();
  const [filter, setFilter] = useState<Filter>("all");
  const [details, setDetails] = useState(stored("details") === "on");
  const sign = (check: Check) => signOfCheck(check, verdict?.reasons ?? []).sign;
  const shown = rows.filter((check) => filter === "all" || sign(check) === filter);
  const present = (["no_go", "no_data", "inconclusive", "go"] as const).filter((one) =>
    rows.some((check) => sign(check) === one),
  );
  const choices: Choice<Filter>[] = [
    { value: "all", text: t.all, count: rows.length },
    ...present.map((one) => ({
      value: one,
      text: (
        <>
          <SignIcon sign={one} />
          {t.decision[one]}
        </>
      ),
      count: rows.filter((check) => sign(check) === one).length,
    })),
  ];
  if (verdict === null && failed) return null;
  return (
    <section class="sec" aria-labelledby="h-checks">
      <div class="sec-head">
        <h2 id="h-checks">{t.release.checks.title}</h2>
        {rows.length > 0 && (
          <Segments label={t.release.checks.filter} choices={choices} value={filter} onChange={setFilter} />
        )}
        <div class="tools">
          <span class="dim-2 nar-hide">{t.release.checks.order}</span>
          <label class="switch">
            <input
              type="checkbox"
              role="switch"
              aria-checked={details}
              checked={details}
              onChange={(event) => {
                setDetails(event.currentTarget.checked);
                store("details", event.currentTarget.checked ? "on" : "off");
              }}
            />
            {t.release.checks.details}
          </label>
        </div>
      </div>
      {verdict !== null && rows.length === 0 ? (
        <State head={t.release.checks.empty} text={t.release.checks.emptyText} />
      ) : (
        <div class="bleed">
          <table role="table" class={`t checks${details ? " detailed" : ""}`} aria-busy={verdict === null}>
            <Head details={details} />
            <tbody role="rowgroup">
              {verdict === null && <GhostRows rows={6} widths={[60, 60, 60, 60, 60, 60, 80, 70, 60, 60]} />}
              {verdict !== null && shown.length === 0 && (
                <tr role="row">
                  <td role="cell" class="dim" colSpan={12}>
                    {t.release.checks.none}
                  </td>
                </tr>
              )}
              {verdict !== null &&
                shown.map((check) => (
                  <CheckRows
                    key={checkId(check)}
                    check={check}
                    verdict={verdict}
                    selected={check === selected}
                    onSelect={() => onSelect(check)}
                    details={details}
                    now={now}
                  />
                ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Head({ details }: { details: boolean }) {
  const t = texts();
  const words = t.release.checks;
  const side = (name: "baseline" | "canary", word: string) => (
    <th role="columnheader" class="num">
      <span class={`sw ${name}`} />
      {word}
    </th>
  );
  return (
    <thead role="rowgroup">
      <tr role="row">
        <th role="columnheader">{words.head.decision}</th>
        <th role="columnheader">{words.head.check}</th>
        <th role="columnheader" class="ph">
          {words.head.phase}
        </th>
        {side("baseline", t.side.Baseline)}
        {side("canary", t.side.Canary)}
        <th role="columnheader" class="num">
          {words.head.difference}
        </th>
        <th role="columnheader">{words.head.interval}</th>
        <th role="columnheader" class="fx">
          <span class="l" style={{ insetInlineStart: "8px" }}>
            {words.better}
          </span>
          <span style={{ insetInlineStart: `${ZERO}%` }}>{words.zero}</span>
          <span class="mt-tick" style={{ insetInlineStart: `${MARGIN}%` }}>
            {words.marginTick}
          </span>
          <span style={{ insetInlineStart: `${THREE}%` }}>3×</span>
          <span style={{ insetInlineStart: `${TEN}%` }}>10×</span>
        </th>
        {details ? (
          <>
            <th role="columnheader" class="num st">
              {words.head.pHarm}
            </th>
            <th role="columnheader" class="num st">
              {words.head.pGo}
            </th>
            <th role="columnheader" class="num st">
              {words.head.spent}
            </th>
            <th role="columnheader" class="num st">
              {words.head.n}
            </th>
          </>
        ) : (
          <>
            <th role="columnheader" class="num mg">
              {words.head.margin}
            </th>
            <th role="columnheader" class="num dt">
              {words.head.decided}
            </th>
          </>
        )}
      </tr>
    </thead>
  );
}

interface RowProps {
  readonly check: Check;
  readonly verdict: Verdict;
  readonly selected: boolean;
  readonly onSelect: () => void;
  readonly details: boolean;
  readonly now: number;
}

/** A check, and under it the quantiles that do not speak for it. */
function CheckRows(props: RowProps) {
  const lead = leading(props.check);
  const others = props.check.quantiles.filter((one) => one !== lead).sort((a, b) => b.q - a.q);
  return (
    <>
      <CheckRow {...props} quantile={lead} main />
      {others.map((quantile) => (
        <CheckRow key={quantile.q} {...props} quantile={quantile} main={false} />
      ))}
    </>
  );
}

function CheckRow({
  check,
  verdict,
  selected,
  onSelect,
  details,
  now,
  quantile,
  main,
}: RowProps & { quantile: Quantile | null; main: boolean }) {
  const t = texts();
  const words = t.release.checks;
  const { sign, reason } = signOfCheck(check, verdict.reasons);
  const effect = quantile?.effect ?? check.effect;
  const written = effect && effect.estimate !== null ? effectText(effect, check.margin, check.harm) : null;
  const decision = quantile?.decision ?? check.decision;
  const values = quantile && (quantile.baseline !== null || quantile.canary !== null) ? quantile : check.values;
  const unit = check.values.unit;
  const [baseline, canary] = measuredPair(values.baseline, values.canary, unit);
  const hasValues = values.baseline !== null || values.canary !== null;
  const said = written ? `${written.estimate}, ${rangeWords(written.range)}, ${t.release.margin(written.margin)}` : "";
  const explain = written === null ? (reason?.text ?? words.empty) : "";
  const quiet = check.margin === null && sign === "inconclusive" && check.vote !== "full";
  return (
    <tr
      role="row"
      class={main ? undefined : "sub"}
      aria-selected={main && selected ? "true" : undefined}
      onClick={onSelect}
    >
      <td role="cell" class="dec">
        {main && (quiet ? <span class="badge none">{words.noHarm}</span> : <Badge sign={sign} />)}
      </td>
      <td role="cell" class="name">
        {main ? (
          <button class="row-pick" type="button" aria-pressed={selected} onClick={onSelect}>
            <b>{check.name}</b>
          </button>
        ) : (
          <b>{check.name}</b>
        )}
        {quantile && <span class="dim"> {quantileName(quantile.q)}</span>}
        {main && check.vote === "veto" && <span class="tag">{words.veto}</span>}
        {main && check.vote === "none" && <span class="tag">{words.noVote}</span>}
        {main && check.harm === "down" && <span class="tag">{words.harmDown}</span>}
        {main && check.harm === "either" && <span class="tag">{words.harmEither}</span>}
      </td>
      <td role="cell" class="dim ph">
        {main ? check.phase : ""}
      </td>
      <td role="cell" class="num a">
        {check.kind === "patterns" && !hasValues ? t.none : baseline}
      </td>
      <td role="cell" class="num b">
        {check.kind === "patterns" && !hasValues
          ? words.newCount(check.patterns.filter((one) => one.change === "new").length)
          : canary}
      </td>
      {written ? (
        <>
          <td role="cell" class="num d">
            <span class="est">{written.estimate}</span>
          </td>
          <td role="cell" class="ci-c" data-vs={hasValues ? `${baseline} → ${canary};` : ""}>
            <span class="ci">{rangeWords(written.range)}</span>
          </td>
        </>
      ) : (
        <td role="cell" class="why-c" colSpan={2} title={explain}>
          {explain}
        </td>
      )}
      <td role="cell" class="fx" title={check.margin === null ? words.ownScale : undefined}>
        <Forest
          effect={written ? effect : null}
          margin={check.margin}
          harm={check.harm}
          decision={decision}
          label={said}
        />
      </td>
      {details ? (
        <>
          <td role="cell" class="num st" data-of={words.head.pHarm}>
            {probability(check.pHarm)} <span class="sub-p">{compare(check.pHarm, check.level)}</span>
          </td>
          <td role="cell" class="num st" data-of={words.head.pGo}>
            {probability(check.pGo)} <span class="sub-p">{compare(check.pGo, check.levelGo)}</span>
          </td>
          <td role="cell" class="num st" data-of={words.head.spent}>
            {main && (
              <>
                {probability(check.spent)}
                {check.budget !== null && (
                  <span class="sub-p">
                    {" "}
                    {t.of} {probability(check.budget)}
                  </span>
                )}
              </>
            )}
          </td>
          <td role="cell" class="num st" data-of={words.head.n} title={check.method}>
            {main && count(check.n.canary)}
          </td>
        </>
      ) : (
        <>
          <td role="cell" class="num mg dim">
            {effect ? effectText(effect, check.margin, check.harm).margin : t.none}
          </td>
          <td role="cell" class="num dim dt">
            {decidedWords(check, quantile, now)}
          </td>
        </>
      )}
    </tr>
  );
}

function decidedWords(check: Check, quantile: Quantile | null, now: number): string {
  const t = texts();
  const at = quantile?.decidedAt ?? check.decidedAt;
  if (at !== null) return moment(at, now, zone.value, language.value, at % 60_000 === 0 ? "minute" : "second");
  const left = check.timeLeft?.highMs ?? null;
  if (left !== null && check.decision === "inconclusive")
    return t.release.checks.about(moment(now + left, now, zone.value, language.value));
  return t.none;
}
