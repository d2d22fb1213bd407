// How the values of both sides are spread: the share of them at or below each value, canary over baseline.

import { texts } from "../app/locale.ts";
import { fixed, measured, percent, plain, scaleFor } from "../model/format.ts";
import type { Side } from "../model/release.ts";
import { linear, linePath, ticks } from "../model/scale.ts";
import { isWide, quantileOf, type Spread, shareAt } from "../model/spread.ts";
import { Plot, WIDTH } from "./plot.tsx";

interface Props {
  readonly name: string;
  readonly unit: string;
  readonly canary: Spread | null;
  readonly baseline: Spread | null;
  readonly height: number;
}

const PLACES = 60;
const SHARES = [0, 0.25, 0.5, 0.75, 1];

export function Ecdf({ name, unit, canary, baseline, height }: Props) {
  const t = texts();
  const spreads = [canary, baseline].filter((one): one is Spread => one !== null);
  const log = isWide(spreads);
  // The outermost hundredth would press the rest together.
  const low = Math.min(...spreads.map((one) => quantileOf(one, 0.005) ?? one.points[0]?.[0] ?? 0));
  const high = Math.max(...spreads.map((one) => quantileOf(one, 0.995) ?? one.points.at(-1)?.[0] ?? 0));
  const pad = low === high ? Math.abs(low) * 0.1 || 1 : 0;
  const on = (value: number) => (log ? Math.log10(Math.max(value, low / 10)) : value);
  const x = linear(on(low) - pad, on(high) + pad, 0, WIDTH);
  const y = linear(0, 1, height, 0);
  const at = Array.from({ length: PLACES + 1 }, (_one, index) => (WIDTH * index) / PLACES);
  const valueAt = (place: number) => {
    const value = on(low) - pad + (place / WIDTH) * (on(high) - on(low) + 2 * pad);
    return log ? 10 ** value : value;
  };
  const path = (spread: Spread) => {
    const points: [number, number][] = [];
    for (const [value, share] of spread.points) {
      const last = points.at(-1);
      if (spread.stepped) points.push([x(on(value)), last?.[1] ?? y(0)]);
      points.push([x(on(value)), y(share)]);
    }
    return linePath([...points, [WIDTH * 2, y(spread.points.at(-1)?.[1] ?? 1)]]);
  };
  const say = (side: Side, spread: Spread | null, value: number) =>
    spread === null ? "" : `${t.side[side]} ${percent(shareAt(spread, value), 2)}`;
  const scale = scaleFor(high, unit);
  const marks = log
    ? decadeTicks(low, high)
    : ticks((low - pad) * scale.factor, (high + pad) * scale.factor, 6).map((one) => one / scale.factor);
  return (
    <Plot
      height={height}
      left={44}
      right={8}
      label={t.release.one.spreadLabel(name)}
      yLabels={SHARES.map((share) => ({ at: y(share), text: share === 0 ? "0" : percent(share) }))}
      xLabels={marks.map((value, index) => ({
        at: x(on(value)),
        text: log
          ? tickText(value, unit)
          : `${fixed(value * scale.factor, decimals(marks, scale.factor))}${index === marks.length - 1 && scale.unit ? `\u00a0${scale.unit}` : ""}`,
        anchor: x(on(value)) > WIDTH - 40 ? "end" : x(on(value)) < 25 ? "start" : "middle",
        optional: index % 2 === 1,
      }))}
      body={
        <>
          {SHARES.map((share) => (
            <path key={share} class="g-line" d={`M0 ${y(share)}H${WIDTH}`} />
          ))}
          {marks.map((value) => (
            <path key={value} class="g-line" d={`M${x(on(value))} 0V${height}`} />
          ))}
          {baseline && <path class="l-baseline" d={path(baseline)} />}
          {canary && <path class="l-canary" d={path(canary)} />}
        </>
      }
      scrub={{
        xs: at,
        name: t.release.one.spreadLabel(name),
        say: (index) => {
          const value = valueAt(at[index] ?? 0);
          return `${measured(value, unit)}: ${say("canary", canary, value)}, ${say("baseline", baseline, value)}`;
        },
        tip: (index) => {
          const value = valueAt(at[index] ?? 0);
          return (
            <>
              <b>≤ {measured(value, unit)}</b>
              <br />
              <span class="sw canary" />
              {say("canary", canary, value)}
              <br />
              <span class="sw baseline" />
              {say("baseline", baseline, value)}
            </>
          );
        },
      }}
    />
  );
}

function decimals(values: readonly number[], factor: number): number {
  for (let digits = 0; digits < 6; digits += 1)
    if (values.every((one) => Math.abs(Number((one * factor).toFixed(digits)) - one * factor) < 1e-9)) return digits;
  return 6;
}

/** A round number with the unit in which it reads best. */
function tickText(value: number, unit: string): string {
  const scale = scaleFor(value, unit);
  const scaled = Number((value * scale.factor).toPrecision(3));
  return `${plain(scaled)}${scale.unit === "" ? "" : `\u00a0${scale.unit}`}`;
}

function decadeTicks(low: number, high: number): number[] {
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1)
    for (const step of [1, 3])
      if (step * 10 ** power >= low && step * 10 ** power <= high) found.push(step * 10 ** power);
  return found;
}
