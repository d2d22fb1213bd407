// Icons and the signs of decisions: a word, an icon and a silhouette each, never colour alone.

import { texts } from "../app/locale.ts";
import type { Sign } from "../model/release.ts";

const line = { fill: "none", stroke: "currentColor", "stroke-width": "1.4" } as const;

const SHAPES = {
  search: (
    <>
      <circle cx="7" cy="7" r="4.5" {...line} />
      <path d="m10.5 10.5 4 4" {...line} />
    </>
  ),
  theme: (
    <>
      <circle cx="8" cy="8" r="5.7" {...line} />
      <path d="M8 2.3a5.7 5.7 0 0 1 0 11.4z" fill="currentColor" />
    </>
  ),
  menu: <path d="M2 4.5h12M2 8h12M2 11.5h12" {...line} />,
  caret: <path d="m4.5 6.5 3.5 3.5 3.5-3.5" {...line} />,
  right: <path d="m6 4 4 4-4 4" {...line} />,
  copy: (
    <>
      <rect x="5.5" y="5.5" width="8" height="8" rx="1" {...line} />
      <path d="M10.5 3v-.5h-8v8H3" {...line} />
    </>
  ),
  clock: (
    <>
      <circle cx="8" cy="8" r="6" {...line} />
      <path d="M8 4.5V8l2.4 1.6" {...line} />
    </>
  ),
  refresh: <path d="M13 8a5 5 0 1 1-1.5-3.6M13 2.5v2.6h-2.6" {...line} />,
  eye: (
    <>
      <path d="M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8z" {...line} />
      <circle cx="8" cy="8" r="1.8" fill="currentColor" />
    </>
  ),
  x: <path d="m4 4 8 8m0-8-8 8" {...line} />,
  plus: <path d="M8 3v10M3 8h10" {...line} />,
  minus: <path d="M3 8h10" {...line} />,
  up: <path d="M8 13V3M4 7l4-4 4 4" {...line} />,
  down: <path d="M8 3v10m-4-4 4 4 4-4" {...line} />,
  ok: <path d="M3 8.4 6.4 12 13 4.6" fill="none" stroke="currentColor" stroke-width="1.7" />,
  wait: <circle cx="8" cy="8" r="2.5" {...line} />,
  go: (
    <>
      <circle cx="8" cy="8" r="7" fill="currentColor" />
      <path d="M4.6 8.3 7 10.7l4.4-5" fill="none" stroke="var(--cut)" stroke-width="1.8" />
    </>
  ),
  "no-go": (
    <>
      <path d="M5 .8h6L15.2 5v6L11 15.2H5L.8 11V5z" fill="currentColor" />
      <path d="M4.2 8h7.6" stroke="var(--cut)" stroke-width="2.2" />
    </>
  ),
  inconclusive: (
    <>
      <path
        d="M8 1.2 14.8 8 8 14.8 1.2 8z"
        fill="none"
        stroke="currentColor"
        stroke-width="1.6"
        stroke-linejoin="round"
      />
      <path d="M2 8h12L8 14z" fill="currentColor" />
    </>
  ),
  running: (
    <>
      <circle cx="8" cy="8" r="6" fill="none" stroke="var(--line-strong)" stroke-width="2" />
      <path class="spin" d="M8 2a6 6 0 0 1 6 6" fill="none" stroke="currentColor" stroke-width="2" />
    </>
  ),
  none: <circle cx="8" cy="8" r="6" {...line} stroke-dasharray="2.4 2.3" />,
  warn: (
    <>
      <path d="M8 1.6 15 14H1z" fill="currentColor" />
      <path d="M8 6v4m0 1.2v1.3" stroke="var(--cut)" stroke-width="1.6" />
    </>
  ),
  error: (
    <>
      <rect x="1.5" y="1.5" width="13" height="13" rx="1.5" fill="currentColor" />
      <path d="M8 4.4v4.4m0 1.4v1.6" stroke="var(--cut)" stroke-width="1.7" />
    </>
  ),
} as const;

export type IconName = keyof typeof SHAPES;

export function Icon({ name, small = false, tone = "" }: { name: IconName; small?: boolean; tone?: string }) {
  return (
    <svg class={`i${small ? " s" : ""}${tone ? ` ${tone}` : ""}`} viewBox="0 0 16 16" aria-hidden="true">
      {SHAPES[name]}
    </svg>
  );
}

export const SIGN_ICON: Readonly<Record<Sign, IconName>> = {
  go: "go",
  no_go: "no-go",
  inconclusive: "inconclusive",
  running: "running",
  pending: "wait",
  no_data: "none",
  cancelled: "minus",
  failed: "error",
};

/** The class that colours a sign. What says nothing about the release stays grey. */
export const SIGN_TONE: Readonly<Record<Sign, string>> = {
  go: "go",
  no_go: "no-go",
  inconclusive: "inconclusive",
  running: "running",
  pending: "none",
  no_data: "none",
  cancelled: "none",
  failed: "none",
};

export function SignIcon({ sign }: { sign: Sign }) {
  return <Icon name={SIGN_ICON[sign]} small tone={SIGN_TONE[sign]} />;
}

/** Icon and word. */
export function Badge({ sign }: { sign: Sign }) {
  return (
    <span class={`badge ${SIGN_TONE[sign]}`}>
      <Icon name={SIGN_ICON[sign]} small />
      {texts().decision[sign]}
    </span>
  );
}
