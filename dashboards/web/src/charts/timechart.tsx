// Many series on canvas: a wrapper of uPlot that adds the cohort colours, a keyboard cursor and the marks of releases.

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { themeTurns, zone } from "../app/locale.ts";
import { clock, digitsFor, fixed, scaleFor, stamp } from "../model/format.ts";
import type { TimeMark } from "../model/marks.ts";
import { ticks } from "../model/scale.ts";
import type { Tone } from "../model/series.ts";

export interface ChartSeries {
  readonly name: string;
  readonly tone: Tone;
  readonly shown: boolean;
}

interface Props {
  readonly name: string;
  /** Epoch milliseconds, ascending. */
  readonly times: readonly number[];
  readonly rows: readonly (readonly (number | null)[])[];
  readonly series: readonly ChartSeries[];
  readonly unit: string;
  readonly height: number;
  readonly marks: readonly TimeMark[];
  readonly onZoom: (start: number, end: number) => void;
  readonly onCursor: (index: number | null) => void;
  readonly say: (index: number) => string;
}

export function TimeChart(props: Props) {
  const { name, times, rows, series, unit, height, marks } = props;
  const holder = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const [at, setAt] = useState<number | null>(null);
  const turns = themeTurns.value;
  const shownZone = zone.value;
  const shape = series.map((one) => one.tone).join();

  useEffect(() => {
    const node = holder.current;
    if (!node) return;
    const built = build(node, { name, times, rows, series, unit, height, marks, zone: shownZone }, latest);
    chart.current = built;
    const sized = new ResizeObserver(() => built.setSize({ width: node.clientWidth, height }));
    sized.observe(node);
    return () => {
      sized.disconnect();
      built.destroy();
    };
    // Colours and shape stand for what must rebuild the chart.
  }, [turns, shownZone, shape, unit, height, times, rows, marks, name]);

  useEffect(() => {
    for (const [index, one] of series.entries()) {
      if (chart.current && chart.current.series[index + 1]?.show !== one.shown)
        chart.current.setSeries(index + 1, { show: one.shown });
    }
  }, [series]);

  const last = Math.max(0, times.length - 1);
  const place = (index: number | null) => {
    setAt(index);
    const plot = chart.current;
    if (!plot) return;
    const t = index === null ? null : times[index];
    plot.setCursor({
      left: t === undefined || t === null ? -10 : plot.valToPos(t / 1000, "x"),
      top: index === null ? -10 : 10,
    });
    props.onCursor(index);
  };
  const key = (event: KeyboardEvent) => {
    const from = at ?? last;
    const jump = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: from - jump, ArrowRight: from + jump, Home: 0, End: last }[event.key];
    if (event.key === "Escape") place(null);
    if (to === undefined) return;
    event.preventDefault();
    place(Math.max(0, Math.min(last, to)));
  };
  return (
    <div
      class="timechart"
      ref={holder}
      role="slider"
      tabIndex={0}
      aria-label={name}
      aria-valuemin={0}
      aria-valuemax={last}
      aria-valuenow={at ?? last}
      aria-valuetext={props.say(at ?? last)}
      onKeyDown={key}
      onBlur={() => place(null)}
    />
  );
}

interface Built {
  readonly name: string;
  readonly times: readonly number[];
  readonly rows: readonly (readonly (number | null)[])[];
  readonly series: readonly ChartSeries[];
  readonly unit: string;
  readonly height: number;
  readonly marks: readonly TimeMark[];
  readonly zone: "utc" | "local";
}

function build(node: HTMLDivElement, chart: Built, latest: { current: Props }): uPlot {
  const colour = painter(node);
  const font = `11px ${getComputedStyle(node).fontFamily}`;
  const { unit } = chart;
  const options: uPlot.Options = {
    width: node.clientWidth || 600,
    height: chart.height,
    padding: [chart.marks.length > 0 ? 18 : 8, 6, 0, 0],
    legend: { show: false },
    cursor: {
      sync: { key: "time", setSeries: false },
      y: false,
      points: { size: 7, fill: (self, index) => String(self.series[index]?.stroke ?? "") },
      drag: { x: true, y: false, setScale: false },
      focus: { prox: 24 },
    },
    focus: { alpha: 0.35 },
    scales: { x: { time: true }, y: { range: (_self, low, high) => comfortable(low, high) } },
    axes: [
      {
        stroke: colour("--ink-3"),
        font,
        grid: { show: false },
        ticks: { show: false },
        gap: 6,
        size: 28,
        space: 84,
        values: (self, splits) =>
          splits.map((t) =>
            axisTime(t * 1000, chart.zone, ((self.scales.x?.max ?? 0) - (self.scales.x?.min ?? 0)) * 1000),
          ),
      },
      {
        stroke: colour("--ink-3"),
        font,
        grid: { stroke: colour("--line"), width: 1 },
        ticks: { show: false },
        size: 64,
        gap: 8,
        splits: (self) =>
          ticks(self.scales.y?.min ?? 0, self.scales.y?.max ?? 1, Math.max(2, Math.floor(chart.height / 60))),
        values: (_self, splits) => axisValues(splits, unit),
      },
    ],
    series: [
      {},
      ...chart.series.map(
        (one): uPlot.Series => ({
          label: one.name,
          stroke: colour(
            one.tone === "rest"
              ? "--line-control"
              : one.tone.startsWith("s")
                ? `--series-${one.tone.slice(1)}`
                : `--${one.tone}`,
          ),
          width: one.tone === "canary" ? 1.75 : one.tone === "rest" ? 1 : 1.5,
          show: one.shown,
          spanGaps: false,
          points: { show: false },
        }),
      ),
    ],
    hooks: {
      setCursor: [(self) => latest.current.onCursor(self.cursor.idx ?? null)],
      setSelect: [
        (self) => {
          if (self.select.width < 6) return;
          const [start, end] = [self.select.left, self.select.left + self.select.width].map(
            (left) => self.posToVal(left, "x") * 1000,
          );
          self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          if (start !== undefined && end !== undefined) latest.current.onZoom(start, end);
        },
      ],
      draw: [(self) => drawMarks(self, chart.marks, colour, font)],
    },
    tzDate: (t) => (chart.zone === "utc" ? uPlot.tzDate(new Date(t * 1000), "UTC") : new Date(t * 1000)),
  };
  const data: uPlot.AlignedData = [chart.times.map((t) => t / 1000), ...chart.rows.map((row) => [...row])];
  return new uPlot(options, data, node);
}

/** Resolves a token to a colour that a canvas understands: `light-dark()` is settled by the element it is used on. */
function painter(node: HTMLElement): (token: string) => string {
  const probe = document.createElement("span");
  probe.hidden = true;
  node.append(probe);
  const found = new Map<string, string>();
  return (token) => {
    const known = found.get(token);
    if (known !== undefined) return known;
    probe.style.color = `var(${token})`;
    const resolved = getComputedStyle(probe).color;
    found.set(token, resolved);
    return resolved;
  };
}

/** From zero where zero is near, with air above. */
function comfortable(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const width = high - low || Math.abs(high) || 1;
  const bottom = low >= 0 && low < width * 1.5 ? 0 : low - width * 0.08;
  return [bottom, high + width * 0.08];
}

function axisTime(t: number, shown: "utc" | "local", width: number): string {
  if (width > 2 * 86_400_000) return stamp(t, shown).slice(5, width > 10 * 86_400_000 ? 10 : 16);
  return clock(t, shown, width < 600_000 ? "second" : "minute");
}

function axisValues(splits: readonly number[], unit: string): string[] {
  const size = Math.max(...splits.map(Math.abs), 0);
  const scale = scaleFor(size, unit);
  const step = splits.length > 1 ? Math.abs((splits[1] ?? 0) - (splits[0] ?? 0)) * scale.factor : size * scale.factor;
  const [factor, letter] = scale.unit === "" || scale.unit.startsWith("/") ? prefix(size) : [1, ""];
  const digits = Math.min(6, digitsFor(step / factor, 1));
  return splits.map((value, index) => {
    const text = fixed((value * scale.factor) / factor, digits)
      .replace(/(\.\d*?)0+$/, "$1")
      .replace(/\.$/, "");
    const tail = letter + (index === splits.length - 1 && scale.unit ? `\u00a0${scale.unit}` : "");
    return value === 0 ? "0" : text + tail;
  });
}

function prefix(size: number): readonly [number, string] {
  if (size >= 1e10) return [1e9, "\u00a0G"];
  if (size >= 1e7) return [1e6, "\u00a0M"];
  return size >= 1e5 ? [1e3, "\u00a0k"] : [1, ""];
}

function drawMarks(self: uPlot, marks: readonly TimeMark[], colour: (token: string) => string, font: string): void {
  const { ctx, bbox } = self;
  const ratio = devicePixelRatio || 1;
  ctx.save();
  ctx.lineWidth = ratio;
  ctx.font = font.replace(/^(\d+)px/, (_all, size: string) => `${Number(size) * ratio}px`);
  for (const mark of marks) {
    const x = self.valToPos(mark.at / 1000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = colour("--ink-3");
    ctx.setLineDash([ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillStyle = mark.refused ? colour("--no-go") : colour("--ink-2");
    ctx.textAlign = x > bbox.left + bbox.width * 0.8 ? "right" : "left";
    ctx.fillText(mark.text, x, bbox.top - 5 * ratio);
  }
  ctx.restore();
}
