// The frame that every SVG chart stands in: a body that stretches, labels that do not, a cursor that a keyboard moves.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { round } from "../model/scale.ts";

/** Width of the body's own coordinates; labels use the same x as a share of it. */
export const WIDTH = 1000;

export interface AxisLabel {
  readonly at: number;
  readonly text: string;
  readonly strong?: boolean;
  readonly anchor?: "start" | "middle" | "end";
  /** Dropped on a narrow screen. */
  readonly optional?: boolean;
}

export interface Scrub {
  /** The x of each place that the cursor can stand at, in the body's coordinates, ascending. */
  readonly xs: readonly number[];
  readonly name: string;
  readonly say: (index: number) => string;
  readonly tip: (index: number) => ComponentChildren;
  /** What Enter does at a place, where it does anything. */
  readonly choose?: (index: number) => void;
}

interface Props {
  readonly height: number;
  readonly left?: number;
  readonly right?: number;
  readonly top?: number;
  readonly label: string;
  readonly yLabels: readonly AxisLabel[];
  readonly xLabels: readonly AxisLabel[];
  readonly body: ComponentChildren;
  readonly over?: ComponentChildren;
  readonly scrub?: Scrub | undefined;
}

export function Plot({ height, left = 44, right = 0, top = 0, label, yLabels, xLabels, body, over, scrub }: Props) {
  const [at, setAt] = useState<number | null>(null);
  const index = at === null || !scrub ? null : Math.min(at, scrub.xs.length - 1);
  const x = index === null ? null : (scrub?.xs[index] ?? null);
  return (
    <div class="plot" style={{ "--h": `${height}px`, "--l": `${left}px`, "--r": `${right}px`, "--t": `${top}px` }}>
      <svg class="body" viewBox={`0 0 ${WIDTH} ${height}`} preserveAspectRatio="none" aria-hidden="true">
        {body}
        {x !== null && <path class="g-cursor" d={`M${round(x)} 0V${height}`} />}
      </svg>
      <svg role="img" aria-label={label}>
        {yLabels.map(({ at: y, text, strong }) => (
          <text key={`y${y}`} x="0" y={y} dx="-8" dy="3.5" text-anchor="end" class={strong ? "strong" : undefined}>
            {text}
          </text>
        ))}
        {xLabels.map(({ at: tick, text, anchor = "middle", optional }) => (
          <text
            key={`x${tick}`}
            x={`${tick / 10}%`}
            y="100%"
            dy="14"
            text-anchor={anchor}
            class={optional ? "opt" : undefined}
          >
            {text}
          </text>
        ))}
        {over}
      </svg>
      {scrub && scrub.xs.length > 0 && <Cursor scrub={scrub} index={index} onMove={setAt} />}
      {scrub && index !== null && x !== null && <Tip x={x}>{scrub.tip(index)}</Tip>}
    </div>
  );
}

/** A slider over the plot: arrows move it, its text is what the tip shows. */
function Cursor({
  scrub,
  index,
  onMove,
}: {
  scrub: Scrub;
  index: number | null;
  onMove: (index: number | null) => void;
}) {
  const last = scrub.xs.length - 1;
  const move = (event: PointerEvent) => {
    if (!(event.currentTarget instanceof Element)) return;
    const box = event.currentTarget.getBoundingClientRect();
    onMove(nearest(scrub.xs, ((event.clientX - box.left) / box.width) * WIDTH));
  };
  const key = (event: KeyboardEvent) => {
    const from = index ?? last;
    const jump = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: from - jump, ArrowRight: from + jump, Home: 0, End: last }[event.key];
    if (event.key === "Escape") onMove(null);
    if (event.key === "Enter" && scrub.choose) {
      event.preventDefault();
      scrub.choose(from);
    }
    if (to === undefined) return;
    event.preventDefault();
    onMove(Math.max(0, Math.min(last, to)));
  };
  return (
    <div
      class="scrub"
      role="slider"
      tabIndex={0}
      aria-label={scrub.name}
      aria-valuemin={0}
      aria-valuemax={last}
      aria-valuenow={index ?? last}
      aria-valuetext={scrub.say(index ?? last)}
      onPointerMove={move}
      onPointerLeave={() => onMove(null)}
      onFocus={() => index === null && onMove(last)}
      onBlur={() => onMove(null)}
      onKeyDown={key}
    />
  );
}

function Tip({ x, children }: { x: number; children: ComponentChildren }) {
  return (
    <div
      class={`tip at${x > WIDTH * 0.6 ? " left" : ""}`}
      style={{ insetInlineStart: `${x / 10}%`, insetBlockStart: "8px" }}
    >
      {children}
    </div>
  );
}

/** The index of the value nearest to `x` in an ascending list. */
export function nearest(xs: readonly number[], x: number): number {
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((xs[middle] ?? 0) < x) low = middle;
    else high = middle;
  }
  return Math.abs((xs[low] ?? 0) - x) <= Math.abs((xs[high] ?? 0) - x) ? low : high;
}

/** The mark of a decision in a chart: disc, square, hollow diamond. */
export function Mark({
  kind,
  x,
  y,
  r = 4.5,
}: {
  kind: "go" | "no_go" | "inconclusive";
  x: string;
  y: number | string;
  r?: number;
}) {
  switch (kind) {
    case "go":
      return <circle class="pt-go" cx={x} cy={y} r={r} />;
    case "no_go":
      return <rect class="pt-no-go" x={x} y={y} width={r * 2} height={r * 2} transform={`translate(${-r} ${-r})`} />;
    case "inconclusive":
      return (
        <svg x={x} y={y} overflow="visible" aria-hidden="true">
          <path class="pt-inconclusive" d="M0-5 5 0 0 5-5 0z" />
        </svg>
      );
  }
}

/** Labels of a time axis; the outer ones lean inward, every second one may go on a narrow screen. */
export function timeLabels(
  ticks: readonly number[],
  x: (t: number) => number,
  write: (t: number) => string,
): AxisLabel[] {
  return ticks.map((t, index) => {
    const at = x(t);
    const anchor = at < 25 ? "start" : at > WIDTH - 25 ? "end" : "middle";
    return { at, text: write(t), anchor, optional: index % 2 === 1 };
  });
}
