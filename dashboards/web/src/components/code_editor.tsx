// A text of several lines to edit: numbered, coloured as it is typed, the line at fault marked.

import type { RefObject } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import type { Token } from "../model/promql.ts";

interface Props {
  readonly label: string;
  readonly value: string;
  readonly tokens: readonly Token[];
  readonly onInput: (value: string) => void;
  readonly onSave: () => void;
  /** The line that is at fault, from 1. */
  readonly badLine: number | null;
  readonly describedBy: string;
  readonly box: RefObject<HTMLTextAreaElement>;
}

const CLASS: Readonly<Record<Token["kind"], string | undefined>> = {
  function: "q-f",
  label: "q-k",
  string: "q-s",
  punctuation: "q-p",
  plain: undefined,
};

export function CodeEditor({ label, value, tokens, onInput, onSave, badLine, describedBy, box }: Props) {
  const lines = value.split("\n");
  const wide = lines.reduce((most, line) => Math.max(most, width(line)), 0);
  const scroller = useRef<HTMLDivElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    scroller.current?.style.setProperty("--cols", String(wide + 2));
    scroller.current?.style.setProperty("--lines", String(lines.length));
  }, [wide, lines.length]);
  const key = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (event.key === "s" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      onSave();
    }
    // Tab moves on, as it does in every text box; a new line begins below the one before.
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && !event.altKey) indent(event);
  };
  return (
    <div class="code" ref={scroller}>
      <div class="code-lines" aria-hidden="true">
        {lines.map((_line, index) => (
          <span key={index} class={index + 1 === badLine ? "bad" : undefined}>
            {index + 1}
          </span>
        ))}
      </div>
      <div class="code-text">
        {badLine !== null && <i class="code-bad" style={{ "--at": String(badLine - 1) }} />}
        <code class="code-paint" aria-hidden="true">
          {tokens.map((token, index) => (
            <span key={index} class={CLASS[token.kind]}>
              {token.text}
            </span>
          ))}
        </code>
        <textarea
          ref={box}
          id={id}
          value={value}
          aria-label={label}
          aria-invalid={badLine !== null}
          aria-describedby={describedBy}
          spellcheck={false}
          autocapitalize="off"
          autocomplete="off"
          wrap="off"
          onInput={(event) => onInput(event.currentTarget.value)}
          onKeyDown={key}
        />
      </div>
    </div>
  );
}

/** Columns of a line: Han and other wide letters take two. */
function width(line: string): number {
  let columns = 0;
  for (const letter of line) columns += (letter.codePointAt(0) ?? 0) > 0x2e7f ? 2 : 1;
  return columns;
}

function indent(event: KeyboardEvent): void {
  const target = event.currentTarget;
  if (!(target instanceof HTMLTextAreaElement)) return;
  const before = target.value.slice(0, target.selectionStart);
  const line = before.slice(before.lastIndexOf("\n") + 1);
  const column = /^\s*(?:-\s+)*/.exec(line)?.[0].length ?? 0;
  const deeper = /:\s*$/.test(line) ? 2 : 0;
  if (column + deeper === 0) return;
  event.preventDefault();
  // Through the editing command, so that undo takes it back.
  document.execCommand("insertText", false, `\n${" ".repeat(column + deeper)}`);
}

/** Puts the caret at a line and shows it. */
export function toLine(box: HTMLTextAreaElement | null, line: number): void {
  if (!box) return;
  const lines = box.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((at, one) => at + one.length + 1, 0);
  box.focus();
  box.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
  const scroller = box.closest(".code");
  if (scroller) {
    const row = box.scrollHeight / Math.max(1, lines.length);
    scroller.scrollTop = Math.max(0, (line - 4) * row);
    scroller.scrollLeft = 0;
  }
}
