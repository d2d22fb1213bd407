// The histogram's part: it may fail without taking the records with it.

import type { Histogram as Counts } from "../api/logs_histogram.ts";
import { language, texts, zone } from "../app/locale.ts";
import { asTables } from "../app/tables.ts";
import { Histogram } from "../charts/histogram.tsx";
import { GhostChart, Note, TroubleNote } from "../components/states.tsx";
import { Rich } from "../components/text.tsx";
import type { Resolved } from "../model/duration.ts";
import { clock, count, span } from "../model/format.ts";
import { stacks } from "../model/log.ts";
import type { TimeMark } from "../model/marks.ts";
import { type Resource, troubleOf } from "./resource.ts";

interface Props {
  readonly histogram: Resource<Counts>;
  readonly stepMs: number;
  readonly range: Resolved;
  readonly marks: readonly TimeMark[];
  readonly onZoom: (start: number, end: number) => void;
}

export function HistogramPart({ histogram, stepMs, range, marks, onZoom }: Props) {
  const t = texts();
  const found = histogram.value;
  const step = found?.stepMs ?? stepMs;
  const all = found === null ? [] : stacks(found.buckets);
  const sum = (tier: "error" | "warn" | "other") => all.reduce((n, one) => n + one[tier], 0);
  const tiers = (["error", "warn", "other"] as const).filter((tier) => sum(tier) > 0);
  const tone = { error: "sv-e", warn: "sv-w", other: "sv-o" };
  return (
    <figure class="chart">
      <figcaption>
        <b>{t.logs.perStep(span(step, language.value))}</b>
        <span class="key">
          {tiers.map((tier) => (
            <span key={tier}>
              <span class={`sw ${tone[tier]}`} />
              {t.logs.tiers[tier]} {count(sum(tier))}
            </span>
          ))}
        </span>
        <span class="say">{t.logs.bySeverity}</span>
        <button
          class="link"
          type="button"
          aria-pressed={asTables.value}
          onClick={() => (asTables.value = !asTables.value)}
        >
          {asTables.value ? t.asChart : t.asTable}
        </button>
      </figcaption>
      {histogram.error !== null && histogram.error.kind !== "aborted" && (
        <TroubleNote trouble={troubleOf(histogram.error)} onRetry={histogram.reload} />
      )}
      {found?.partial && (
        <Note kind="partial">
          <Rich text={t.errors.partial} />
        </Note>
      )}
      {found === null ? (
        histogram.error === null && <GhostChart height={124} />
      ) : asTables.value ? (
        <div
          class="twin-table"
          tabIndex={0}
          role="region"
          aria-label={t.logs.perStep(span(step, language.value))}
          style={{ "--h": "124px" }}
        >
          <table class="t">
            <thead>
              <tr>
                <th>{t.logs.head.time}</th>
                {(["error", "warn", "other"] as const).map((tier) => (
                  <th key={tier} class="num">
                    {t.logs.tiers[tier]}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {all.map((one) => (
                <tr key={one.time}>
                  <td class="nw">{clock(one.time, zone.value, "second")}</td>
                  <td class="num">{count(one.error)}</td>
                  <td class="num">{count(one.warn)}</td>
                  <td class="num">{count(one.other)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <Histogram stacks={all} stepMs={step} start={range.start} end={range.end} marks={marks} onZoom={onZoom} />
      )}
    </figure>
  );
}
