// Canary and baseline over time: median host over a band of hosts where there are several, one line a side otherwise.

import { texts, zone } from "../app/locale.ts";
import { clock, digitsFor, fixed, measured, percent, scaleFor } from "../model/format.ts";
import type { Phase, Point, Side } from "../model/release.ts";
import { bandPath, extent, linear, linePath, round, ticks, timeTicks } from "../model/scale.ts";
import { nearest, Plot, timeLabels, WIDTH } from "./plot.tsx";

/** One side's line, with the fastest and slowest host where more than one is known. */
export interface SideLine {
  readonly line: readonly Point[];
  readonly band: readonly (readonly [t: number, low: number, high: number])[];
}

interface Props {
  readonly name: string;
  readonly unit: string;
  readonly canary: SideLine;
  readonly baseline: SideLine;
  /** When the release began; what lies before is the pre-period. */
  readonly start: number | null;
  readonly phases: readonly Phase[];
  readonly decidedAt: number | null;
  readonly height: number;
}

const SIDES: readonly Side[] = ["baseline", "canary"];

export function ValuesChart({ name, unit, canary, baseline, start, phases, decidedAt, height }: Props) {
  const t = texts();
  const lines = { canary, baseline };
  const all = [...canary.line, ...baseline.line];
  const bands = [...canary.band, ...baseline.band];
  const found = extent([...all.map(([, value]) => value), ...bands.flatMap(([, low, high]) => [low, high])], 0.1);
  if (found === null) return null;
  const [low, high] = found[0] < 0 && all.every(([, value]) => value === null || value >= 0) ? [0, found[1]] : found;
  const from = Math.min(...all.map(([at]) => at));
  const to = Math.max(...all.map(([at]) => at));
  const x = linear(from, to === from ? from + 1 : to, 0, WIDTH);
  const y = linear(low, high, height, 0);
  const grid = ticks(low, high, 5);
  const scale = scaleFor(Math.max(Math.abs(low), Math.abs(high)), unit);
  const digits = grid.length > 1 ? Math.min(6, digitsFor(((grid[1] ?? 1) - (grid[0] ?? 0)) * scale.factor, 1)) : 1;
  const detail = to - from < 180_000 ? "second" : "minute";
  const times = [...new Set(all.map(([at]) => at))].sort((a, b) => a - b);
  const marks = phases.filter((phase) => phase.startedAt !== null && phase.startedAt >= from && phase.startedAt <= to);
  return (
    <Plot
      height={height}
      left={58}
      right={62}
      top={marks.length > 0 || start !== null ? 16 : 0}
      label={t.release.one.valuesLabel(name)}
      yLabels={grid.map((tick, index) => ({
        at: y(tick),
        text:
          fixed(tick * scale.factor, digits) + (index === grid.length - 1 && scale.unit ? `\u00a0${scale.unit}` : ""),
      }))}
      xLabels={timeLabels(timeTicks(from, to, 7), x, (at) => clock(at, zone.value, detail))}
      body={
        <>
          {grid.map((tick) => (
            <path key={tick} class="g-line" d={`M0 ${round(y(tick))}H${WIDTH}`} />
          ))}
          {start !== null && start > from && (
            <path class="a-pre" d={`M0 0H${round(x(Math.min(start, to)))}V${height}H0Z`} />
          )}
          {marks.map((phase) => (
            <path key={phase.name} class="g-mark" d={`M${round(x(phase.startedAt ?? 0))} ${height}V0`} />
          ))}
          {decidedAt !== null && decidedAt >= from && decidedAt <= to && (
            <path class="g-cursor" d={`M${round(x(decidedAt))} ${height}V0`} />
          )}
          {SIDES.map((side) => (
            <path
              key={side}
              class={`a-${side}`}
              d={bandPath(lines[side].band.map(([at, a, b]) => [x(at), y(b), y(a)] as const))}
            />
          ))}
          {SIDES.map((side) => (
            <path
              key={side}
              class={`l-${side}`}
              d={linePath(lines[side].line.map(([at, value]) => [x(at), value === null ? null : y(value)]))}
            />
          ))}
        </>
      }
      over={
        <>
          {start !== null && start - from > (to - from) * 0.12 && (
            <text class="lab" x="0%" y="0" dy="-5">
              {t.release.one.prePeriod}
            </text>
          )}
          {marks.map((phase) => (
            <text key={phase.name} class="lab" x={`${x(phase.startedAt ?? 0) / 10}%`} y="0" dy="-5">
              {phase.trafficShare === null ? phase.name : percent(phase.trafficShare)}
            </text>
          ))}
          <EndLabels canary={lastOf(canary.line)} baseline={lastOf(baseline.line)} x={x} y={y} />
        </>
      }
      scrub={{
        xs: times.map(x),
        name: t.release.one.valuesLabel(name),
        say: (index) =>
          `${clock(times[index] ?? 0, zone.value, "second")}: ${SIDES.map((side) => `${t.side[side]} ${measured(valueNear(lines[side].line, times[index] ?? 0), unit)}`).join(", ")}`,
        tip: (index) => (
          <table>
            <tbody>
              <tr>
                <td colSpan={2}>
                  <b>{clock(times[index] ?? 0, zone.value, "second")}</b>
                </td>
              </tr>
              {(["canary", "baseline"] as const).map((side) => (
                <tr key={side}>
                  <td>
                    <span class={`sw ${side}`} />
                    {t.side[side]}
                  </td>
                  <td class="num">
                    <b>{measured(valueNear(lines[side].line, times[index] ?? 0), unit)}</b>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        ),
      }}
    />
  );
}

/** Names the lines at their ends, and moves the names apart where the lines meet. */
function EndLabels({
  canary,
  baseline,
  x,
  y,
}: {
  canary: Point | null;
  baseline: Point | null;
  x: (t: number) => number;
  y: (value: number) => number;
}) {
  const t = texts();
  const place = (point: Point | null) =>
    point === null || point[1] === null ? null : { x: x(point[0]), y: y(point[1]) };
  const [c, b] = [place(canary), place(baseline)];
  const close = c !== null && b !== null && Math.abs(c.y - b.y) < 14 && Math.abs(c.x - b.x) < 80;
  const middle = close ? (c.y + b.y) / 2 : 0;
  const upper = close && c.y <= b.y;
  return (
    <>
      {c && (
        <text class="lab canary" x={`${c.x / 10}%`} y={close ? middle + (upper ? -7 : 7) : c.y} dx="6" dy="4">
          {t.side.canary}
        </text>
      )}
      {b && (
        <text class="lab" x={`${b.x / 10}%`} y={close ? middle + (upper ? 7 : -7) : b.y} dx="6" dy="4">
          {t.side.baseline}
        </text>
      )}
    </>
  );
}

function lastOf(points: readonly Point[]): Point | null {
  return [...points].reverse().find(([, value]) => value !== null) ?? null;
}

function valueNear(points: readonly Point[], t: number): number | null {
  if (points.length === 0) return null;
  const found =
    points[
      nearest(
        points.map(([at]) => at),
        t,
      )
    ];
  return found && found[0] === t ? found[1] : null;
}
