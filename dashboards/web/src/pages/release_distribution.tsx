// One check's values as a distribution: whole where the looks give what they pinned, else interval by interval.

import { fetchPinned } from "../api/look_data.ts";
import { texts } from "../app/locale.ts";
import { asTables } from "../app/tables.ts";
import { Ecdf } from "../charts/ecdf.tsx";
import { GhostChart, State } from "../components/states.tsx";
import { count, measured, measuredPair } from "../model/format.ts";
import type { Check, Release } from "../model/release.ts";
import { ofPinned, ofPoints, quantileOf, type Spread } from "../model/spread.ts";
import { ChartCaption, TwinTable } from "./chart_parts.tsx";
import { quantileName } from "./check_words.ts";
import { useResource } from "./resource.ts";

/** Kinds whose looks hold values, and not counts alone. */
const VALUED: ReadonlySet<string> = new Set(["distribution", "mean"]);
const QUANTILES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

interface Props {
  readonly release: Release;
  readonly check: Check;
  readonly startedAt: number | null;
  readonly watermark: number | null;
  readonly title: string;
  readonly height: number;
}

export function Distribution({ release, check, startedAt, watermark, title, height }: Props) {
  const t = texts();
  const words = t.release.one;
  const valued = VALUED.has(check.kind);
  const asked = useResource(
    valued ? `pinned ${release.id} ${check.phase}/${check.name} ${watermark ?? ""}` : null,
    (signal) => fetchPinned(release.id, check, signal),
  );
  const whole = asked.value && { canary: ofPinned(asked.value.canary), baseline: ofPinned(asked.value.baseline) };
  const isWhole = whole !== null && (whole.canary !== null || whole.baseline !== null);
  const sides = isWhole
    ? whole
    : {
        canary: ofPoints(check.history?.canary ?? [], startedAt),
        baseline: ofPoints(check.history?.baseline ?? [], startedAt),
      };
  const empty = sides.canary === null && sides.baseline === null;
  const unit = check.kind === "patterns" ? "" : check.values.unit;
  return (
    <figure class="chart">
      <ChartCaption name={isWhole ? words.spread(check.name) : words.spreadByInterval(title)} table={!empty}>
        <span class="key">
          {(["canary", "baseline"] as const).map((side) => (
            <span key={side}>
              <span class={`sw ${side}`} />
              {t.side[side]}, {words.spreadN(count(sides[side]?.n ?? 0))}
            </span>
          ))}
        </span>
      </ChartCaption>
      {valued && asked.loading && asked.value === null && asked.error === null ? (
        <GhostChart height={height} />
      ) : empty ? (
        <State head={words.noSpread} text={words.noSpreadText} height={height} />
      ) : asTables.value ? (
        <QuantileTable sides={sides} unit={unit} height={height} />
      ) : (
        <Ecdf name={title} unit={unit} canary={sides.canary} baseline={sides.baseline} height={height} />
      )}
      {!empty && (
        <p class="say">
          <Medians sides={sides} unit={unit} /> {!isWhole && words.spreadIntervals}
        </p>
      )}
    </figure>
  );
}

interface Sides {
  readonly canary: Spread | null;
  readonly baseline: Spread | null;
}

const at = (spread: Spread | null, q: number) => (spread === null ? null : quantileOf(spread, q));

function Medians({ sides, unit }: { sides: Sides; unit: string }) {
  const words = texts().release.one;
  const [canary, baseline] = measuredPair(at(sides.canary, 0.5), at(sides.baseline, 0.5), unit);
  return <>{words.medians(canary, baseline)}</>;
}

function QuantileTable({ sides, unit, height }: { sides: Sides; unit: string; height: number }) {
  const words = texts().release.one;
  return (
    <TwinTable
      head={[words.quantile, words.tableHead.baseline, words.tableHead.canary]}
      label={words.distribution}
      height={height}
    >
      {QUANTILES.map((q) => [
        quantileName(q),
        measured(at(sides.baseline, q), unit),
        measured(at(sides.canary, q), unit),
      ])}
    </TwinTable>
  );
}
