// The time range: a button that opens a panel, and steps earlier and later.

import { useId, useRef, useState } from "preact/hooks";
import { language, texts, zone } from "../app/locale.ts";
import { type Range, type Resolved, resolve, shift } from "../model/duration.ts";
import { clock, day, span, stamp, startOfDay } from "../model/format.ts";
import { Icon } from "./icon.tsx";

interface Props {
  readonly range: Range;
  readonly resolved: Resolved;
  readonly onChange: (range: Range) => void;
}

export function RangePicker({ range, resolved, onChange }: Props) {
  const t = texts();
  const id = useId();
  const panel = useRef<HTMLDivElement>(null);
  const [draft, setDraft] = useState<Range | null>(null);
  const [bad, setBad] = useState(false);
  const written = draft ?? { from: readable(range.from, resolved.start), to: readable(range.to, resolved.end) };
  const choose = (next: Range) => {
    panel.current?.hidePopover();
    setDraft(null);
    setBad(false);
    onChange(next);
  };
  const apply = (event: Event) => {
    event.preventDefault();
    const found = resolve(written, Date.now(), zone.value === "utc");
    if (found === null) {
      setBad(true);
      return;
    }
    const keep = (text: string, at: number) => (text.trim().startsWith("now") ? text.trim() : String(at));
    choose({ from: keep(written.from, found.start), to: keep(written.to, found.end) });
  };
  return (
    <>
      <span class="split">
        <button class="btn" type="button" popovertarget={id}>
          <Icon name="clock" small />
          <span class="sr">{t.range.label}: </span>
          {rangeText(range, resolved)}
          {!(range.to === "now" && range.from in t.range.quick) && (
            <span class="dim nar-hide">{span(resolved.end - resolved.start, language.value)}</span>
          )}
          <Icon name="caret" small />
        </button>
        <button
          class="btn icon nar-hide"
          type="button"
          aria-label={t.range.earlier}
          onClick={() => choose(shift(resolved, -1))}
        >
          ‹
        </button>
        <button
          class="btn icon nar-hide"
          type="button"
          aria-label={t.range.later}
          onClick={() => choose(shift(resolved, 1))}
        >
          ›
        </button>
      </span>
      <div id={id} popover="auto" class="pop range" ref={panel}>
        <form onSubmit={apply}>
          <label class="field">
            <span class="label">{t.range.from}</span>
            <input
              class="input"
              value={written.from}
              aria-invalid={bad}
              spellcheck={false}
              onInput={(event) => setDraft({ ...written, from: event.currentTarget.value })}
            />
          </label>
          <label class="field">
            <span class="label">{t.range.to}</span>
            <input
              class="input"
              value={written.to}
              aria-invalid={bad}
              spellcheck={false}
              onInput={(event) => setDraft({ ...written, to: event.currentTarget.value })}
            />
          </label>
          <button class="btn primary" type="submit">
            {t.range.apply}
          </button>
          <p class={`hint${bad ? " bad" : ""}`} role={bad ? "alert" : undefined}>
            {bad && <Icon name="error" small />}
            {bad ? t.range.bad : t.range.hint}
          </p>
        </form>
        <div class="quick">
          {Object.entries(t.range.quick).map(([from, text]) => (
            <button
              key={from}
              type="button"
              aria-pressed={range.from === from && range.to === "now"}
              onClick={() => choose({ from, to: "now" })}
            >
              {text}
            </button>
          ))}
        </div>
      </div>
    </>
  );
}

function readable(text: string, at: number): string {
  return /^\d+$/.test(text) ? stamp(at, zone.value, "second") : text;
}

function rangeText(range: Range, { start, end }: Resolved): string {
  const quick = texts().range.quick[range.from];
  if (range.to === "now" && quick) return quick;
  const detail = end - start < 600_000 ? "second" : "minute";
  const sameDay = startOfDay(start, zone.value) === startOfDay(end, zone.value);
  const today = sameDay && startOfDay(Date.now(), zone.value) === startOfDay(start, zone.value);
  const left = `${today ? "" : `${day(start, zone.value, language.value)} `}${clock(start, zone.value, detail)}`;
  const right = `${sameDay ? "" : `${day(end, zone.value, language.value)} `}${clock(end, zone.value, detail)}`;
  return texts().fromTo(left, right);
}
