// One cell of the forest plot. The lines of zero and margin run through all rows.

import { type End, forestRow, MARGIN, TEN, THREE, ZERO } from "../model/forest.ts";
import type { Decision, Effect, Harm } from "../model/release.ts";
import { Mark } from "./plot.tsx";

const TONE: Readonly<Record<Decision, string>> = { go: "w-go", no_go: "w-no-go", inconclusive: "w-inconclusive" };

interface Props {
  readonly effect: Effect | null;
  readonly margin: number | null;
  readonly harm: Harm;
  readonly decision: Decision;
  readonly label: string;
}

export function Forest({ effect, margin, harm, decision, label }: Props) {
  const row = effect === null ? null : forestRow(effect, margin, harm);
  if (row === null) {
    return (
      <svg aria-hidden="true">
        <Ground />
      </svg>
    );
  }
  const tone = `w ${TONE[decision]}${row.scaled ? "" : " own"}`;
  return (
    <svg role="img" aria-label={label}>
      <Ground both={harm === "either"} />
      <line class={tone} x1={`${row.low.x}%`} x2={`${row.high.x}%`} y1="50%" y2="50%" />
      <Cap end={row.low} tone={tone} />
      <Cap end={row.high} tone={tone} />
      {row.point !== null && <Mark kind={decision} x={`${row.point}%`} y="50%" />}
    </svg>
  );
}

function Ground({ both = false }: { both?: boolean }) {
  return (
    <>
      <rect class="beyond" x={`${MARGIN}%`} y="0" width={`${100 - MARGIN}%`} height="100%" />
      {[THREE, TEN].map((x) => (
        <line key={x} class="g2" x1={`${x}%`} x2={`${x}%`} y1="0" y2="100%" />
      ))}
      <line class="z" x1={`${ZERO}%`} x2={`${ZERO}%`} y1="0" y2="100%" />
      <line class="m" x1={`${MARGIN}%`} x2={`${MARGIN}%`} y1="0" y2="100%" />
      {both && <line class="m" x1={`${2 * ZERO - MARGIN}%`} x2={`${2 * ZERO - MARGIN}%`} y1="0" y2="100%" />}
    </>
  );
}

function Cap({ end, tone }: { end: End; tone: string }) {
  if (!end.arrow) return <line class={tone} x1={`${end.x}%`} x2={`${end.x}%`} y1="36%" y2="64%" />;
  return (
    <svg x={`${end.x}%`} y="50%" overflow="visible" aria-hidden="true">
      <path class={tone} fill="none" d={end.x > 50 ? "M-6 -5 0 0 -6 5" : "M6 -5 0 0 6 5"} />
    </svg>
  );
}
