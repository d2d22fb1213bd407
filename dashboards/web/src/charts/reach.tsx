// The shift that will be found, against the margin: the glyph of the forest plot, with harm to the right.

import { MARGIN, place, TEN, THREE, ZERO } from "../model/forest.ts";

interface Props {
  /** The shift in margins. */
  readonly margins: number;
  readonly both: boolean;
  readonly label: string;
}

/** Up to the mark a difference may go unseen, beyond it one will be found. */
export function Reach({ margins, both, label }: Props) {
  const at = Math.min(100, Math.max(ZERO, place(margins)));
  const low = both ? Math.max(0, 2 * ZERO - at) : ZERO;
  return (
    <svg role="img" aria-label={label}>
      <rect class="beyond" x={`${MARGIN}%`} y="0" width={`${100 - MARGIN}%`} height="100%" />
      {[THREE, TEN].map((x) => (
        <line key={x} class="g2" x1={`${x}%`} x2={`${x}%`} y1="0" y2="100%" />
      ))}
      <line class="z" x1={`${ZERO}%`} x2={`${ZERO}%`} y1="0" y2="100%" />
      <line class="m" x1={`${MARGIN}%`} x2={`${MARGIN}%`} y1="0" y2="100%" />
      <line class="w w-none" x1={`${low}%`} x2={`${at}%`} y1="50%" y2="50%" />
      {both && <line class="w w-none" x1={`${low}%`} x2={`${low}%`} y1="36%" y2="64%" />}
      {place(margins) > 100 ? (
        <svg x={`${at}%`} y="50%" overflow="visible" aria-hidden="true">
          <path class="w w-none" fill="none" d="M-6 -5 0 0 -6 5" />
        </svg>
      ) : (
        <line class="w reach-end" x1={`${at}%`} x2={`${at}%`} y1="26%" y2="74%" />
      )}
    </svg>
  );
}
