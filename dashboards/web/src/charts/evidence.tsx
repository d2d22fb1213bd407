// Evidence over looks, large for one check and small for a row of the list.

import { texts, zone } from "../app/locale.ts";
import { crossing, decades, type EvidenceLook, evidenceAxis } from "../model/evidence.ts";
import { clock, power, probability } from "../model/format.ts";
import type { EvidencePoint } from "../model/release.ts";
import { bandPath, linear, linePath, round, ticks } from "../model/scale.ts";
import { type AxisLabel, Mark, Plot, WIDTH } from "./plot.tsx";

const CEILING = 16;

interface Props {
  readonly name: string;
  readonly looks: readonly EvidenceLook[];
  /** Looks that the phase allows, for the length of the axis. */
  readonly allowed: number | null;
  readonly height: number;
}

export function Evidence({ name, looks, allowed, height }: Props) {
  const t = texts();
  const one = t.release.one;
  const axis = evidenceAxis(looks);
  const last = looks.at(-1);
  if (!last) return null;
  const until = axisEnd(last.number, allowed);
  const x = linear(0, until, 0, WIDTH);
  const y = linear(axis.harm, -axis.go, 0, height);
  const harmAt = (p: number | null) => at(decades(p, CEILING), 1);
  const goAt = (p: number | null) => at(decades(p, CEILING), -1);
  const at = (value: number | null, sign: 1 | -1) => (value === null ? null : y(sign * value));
  const levels = looks.filter((look) => look.level !== null);
  const levelsGo = looks.filter((look) => look.levelGo !== null);
  const crossed = crossing(looks);
  // Inside the tinted area where it is wide enough for the words, beside it otherwise.
  const side =
    x(last.number) > WIDTH * 0.5
      ? ({ x: x(last.number) / 10, dx: -6, anchor: "end" } as const)
      : ({ x: x(last.number) / 10, dx: 8, anchor: "start" } as const);
  return (
    <Plot
      height={height}
      left={48}
      label={one.evidenceLabel(name)}
      yLabels={axis.ticks.map((tick) => ({
        at: y(tick),
        text: tick === 0 ? "1" : Math.abs(tick) <= 2 ? String(10 ** -Math.abs(tick)) : power(-Math.abs(tick)),
      }))}
      xLabels={lookLabels(until, x, one.look)}
      body={
        <>
          {axis.ticks.map((tick) => (
            <path key={tick} class="g-line" d={`M0 ${round(y(tick))}H${WIDTH}`} />
          ))}
          <path
            class="a-no-go"
            d={bandPath(levels.map((look) => [x(look.number), 0, harmAt(look.level) ?? 0] as const))}
          />
          <path
            class="a-go"
            d={bandPath(levelsGo.map((look) => [x(look.number), goAt(look.levelGo) ?? height, height] as const))}
          />
          <path class="g-zero" d={`M0 ${round(y(0))}H${WIDTH}`} />
          <path class="l-bound-no-go" d={linePath(levels.map((look) => [x(look.number), harmAt(look.level)]))} />
          <path class="l-bound-go" d={linePath(levelsGo.map((look) => [x(look.number), goAt(look.levelGo)]))} />
          {crossed && <path class="g-mark" d={`M${round(x(crossed.number))} 0V${height}`} />}
          <path class="l-ink" d={linePath(looks.map((look) => [x(look.number), harmAt(look.pHarm)]))} />
          <path class="l-ink" d={linePath(looks.map((look) => [x(look.number), goAt(look.pGo)]))} />
        </>
      }
      over={
        <>
          {levels.length > 0 && (
            <text class="lab no-go" x={`${side.x}%`} y="0" dx={side.dx} dy="15" text-anchor={side.anchor}>
              {one.noGoFrom}
            </text>
          )}
          {levelsGo.length > 0 && (
            <text class="lab go" x={`${side.x}%`} y={height} dx={side.dx} dy="-7" text-anchor={side.anchor}>
              {one.goFrom}
            </text>
          )}
          <text class="lab" x="100%" y={y(0)} dx="-6" dy="-6" text-anchor="end">
            {one.harmUp}
          </text>
          {levelsGo.length > 0 && (
            <text class="lab" x="100%" y={y(0)} dx="-6" dy="14" text-anchor="end">
              {one.belowDown}
            </text>
          )}
          {crossed && (
            <Crossed
              look={crossed}
              x={x(crossed.number) / 10}
              y={(crossed.decision === "go" ? goAt(crossed.pGo) : harmAt(crossed.pHarm)) ?? y(0)}
            />
          )}
          {!crossed && last.pHarm !== null && (
            <circle class="pt-now" cx={`${x(last.number) / 10}%`} cy={harmAt(last.pHarm) ?? 0} r="3" />
          )}
          {!crossed && last.pGo !== null && (
            <circle class="pt-now" cx={`${x(last.number) / 10}%`} cy={goAt(last.pGo) ?? 0} r="3" />
          )}
        </>
      }
      scrub={{
        xs: looks.map((look) => x(look.number)),
        name: one.evidence,
        say: (index) => sayLook(looks[index], one),
        tip: (index) => <LookTip look={looks[index]} words={one} />,
      }}
    />
  );
}

/** Some room ahead of the last look, but no more than the phase allows. */
function axisEnd(last: number, allowed: number | null): number {
  const wanted = Math.max(6, Math.ceil(last * 1.35));
  return allowed === null ? wanted : Math.max(last, Math.min(allowed, wanted));
}

function lookLabels(until: number, x: (look: number) => number, word: string): AxisLabel[] {
  return ticks(0, until, 4)
    .filter((tick) => Number.isInteger(tick))
    .map((tick, index) => ({
      at: x(tick),
      text: index === 0 ? `${word} ${tick}` : String(tick),
      anchor: index === 0 ? "start" : x(tick) > WIDTH - 20 ? "end" : "middle",
    }));
}

function Crossed({ look, x, y }: { look: EvidenceLook; x: number; y: number }) {
  const { crossedGo, crossedNoGo } = texts().release.one;
  const text = look.decision === "go" ? crossedGo(look.number) : crossedNoGo(look.number);
  const left = x > 80;
  return (
    <>
      <Mark kind={look.decision} x={`${x}%`} y={y} />
      <text
        class="lab strong"
        x={`${x}%`}
        y={y}
        dx={left ? -9 : 9}
        dy={look.decision === "go" ? 15 : 4}
        text-anchor={left ? "end" : "start"}
      >
        {text}
      </text>
    </>
  );
}

interface Words {
  readonly look: string;
  readonly pHarm: string;
  readonly pGo: string;
}

function sayLook(look: EvidenceLook | undefined, words: Words): string {
  if (!look) return "";
  return `${words.look} ${look.number}: ${words.pHarm} ${probability(look.pHarm)}, ${words.pGo} ${probability(look.pGo)}`;
}

function LookTip({ look, words }: { look: EvidenceLook | undefined; words: Words }) {
  if (!look) return null;
  return (
    <table>
      <tbody>
        <tr>
          <td colSpan={3}>
            <b>
              {clock(look.at, zone.value, "second")}, {words.look} {look.number}
            </b>
          </td>
        </tr>
        <tr>
          <td>{words.pHarm}</td>
          <td class="num">
            <b>{probability(look.pHarm)}</b>
          </td>
          <td class="num dim">{compare(look.pHarm, look.level)}</td>
        </tr>
        <tr>
          <td>{words.pGo}</td>
          <td class="num">
            <b>{probability(look.pGo)}</b>
          </td>
          <td class="num dim">{compare(look.pGo, look.levelGo)}</td>
        </tr>
      </tbody>
    </table>
  );
}

/** "≤ 0.0026" or "> 0.0026": whether p has reached its level. */
export function compare(p: number | null, level: number | null): string {
  if (p === null || level === null) return "";
  return `${p <= level ? "≤" : ">"}\u00a0${probability(level)}`;
}

/** The small drawing of a row: each side against its boundary, grey until it crosses. */
export function EvidenceRow({
  points,
  end,
  label,
}: {
  points: readonly EvidencePoint[];
  end: "go" | "no_go" | "inconclusive" | "open";
  label: string;
}) {
  const last = points.at(-1);
  if (!last) return null;
  const step = WIDTH / Math.max(1, points.length - 1);
  const phases = runsOf(points);
  const y = end === "no_go" ? 13 - last.harm * 11.5 : end === "go" ? 13 + last.go * 11.5 : 13;
  const x = points.length === 1 ? 0 : 100;
  return (
    <div class="wv" role="img" aria-label={label}>
      <svg viewBox={`0 0 ${WIDTH} 26`} preserveAspectRatio="none" aria-hidden="true">
        <path class="l-bound-no-go" d={`M0 1.5H${WIDTH}`} />
        <path class="l-bound-go" d={`M0 24.5H${WIDTH}`} />
        {phases.map(({ from, items }, index) => {
          const closes = items.at(-1);
          const area = (height: (point: EvidencePoint) => number) =>
            bandPath(
              items.map(
                (point, at) => [(from + at) * step, Math.min(13, height(point)), Math.max(13, height(point))] as const,
              ),
            );
          return (
            <g key={from}>
              <path
                class={`a-harm${(closes?.harm ?? 0) >= 1 ? " hit" : ""}`}
                d={area((point) => 13 - point.harm * 11.5)}
              />
              <path class={`a-safe${(closes?.go ?? 0) >= 1 ? " hit" : ""}`} d={area((point) => 13 + point.go * 11.5)} />
              {index > 0 && <path class="g-mark" d={`M${round(from * step)} 1V25`} />}
            </g>
          );
        })}
        <path class="g-zero" d={`M0 13H${WIDTH}`} />
      </svg>
      <svg aria-hidden="true">
        {end === "open" ? (
          <circle class="pt-now" cx={`${x}%`} cy="13" r="2.5" />
        ) : (
          <Mark kind={end} x={`${x}%`} y={y} r={3.5} />
        )}
      </svg>
    </div>
  );
}

function runsOf(points: readonly EvidencePoint[]): { from: number; items: EvidencePoint[] }[] {
  const found: { phase: string; from: number; items: EvidencePoint[] }[] = [];
  for (const [index, point] of points.entries()) {
    const open = found.at(-1);
    if (open && open.phase === point.phase) open.items.push(point);
    else found.push({ phase: point.phase, from: index, items: [point] });
  }
  return found;
}
