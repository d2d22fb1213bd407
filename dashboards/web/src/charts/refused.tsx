// The share of good releases that was refused, with its interval, against the alpha that the policy accepts.

import { texts } from "../app/locale.ts";
import { percent } from "../model/format.ts";
import { linear, ticks } from "../model/scale.ts";
import { Mark, Plot, WIDTH } from "./plot.tsx";

interface Props {
  readonly share: number | null;
  readonly low: number;
  readonly high: number;
  readonly alpha: number | null;
}

const HEIGHT = 56;

export function Refused({ share, low, high, alpha }: Props) {
  const words = texts().policies.backtest;
  const end = Math.min(1, Math.max(high, (alpha ?? 0) * 3, 0.005) * 1.12);
  const x = linear(0, end, 0, WIDTH);
  const [from, to] = [x(low), x(high)];
  const broken = alpha !== null && low > alpha;
  const tone = broken ? "w-no-go" : "w-go";
  return (
    <Plot
      height={HEIGHT}
      left={6}
      right={6}
      top={16}
      label={words.refusedLabel(percent(share), percent(low), percent(high))}
      yLabels={[]}
      xLabels={ticks(0, end, 5).map((tick) => ({
        at: x(tick),
        text: tick === 0 ? "0" : percent(tick),
        anchor: tick === 0 ? "start" : x(tick) > WIDTH - 30 ? "end" : "middle",
      }))}
      body={
        <>
          {alpha !== null && <rect class="a-int" x={x(alpha)} y="0" width={WIDTH - x(alpha)} height={HEIGHT} />}
          <path class="g-line" d={`M0 ${HEIGHT}H${WIDTH}`} />
          <path class="g-zero" d={`M0 0V${HEIGHT}`} />
          {alpha !== null && <path class="g-margin" d={`M${x(alpha)} 0V${HEIGHT}`} />}
          <path class={tone} fill="none" stroke-width="2" d={`M${from} ${HEIGHT / 2}H${to}`} />
          <path
            class={tone}
            fill="none"
            stroke-width="2"
            d={`M${from} ${HEIGHT / 2 - 7}V${HEIGHT / 2 + 7}M${to} ${HEIGHT / 2 - 7}V${HEIGHT / 2 + 7}`}
          />
        </>
      }
      over={
        <>
          {share !== null && <Mark kind={broken ? "no_go" : "go"} x={`${x(share) / 10}%`} y={HEIGHT / 2} />}
          {alpha !== null && (
            <text class="strong" x={`${x(alpha) / 10}%`} y="-5" text-anchor="middle">
              {words.alpha(percent(alpha))}
            </text>
          )}
        </>
      }
    />
  );
}
