// The difference over looks, its interval closing in on the margin.

import { texts, zone } from "../app/locale.ts";
import { clock, effectScale, effectText, fixed, signed } from "../model/format.ts";
import type { Decision, Effect, Harm } from "../model/release.ts";
import { bandPath, extent, linear, linePath, ticks, timeTicks } from "../model/scale.ts";
import { Mark, Plot, timeLabels, WIDTH } from "./plot.tsx";

export interface DifferenceLook {
  readonly at: number;
  readonly effect: Effect;
  readonly decision: Decision;
}

interface Props {
  readonly name: string;
  readonly looks: readonly DifferenceLook[];
  readonly margin: number | null;
  readonly harm: Harm;
  readonly height: number;
  readonly labels?: boolean;
}

export function Difference({ name, looks, margin, harm, height, labels = true }: Props) {
  const t = texts();
  const last = looks.at(-1);
  if (!last) return null;
  const ends = looks.slice(-Math.max(8, Math.ceil(looks.length * 0.8)));
  const lines = margin === null ? [] : harm === "either" ? [margin, -margin] : [harm === "down" ? -margin : margin];
  const found = extent([0, ...lines.map((one) => one * 1.15), ...trimmed(ends)], 0.06);
  if (found === null) return null;
  const [low, high] = found;
  const from = looks[0]?.at ?? last.at;
  // Room at the right for the three labels of the last look.
  const x = linear(from, from === last.at ? from + 1 : last.at, 0, WIDTH * (labels ? 0.8 : 0.98));
  const y = linear(low, high, height, 0);
  const scale = effectScale(last.effect, Math.max(Math.abs(low), Math.abs(high)));
  const band = looks.map(
    (look) => [x(look.at), y(look.effect.high ?? high * 10), y(look.effect.low ?? low * 10)] as const,
  );
  const written = effectText(last.effect, margin, harm);
  const grid = ticks(low, high, 4).filter((tick) => lines.every((line) => Math.abs(y(line) - y(tick)) > 11));
  const end = x(last.at);
  return (
    <Plot
      height={height}
      left={84}
      label={t.release.one.differenceLabel(name, looks.length)}
      yLabels={[
        ...grid.map((tick) => ({
          at: y(tick),
          text: tick === 0 ? "0" : `${signed(tick * scale.factor, decimals(grid, scale.factor))}\u00a0${scale.unit}`,
        })),
        ...lines.map((line) => ({
          at: y(line),
          text: t.release.margin(`${signed(line * scale.factor, decimals([line], scale.factor))}\u00a0${scale.unit}`),
          strong: true,
        })),
      ]}
      xLabels={timeLabels(timeTicks(from, last.at, 3), x, (at) =>
        clock(at, zone.value, last.at - from < 180_000 ? "second" : "minute"),
      )}
      body={
        <>
          {grid.map((tick) => (
            <path key={tick} class="g-line" d={`M0 ${y(tick)}H${WIDTH}`} />
          ))}
          <path class="a-int" d={bandPath(band)} />
          <path class="g-zero" d={`M0 ${y(0)}H${WIDTH}`} />
          {lines.map((line) => (
            <path key={line} class="g-margin" d={`M0 ${y(line)}H${end + 16}`} />
          ))}
          <path
            class="l-ink"
            d={linePath(
              looks.map((look) => [x(look.at), look.effect.estimate === null ? null : y(look.effect.estimate)]),
            )}
          />
          <path
            class={`w-${last.decision === "no_go" ? "no-go" : last.decision}`}
            stroke-width="2.5"
            fill="none"
            d={`M${end} ${y(last.effect.high ?? high)}V${y(last.effect.low ?? low)}`}
          />
        </>
      }
      over={
        labels && last.effect.estimate !== null ? (
          <>
            <Mark kind={last.decision} x={`${end / 10}%`} y={y(last.effect.estimate)} />
            {spread([
              { y: y(last.effect.high ?? high), text: last.effect.high === null ? "" : written.high },
              { y: y(last.effect.estimate), text: written.estimate },
              { y: y(last.effect.low ?? low), text: last.effect.low === null ? "" : written.low },
            ]).map((one) => (
              <text key={one.text} class="lab strong" x={`${end / 10}%`} y={one.y} dx="9" dy="4">
                {one.text}
              </text>
            ))}
          </>
        ) : undefined
      }
      scrub={{
        xs: looks.map((look) => x(look.at)),
        name: t.release.difference(name),
        say: (index) => sayLook(looks[index], margin, harm, t.fromTo),
        tip: (index) => <LookTip look={looks[index]} margin={margin} harm={harm} fromTo={t.fromTo} />,
      }}
    />
  );
}

function trimmed(looks: readonly DifferenceLook[]): (number | null)[] {
  return looks.flatMap(({ effect }) => [effect.low, effect.high, effect.estimate]);
}

function decimals(values: readonly number[], factor: number): number {
  for (let digits = 0; digits < 6; digits += 1) {
    if (
      values.every(
        (value) =>
          Math.abs(Number(fixed(Math.abs(value * factor), digits).replace(/,/g, "")) - Math.abs(value * factor)) <
          1e-6 * Math.max(1, Math.abs(value * factor)),
      )
    )
      return digits;
  }
  return 6;
}

/** Moves labels apart that would lie on one another, top to bottom. */
function spread(labels: readonly { y: number; text: string }[]): { y: number; text: string }[] {
  const shown = labels.filter((one) => one.text !== "");
  const sorted = [...shown].sort((a, b) => a.y - b.y);
  let floor = Number.NEGATIVE_INFINITY;
  return sorted.map((one) => {
    const y = Math.max(one.y, floor + 13);
    floor = y;
    return { ...one, y };
  });
}

function rangeOf(
  look: DifferenceLook,
  margin: number | null,
  harm: Harm,
  fromTo: (low: string, high: string) => string,
): { estimate: string; range: string } {
  const written = effectText(look.effect, margin, harm);
  return { estimate: written.estimate, range: fromTo(written.low, written.high) };
}

function sayLook(
  look: DifferenceLook | undefined,
  margin: number | null,
  harm: Harm,
  fromTo: (low: string, high: string) => string,
): string {
  if (!look) return "";
  const { estimate, range } = rangeOf(look, margin, harm, fromTo);
  return `${clock(look.at, zone.value, "second")}: ${estimate}, ${range}`;
}

function LookTip({
  look,
  margin,
  harm,
  fromTo,
}: {
  look: DifferenceLook | undefined;
  margin: number | null;
  harm: Harm;
  fromTo: (low: string, high: string) => string;
}) {
  if (!look) return null;
  const { estimate, range } = rangeOf(look, margin, harm, fromTo);
  return (
    <>
      <b>{clock(look.at, zone.value, "second")}</b>
      <br />
      {estimate}, <span class="dim">{range}</span>
    </>
  );
}
