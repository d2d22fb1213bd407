// Every attempt to tell a receiver, with what it answered.

import { useState } from "preact/hooks";
import { language, texts, zone } from "../app/locale.ts";
import { Dialog } from "../components/controls.tsx";
import { Icon, SIGN_ICON, SIGN_TONE } from "../components/icon.tsx";
import { GhostRows, State, TroubleNote } from "../components/states.tsx";
import { clock, moment, span } from "../model/format.ts";
import type { Attempt, Delivery } from "../model/release.ts";
import { type Resource, troubleOf } from "./resource.ts";

interface Row {
  readonly delivery: Delivery;
  readonly attempt: Attempt | null;
  readonly number: number;
}

export function Deliveries({ deliveries, now }: { deliveries: Resource<Delivery[]>; now: number }) {
  const t = texts();
  const words = t.release.deliveries;
  const [body, setBody] = useState<Delivery | null>(null);
  const list = deliveries.value ?? [];
  const rows = list
    .flatMap((delivery): Row[] =>
      delivery.attempts.length === 0
        ? [{ delivery, attempt: null, number: 0 }]
        : delivery.attempts.map((attempt, index) => ({
            delivery,
            attempt,
            // Where only the last attempts are kept, their numbers still count from the first.
            number: index + 1 + Math.max(0, delivery.nAttempts - delivery.attempts.length),
          })),
    )
    .sort((a, b) => (b.attempt?.at ?? Number.POSITIVE_INFINITY) - (a.attempt?.at ?? Number.POSITIVE_INFINITY));
  const waiting = list.filter((one) => !one.attempts.some((attempt) => attempt.taken)).length;
  return (
    <section class="sec c7" aria-labelledby="h-del">
      <div class="sec-head">
        <h2 id="h-del">{words.title}</h2>
        {list.length > 0 && (
          <span class="dim-2">{waiting === 0 ? words.answered(list.length) : words.waiting(waiting)}</span>
        )}
      </div>
      {deliveries.error !== null && deliveries.value === null && deliveries.error.kind !== "aborted" && (
        <TroubleNote trouble={troubleOf(deliveries.error)} onRetry={deliveries.reload} />
      )}
      {deliveries.value !== null && list.length === 0 ? (
        <State head={words.empty} text={words.emptyText} height={80} />
      ) : deliveries.value === null && deliveries.error !== null ? null : (
        <div class="scroll" tabIndex={0} role="region" aria-label={words.title}>
          <table class="t">
            <thead>
              <tr>
                <th>{words.head.sent}</th>
                <th>{words.head.to}</th>
                <th>{words.head.verdict}</th>
                <th class="num">{words.head.attempt}</th>
                <th class="num">{words.head.answer}</th>
                <th class="num">{words.head.took}</th>
                <th>
                  <span class="sr">{words.head.actions}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {deliveries.value === null && <GhostRows rows={3} widths={[60, 60, 60, 30, 30, 40, 60]} />}
              {rows.map((row) => (
                <DeliveryRow
                  key={`${row.delivery.id} ${row.number}`}
                  row={row}
                  now={now}
                  onBody={() => setBody(row.delivery)}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {body && (
        <Dialog title={words.body} wide onClose={() => setBody(null)}>
          <pre class="cmd body">
            <code>{JSON.stringify(body.body, null, 2)}</code>
          </pre>
          <form method="dialog">
            <div class="row">
              <button class="btn" type="submit">
                {t.close}
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </section>
  );
}

function DeliveryRow({
  row: { delivery, attempt, number },
  now,
  onBody,
}: {
  row: Row;
  now: number;
  onBody: () => void;
}) {
  const t = texts();
  const words = t.release.deliveries;
  const decision = delivery.decision;
  const said =
    decision === null
      ? delivery.type
      : `${delivery.phase && !delivery.final ? `${delivery.phase}: ` : ""}${t.decision[decision].toLowerCase()}${delivery.final ? `, ${t.release.final}` : ""}`;
  return (
    <tr title={attempt?.error || undefined}>
      <td class="nw">
        {attempt
          ? clock(attempt.at, zone.value, "milli").slice(0, -1)
          : delivery.nextAt !== null
            ? words.next(moment(delivery.nextAt, now, zone.value, language.value, "second"))
            : t.decision.waiting}
      </td>
      <td class="nw to" title={delivery.to}>
        {delivery.to.replace(/^https?:\/\//, "")}
      </td>
      <td class="nw">
        <span class={`badge ${decision === null ? "none" : SIGN_TONE[decision]} thin`}>
          {decision !== null && <Icon name={SIGN_ICON[decision]} small />}
          {said}
        </span>{" "}
        {delivery.revision !== null && <span class="dim-2">{t.release.facts.revision(delivery.revision)}</span>}
      </td>
      <td class="num">{number === 0 ? t.none : number}</td>
      <td class="num nw">
        {attempt === null ? (
          t.none
        ) : attempt.taken ? (
          (attempt.status ?? words.taken)
        ) : (
          <span class="no-go">{attempt.status ?? words.refused}</span>
        )}
      </td>
      <td class="num">{span(attempt?.tookMs ?? null, language.value)}</td>
      <td class="num nw">
        {delivery.body !== null && (
          <button class="link" type="button" onClick={onBody}>
            {words.body}
          </button>
        )}
      </td>
    </tr>
  );
}
