// One query's line, with what the server says of it.

import { useId } from "preact/hooks";
import { fetchLabelValues } from "../api/label_values.ts";
import { fetchLabels } from "../api/labels.ts";
import { language, texts } from "../app/locale.ts";
import { Icon } from "../components/icon.tsx";
import { QueryInput } from "../components/query_input.tsx";
import { span } from "../model/format.ts";
import { errorColumn, FUNCTIONS, type Slot, tokens } from "../model/promql.ts";
import { type Run, useRun } from "./metrics_run.ts";
import { troubleOf } from "./resource.ts";

interface Props {
  readonly letter: string;
  readonly line: { readonly text: string; readonly hidden: boolean };
  readonly main: boolean;
  /** The query as asked; null while the text in the box was not run yet. */
  readonly run: Run | null;
  readonly others: boolean;
  readonly names: readonly string[];
  readonly onInput: (text: string) => void;
  readonly onRun: () => void;
  readonly onHide: () => void;
  readonly onRemove: (() => void) | null;
}

export function QueryLine({ letter, line, main, run, others, names, onInput, onRun, onHide, onRemove }: Props) {
  const t = texts();
  const words = t.metrics;
  const note = useId();
  const ran = useRun(run);
  const error = run !== null && ran.error !== null && ran.error.kind !== "aborted" ? ran.error : null;
  const column = error?.kind === "refused" ? errorColumn(error.message) : null;
  const trouble = error && troubleOf(error);
  return (
    <>
      <QueryInput
        label={words.query(letter)}
        value={line.text}
        placeholder={words.placeholder}
        gutter={letter}
        main={main}
        tokens={tokens}
        onInput={onInput}
        onRun={onRun}
        complete={(slot) => complete(slot, names)}
        bad={error !== null}
        badColumn={column}
        describedBy={error ? note : undefined}
        end={
          <>
            {run !== null &&
              ran.value !== null &&
              words.series(ran.value.series.length, span(ran.value.tookMs, language.value))}
            <button
              class="btn quiet icon"
              type="button"
              aria-label={line.hidden ? words.show(letter) : words.hide(letter)}
              aria-pressed={line.hidden}
              onClick={onHide}
            >
              <Icon name={line.hidden ? "minus" : "eye"} small />
            </button>
            {onRemove && (
              <button class="btn quiet icon" type="button" aria-label={words.remove(letter)} onClick={onRemove}>
                <Icon name="x" small />
              </button>
            )}
          </>
        }
      />
      {trouble && (
        <p class="hint bad" id={note} role="alert">
          <Icon name="error" small />
          <span>
            {[
              column === null ? `${letter}:` : words.column(letter, column),
              column === null ? trouble.head : "",
              plainError(trouble.text),
              others ? words.othersShown : "",
            ]
              .filter((part) => part !== "")
              .join(" ")}
          </span>
        </p>
      )}
    </>
  );
}

/** The part of a parse error that a person reads; the column is said before it. */
function plainError(text: string): string {
  return text.replace(/^.*?\b1:\d+:\s*(?:parse error:\s*)?/, "");
}

async function complete(slot: Slot, names: readonly string[]): Promise<readonly string[]> {
  switch (slot.kind) {
    case "nothing":
      return [];
    case "name":
      return [...names, ...FUNCTIONS];
    case "label": {
      const answer = await fetchLabels(slot.metric);
      return answer.ok ? answer.value.filter((one) => one !== "__name__") : [];
    }
    case "value": {
      const answer = await fetchLabelValues(slot.label, slot.metric);
      return answer.ok ? answer.value : [];
    }
  }
}
