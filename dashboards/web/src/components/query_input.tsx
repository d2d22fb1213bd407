// A query line: coloured as it is typed, completed from what exists, marked where the server found a mistake.

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { texts } from "../app/locale.ts";
import { rank, type Slot, slotAt, type Token } from "../model/promql.ts";

interface Props {
  readonly label: string;
  readonly value: string;
  readonly placeholder: string;
  readonly gutter: ComponentChildren;
  readonly end?: ComponentChildren;
  readonly tokens: (text: string) => readonly Token[];
  readonly onInput: (value: string) => void;
  readonly onRun: () => void;
  /** Candidates for what stands at the cursor; null offers none. */
  readonly complete?: (slot: Slot) => Promise<readonly string[]> | null;
  readonly bad?: boolean;
  /** The column of the mistake, counted from one. */
  readonly badColumn?: number | null;
  readonly describedBy?: string | undefined;
  readonly main?: boolean;
}

const CLASS: Readonly<Record<Token["kind"], string | undefined>> = {
  function: "q-f",
  label: "q-l",
  string: "q-s",
  punctuation: "q-p",
  plain: undefined,
};

export function QueryInput({
  label,
  value,
  placeholder,
  gutter,
  end,
  tokens,
  onInput,
  onRun,
  complete,
  bad = false,
  badColumn = null,
  describedBy,
  main = false,
}: Props) {
  const box = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  const [offer, setOffer] = useState<{ items: readonly string[]; at: number; from: number; to: number } | null>(null);
  const turn = useRef(0);
  /** Where the cursor goes with the text that an accepted suggestion makes. */
  const cursorAfter = useRef<number | null>(null);

  // The box grows with its text, as the coloured copy behind it does.
  // Measured again whenever the text changes.
  useLayoutEffect(() => {
    const node = box.current;
    if (!node) return;
    // Together with the text: a frame later it would go under what was typed meanwhile.
    if (cursorAfter.current !== null) node.setSelectionRange(cursorAfter.current, cursorAfter.current);
    cursorAfter.current = null;
    node.style.blockSize = "0";
    node.style.blockSize = `${node.scrollHeight}px`;
  }, [value]);

  /** An answer on its way opens nothing any more. */
  const dismiss = () => {
    turn.current += 1;
    setOffer(null);
  };
  const suggest = (text: string, cursor: number) => {
    turn.current += 1;
    const mine = turn.current;
    const slot = slotAt(text, cursor);
    const asked = complete?.(slot);
    if (!asked || slot.kind === "nothing") {
      setOffer(null);
      return;
    }
    void asked.then((all) => {
      if (mine !== turn.current || document.activeElement !== box.current) return;
      const items = rank(all, slot.prefix);
      setOffer(items.length === 0 ? null : { items, at: 0, from: slot.from, to: cursor });
    });
  };
  const accept = (item: string) => {
    if (!offer) return;
    const next = value.slice(0, offer.from) + item + value.slice(offer.to);
    const cursor = offer.from + item.length;
    if (next === value) box.current?.setSelectionRange(cursor, cursor);
    else cursorAfter.current = cursor;
    onInput(next);
    dismiss();
  };
  const key = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (offer) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step !== undefined) {
        event.preventDefault();
        setOffer({ ...offer, at: (offer.at + step + offer.items.length) % offer.items.length });
        return;
      }
      if (event.key === "Escape") {
        event.preventDefault();
        dismiss();
        return;
      }
      const chosen = offer.items[offer.at];
      if (
        (event.key === "Tab" || (event.key === "Enter" && !event.ctrlKey && !event.metaKey)) &&
        chosen !== undefined
      ) {
        event.preventDefault();
        accept(chosen);
        return;
      }
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      dismiss();
      onRun();
    }
  };
  return (
    <div class={`query${bad ? " bad" : ""}`}>
      <span class="gut" aria-hidden="true">
        {gutter}
      </span>
      <div class="typed">
        <code class="paint" aria-hidden="true">
          <Painted tokens={tokens(value)} badColumn={bad ? badColumn : null} />
          {"\u200b"}
        </code>
        <textarea
          ref={box}
          rows={1}
          value={value}
          placeholder={placeholder}
          spellcheck={false}
          autocapitalize="off"
          autocomplete="off"
          role="combobox"
          aria-label={label}
          aria-invalid={bad}
          aria-describedby={describedBy}
          aria-autocomplete="list"
          aria-expanded={offer !== null}
          aria-controls={id}
          aria-activedescendant={offer ? `${id}-${offer.at}` : undefined}
          data-main-search={main ? "" : undefined}
          onInput={(event) => {
            onInput(event.currentTarget.value.replace(/\n/g, " "));
            if (!event.isComposing) suggest(event.currentTarget.value, event.currentTarget.selectionStart);
          }}
          onKeyDown={key}
          onBlur={dismiss}
        />
        <div class="pop offer" id={id} role="listbox" aria-label={texts().metrics.suggestions} hidden={offer === null}>
          {offer?.items.map((item, index) => (
            <div
              key={item}
              id={`${id}-${index}`}
              role="option"
              tabIndex={-1}
              aria-selected={index === offer.at}
              onMouseDown={(event) => {
                event.preventDefault();
                accept(item);
              }}
            >
              <code>{item}</code>
            </div>
          ))}
        </div>
      </div>
      {end && <span class="end">{end}</span>}
    </div>
  );
}

/** The coloured copy. A mistake is underlined at its character, or after the end. */
function Painted({ tokens, badColumn }: { tokens: readonly Token[]; badColumn: number | null }) {
  let at = 0;
  const parts = tokens.map((token, index) => {
    const start = at;
    at += token.text.length;
    const mark = badColumn === null ? -1 : badColumn - 1 - start;
    const inside = mark >= 0 && mark < token.text.length;
    return (
      <span key={index} class={CLASS[token.kind]}>
        {inside ? (
          <>
            {token.text.slice(0, mark)}
            <span class="caret-err">{token.text.charAt(mark)}</span>
            {token.text.slice(mark + 1)}
          </>
        ) : (
          token.text
        )}
      </span>
    );
  });
  return (
    <>
      {parts}
      {badColumn !== null && badColumn > at && <span class="caret-err"> </span>}
    </>
  );
}
