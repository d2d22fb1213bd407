// Log records over time, stacked by severity. A drag or the keyboard chooses a narrower range.

import { useRef, useState } from "preact/hooks";
import { texts, zone } from "../app/locale.ts";
import { clock, count } from "../model/format.ts";
import type { Stack } from "../model/log.ts";
import type { TimeMark } from "../model/marks.ts";
import { linear, round, ticks, timeTicks } from "../model/scale.ts";
import { Plot, timeLabels, WIDTH } from "./plot.tsx";

interface Props {
  readonly stacks: readonly Stack[];
  readonly stepMs: number;
  readonly start: number;
  readonly end: number;
  readonly marks: readonly TimeMark[];
  readonly onZoom: (start: number, end: number) => void;
}

const HEIGHT = 104;

export function Histogram({ stacks, stepMs, start, end, marks, onZoom }: Props) {
  const t = texts();
  const [drag, setDrag] = useState<readonly [number, number] | null>(null);
  const from = useRef<number | null>(null);
  const top = Math.max(1, ...stacks.map((one) => one.error + one.warn + one.other)) * 1.08;
  const x = linear(start, end, 0, WIDTH);
  const back = linear(0, WIDTH, start, end);
  const y = linear(0, top, HEIGHT, 0);
  const grid = ticks(0, top, 3).filter((tick) => Number.isInteger(tick));
  const detail = end - start < 180_000 ? "second" : "minute";
  const bar = (one: Stack, base: number, value: number) => {
    if (value <= 0) return "";
    const width = Math.max(1, x(one.time + stepMs) - x(one.time));
    return `M${round(x(one.time) + width * 0.1)} ${round(y(base))}h${round(width * 0.8)}V${round(Math.min(y(base) - 1, y(base + value)))}h${round(-width * 0.8)}z`;
  };
  const snapped = (a: number, b: number): readonly [number, number] => {
    const [left, right] = [Math.min(a, b), Math.max(a, b)].map(back) as [number, number];
    return [Math.max(start, Math.floor(left / stepMs) * stepMs), Math.min(end, Math.ceil(right / stepMs) * stepMs)];
  };
  const release = () => {
    if (from.current !== null && drag && Math.abs(drag[1] - drag[0]) > 6) onZoom(...snapped(drag[0], drag[1]));
    from.current = null;
    setDrag(null);
  };
  const selected = drag ? snapped(drag[0], drag[1]).map(x) : null;
  return (
    <div
      class="brushable"
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        from.current = plotX(event);
      }}
      onPointerMove={(event) => {
        const at = plotX(event);
        if (from.current !== null && at !== null) setDrag([from.current, at]);
      }}
      onPointerUp={release}
      onPointerLeave={release}
    >
      <Plot
        height={HEIGHT}
        top={marks.length > 0 ? 16 : 0}
        label={t.logs.histogramLabel}
        yLabels={grid.map((tick) => ({ at: y(tick), text: count(tick) }))}
        xLabels={timeLabels(timeTicks(start, end, 7), x, (at) => clock(at, zone.value, detail))}
        body={
          <>
            {grid.map((tick) => (
              <path key={tick} class="g-line" d={`M0 ${round(y(tick))}H${WIDTH}`} />
            ))}
            {marks.map((mark) => (
              <path key={mark.at} class="g-mark" d={`M${round(x(mark.at))} ${HEIGHT}V0`} />
            ))}
            <path class="b-err" d={stacks.map((one) => bar(one, 0, one.error)).join("")} />
            <path class="b-warn" d={stacks.map((one) => bar(one, one.error, one.warn)).join("")} />
            <path class="b-rest" d={stacks.map((one) => bar(one, one.error + one.warn, one.other)).join("")} />
            {selected && <path class="a-sel" d={`M${selected[0]} ${HEIGHT}H${selected[1]}V0H${selected[0]}Z`} />}
          </>
        }
        over={marks.map((mark, index) => (
          <text
            key={mark.at}
            class={`lab${mark.refused ? " no-go" : index > 0 ? " opt" : ""}`}
            x={`${x(mark.at) / 10}%`}
            y="0"
            dx={x(mark.at) > 800 ? 0 : 2}
            dy="-5"
            text-anchor={x(mark.at) > 800 ? "end" : "start"}
          >
            {mark.text}
          </text>
        ))}
        scrub={{
          xs: stacks.map((one) => x(one.time + stepMs / 2)),
          name: t.logs.histogramLabel,
          say: (index) => sayBar(stacks[index], t.logs.tiers),
          tip: (index) => <BarTip one={stacks[index]} />,
          choose: (index) => {
            const one = stacks[index];
            if (one) onZoom(one.time, one.time + stepMs);
          },
        }}
      />
    </div>
  );
}

/** Where the pointer is in the body's coordinates, though the event is the wrapper's. */
function plotX(event: PointerEvent): number | null {
  const plot = event.currentTarget instanceof Element ? event.currentTarget.querySelector(".plot") : null;
  if (!plot) return null;
  const box = plot.getBoundingClientRect();
  return Math.max(0, Math.min(WIDTH, ((event.clientX - box.left) / box.width) * WIDTH));
}

function sayBar(one: Stack | undefined, tiers: { error: string; warn: string; other: string }): string {
  if (!one) return "";
  return `${clock(one.time, zone.value, "second")}: ${one.error} ${tiers.error}, ${one.warn} ${tiers.warn}, ${one.other} ${tiers.other}`;
}

function BarTip({ one }: { one: Stack | undefined }) {
  const t = texts();
  if (!one) return null;
  const rows = [
    ["sv-e", t.logs.tiers.error, one.error],
    ["sv-w", t.logs.tiers.warn, one.warn],
    ["sv-o", t.logs.tiers.other, one.other],
  ] as const;
  return (
    <table>
      <tbody>
        <tr>
          <td colSpan={2}>
            <b>{clock(one.time, zone.value, "second")}</b>
          </td>
        </tr>
        {rows.map(([tone, word, n]) => (
          <tr key={tone}>
            <td>
              <span class={`sw ${tone}`} />
              {word}
            </td>
            <td class="num">
              <b>{count(n)}</b>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
