// Controls that more than one page uses.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { texts } from "../app/locale.ts";
import { count } from "../model/format.ts";
import { Icon } from "./icon.tsx";

export interface Choice<T extends string> {
  readonly value: T;
  readonly text: ComponentChildren;
  readonly count?: number | undefined;
}

/** One of few, as buttons side by side. */
export function Segments<T extends string>({
  label,
  choices,
  value,
  onChange,
  small = true,
}: {
  label: string;
  choices: readonly Choice<T>[];
  value: T;
  onChange: (value: T) => void;
  small?: boolean;
}) {
  return (
    <fieldset class={`seg${small ? " small" : ""}`} aria-label={label}>
      {choices.map((choice) => (
        <button
          key={choice.value}
          type="button"
          aria-pressed={choice.value === value}
          onClick={() => onChange(choice.value)}
        >
          {choice.text}
          {choice.count !== undefined && <span class="c">{count(choice.count)}</span>}
        </button>
      ))}
    </fieldset>
  );
}

/** Views of one part. Arrow keys move between them. */
export function Tabs<T extends string>({
  label,
  choices,
  value,
  onChange,
  panel,
  style = "seg",
}: {
  label: string;
  choices: readonly Choice<T>[];
  value: T;
  onChange: (value: T) => void;
  panel: string;
  style?: "seg" | "line";
}) {
  const list = useRef<HTMLDivElement>(null);
  // A row of tabs may be wider than a narrow screen; only the row moves, never the page.
  useLayoutEffect(() => {
    const row = list.current;
    const chosen = row?.querySelector<HTMLElement>("[aria-selected=true]");
    if (!row || !chosen) return;
    const [from, to] = [chosen.offsetLeft - row.offsetLeft, chosen.offsetLeft - row.offsetLeft + chosen.offsetWidth];
    if (from < row.scrollLeft || to > row.scrollLeft + row.clientWidth) row.scrollLeft = from;
  }, [value]);
  const key = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const at = choices.findIndex((choice) => choice.value === value);
    const next = choices[(at + step + choices.length) % choices.length];
    if (!next) return;
    onChange(next.value);
    list.current?.querySelector<HTMLElement>(`[data-tab="${next.value}"]`)?.focus();
  };
  return (
    <div class={style === "seg" ? "seg small" : "tabs"} role="tablist" aria-label={label} ref={list} onKeyDown={key}>
      {choices.map((choice) => (
        <button
          key={choice.value}
          type="button"
          role="tab"
          data-tab={choice.value}
          aria-selected={choice.value === value}
          aria-controls={panel}
          tabIndex={choice.value === value ? 0 : -1}
          onClick={() => onChange(choice.value)}
        >
          {choice.text}
          {choice.count !== undefined && <span class="c"> {count(choice.count)}</span>}
        </button>
      ))}
    </div>
  );
}

/** A box to type a filter into. `/` brings the caret here where `main` is set. */
export function Find({
  label,
  placeholder,
  value,
  onInput,
  wide = true,
  main = false,
}: {
  label: string;
  placeholder?: string;
  value: string;
  onInput: (value: string) => void;
  wide?: boolean;
  main?: boolean;
}) {
  return (
    <label class={`find${wide ? " wide" : ""}`}>
      <Icon name="search" small />
      <input
        class="bare"
        type="search"
        aria-label={label}
        placeholder={placeholder ?? label}
        value={value}
        spellcheck={false}
        data-main-search={main ? "" : undefined}
        onInput={(event) => {
          if (!event.isComposing) onInput(event.currentTarget.value);
        }}
        onCompositionEnd={(event) => onInput(event.currentTarget.value)}
      />
      {main && <kbd>/</kbd>}
    </label>
  );
}

/** A choice from many, in the browser's own list. */
export function Pick({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: string;
  options: readonly (readonly [value: string, text: string])[];
  onChange: (value: string) => void;
}) {
  return (
    <label class="pick">
      <span class="sr">{label}</span>
      <select class="input" value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A dialog of the browser's own kind: focus stays inside, Escape closes. */
export function Dialog({
  title,
  onClose,
  children,
  wide = false,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  wide?: boolean;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog class={`dlg${wide ? " wide" : ""}`} ref={dialog} aria-labelledby={heading} onClose={onClose}>
      <h2 id={heading}>{title}</h2>
      {children}
    </dialog>
  );
}

/** Says for a moment that something was copied. */
export function CopyButton({
  text,
  label,
  children,
  small = false,
  icon = false,
}: {
  text: () => string;
  label: string;
  children?: ComponentChildren;
  small?: boolean;
  icon?: boolean;
}) {
  const [done, setDone] = useState(false);
  const t = texts();
  const copy = async () => {
    await copyText(text());
    setDone(true);
    setTimeout(() => setDone(false), 1600);
  };
  return (
    <button
      class={`btn${small ? " small" : ""}${icon ? " icon" : ""}`}
      type="button"
      aria-label={icon ? label : undefined}
      onClick={() => void copy()}
    >
      <Icon name={done ? "ok" : "copy"} small={small || !icon} />
      {!icon && (done ? t.copied : children)}
      {icon && (
        <span class="sr" role="status">
          {done ? t.copied : ""}
        </span>
      )}
    </button>
  );
}

/** The clipboard is refused on plain HTTP of other hosts; a hidden text box then serves. */
async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const box = document.createElement("textarea");
    box.value = text;
    box.style.position = "fixed";
    box.style.opacity = "0";
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
}
