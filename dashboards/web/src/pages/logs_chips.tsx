// Filters beside the query: solid edge includes, dashed excludes.

import { useState } from "preact/hooks";
import { texts } from "../app/locale.ts";
import { Icon } from "../components/icon.tsx";
import type { Filter } from "../model/log.ts";

interface Props {
  readonly filters: readonly Filter[];
  readonly match: string;
  readonly onRemove: (filter: Filter) => void;
  readonly onAdd: (filter: Filter) => void;
  readonly onMatch: (text: string) => void;
}

export function Chips({ filters, match, onRemove, onAdd, onMatch }: Props) {
  const t = texts();
  const [open, setOpen] = useState(false);
  return (
    <div class="chips logs-chips">
      {match !== "" && (
        <span class="chip">
          <code>{match}</code>
          <button class="link x" type="button" aria-label={t.logs.remove(match)} onClick={() => onMatch("")}>
            <Icon name="x" small />
          </button>
        </span>
      )}
      {filters.map((filter) => {
        const text = `${filter.field} ${filter.not ? "≠" : "="} ${filter.value}`;
        return (
          <span key={text} class={`chip${filter.not ? " not" : ""}`}>
            {text.length > 80 ? `${text.slice(0, 79)}…` : text}
            <button class="link x" type="button" aria-label={t.logs.remove(text)} onClick={() => onRemove(filter)}>
              <Icon name="x" small />
            </button>
          </span>
        );
      })}
      {open ? (
        <AddFilter
          match={match}
          onDone={(filter, labels) => {
            setOpen(false);
            if (filter) onAdd(filter);
            if (labels !== match) onMatch(labels);
          }}
        />
      ) : (
        <button class="chip" type="button" onClick={() => setOpen(true)}>
          <Icon name="plus" small />
          {t.logs.add}
        </button>
      )}
    </div>
  );
}

function AddFilter({ match, onDone }: { match: string; onDone: (filter: Filter | null, match: string) => void }) {
  const t = texts();
  const [field, setField] = useState("");
  const [value, setValue] = useState("");
  const [not, setNot] = useState(false);
  const [labels, setLabels] = useState(match);
  const submit = (event: Event) => {
    event.preventDefault();
    onDone(field.trim() && value.trim() ? { field: field.trim(), value: value.trim(), not } : null, labels.trim());
  };
  return (
    <form class="add-filter" onSubmit={submit}>
      <input
        class="input"
        aria-label={t.logs.addField}
        placeholder={t.logs.addField}
        value={field}
        spellcheck={false}
        onInput={(event) => setField(event.currentTarget.value)}
      />
      <select
        class="input"
        aria-label="="
        value={not ? "not" : "is"}
        onChange={(event) => setNot(event.currentTarget.value === "not")}
      >
        <option value="is">=</option>
        <option value="not">≠</option>
      </select>
      <input
        class="input"
        aria-label={t.logs.addValue}
        placeholder={t.logs.addValue}
        value={value}
        spellcheck={false}
        onInput={(event) => setValue(event.currentTarget.value)}
      />
      <input
        class="input"
        aria-label={t.logs.match}
        placeholder={'{service_name="cart"}'}
        title={t.logs.match}
        value={labels}
        spellcheck={false}
        onInput={(event) => setLabels(event.currentTarget.value)}
      />
      <button class="btn small" type="submit">
        {t.range.apply}
      </button>
      <button class="btn quiet small" type="button" onClick={() => onDone(null, match)}>
        {t.cancel}
      </button>
    </form>
  );
}
