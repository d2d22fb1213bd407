// Every decision of the range by time; its height is the time to decide.

import { language, texts, zone } from "../app/locale.ts";
import { clock, span, startOfDay, weekday } from "../model/format.ts";
import type { Decision } from "../model/release.ts";
import { linear, round, ticks } from "../model/scale.ts";
import { Mark, Plot, WIDTH } from "./plot.tsx";

export interface Decided {
  readonly id: string;
  readonly at: number;
  readonly tookMs: number;
  readonly decision: Decision;
}

const DAY = 86_400_000;

export function Week({
  decided,
  start,
  end,
  now,
}: {
  decided: readonly Decided[];
  start: number;
  end: number;
  now: number;
}) {
  const t = texts();
  const height = 92;
  const top = Math.max(60_000, ...decided.map((one) => one.tookMs)) * 1.12;
  const x = linear(start, end, 0, WIDTH);
  const y = linear(0, top, height, 0);
  const unit = top > 5_400_000 ? 3_600_000 : top > 180_000 ? 60_000 : 1000;
  const grid = ticks(0, top / unit, 3)
    .map((tick) => tick * unit)
    .filter((tick) => tick > 0);
  const days: number[] = [];
  for (let day = startOfDay(start, zone.value); day < end; day += DAY) days.push(day);
  const hours = end - start <= 2 * DAY;
  const labels = hours
    ? [start, (start + end) / 2].map((at) => ({
        at: x(at),
        text: clock(at, zone.value),
        anchor: at === start ? ("start" as const) : ("middle" as const),
      }))
    : days
        .filter((day) => day + DAY / 2 > start && day + DAY / 2 < end)
        .map((day, index) => ({
          at: x(day + DAY / 2),
          text: weekday(day, zone.value, language.value),
          optional: index % 2 === 1,
        }));
  return (
    <Plot
      height={height}
      left={58}
      label={t.releases.weekSay}
      yLabels={grid.map((tick) => ({ at: y(tick), text: span(tick, language.value) }))}
      xLabels={labels}
      body={
        <>
          {grid.map((tick) => (
            <path key={tick} class="g-line" d={`M0 ${round(y(tick))}H${WIDTH}`} />
          ))}
          {days
            .filter((day) => day > start)
            .map((day) => (
              <path key={day} class="g-line" d={`M${round(x(day))} ${height}V0`} />
            ))}
        </>
      }
      over={
        <>
          {decided.map((one) => (
            <Mark key={one.id} kind={one.decision} x={`${round(x(one.at) / 10)}%`} y={round(y(one.tookMs))} r={4} />
          ))}
          {now <= end && (
            <>
              <text
                class="lab"
                x={`${x(now) / 10}%`}
                y="0"
                dx={x(now) > 950 ? -5 : 5}
                dy="10"
                text-anchor={x(now) > 950 ? "end" : "start"}
              >
                {t.releases.now}
              </text>
              <line class="g-cursor" x1={`${x(now) / 10}%`} x2={`${x(now) / 10}%`} y1="0" y2="100%" />
            </>
          )}
        </>
      }
    />
  );
}
