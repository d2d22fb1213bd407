// What every chart of a release has: a head with the switch to its numbers, and the table that they stand in.

import { texts } from "../app/locale.ts";
import { asTables } from "../app/tables.ts";

/** The head of a chart, with the switch to its numbers. */
export function ChartCaption({
  name,
  children,
  table,
}: {
  name: string;
  children?: preact.ComponentChildren;
  table: boolean;
}) {
  const t = texts();
  return (
    <figcaption>
      <b>{name}</b>
      {children}
      {table && (
        <button
          class="link"
          type="button"
          aria-pressed={asTables.value}
          onClick={() => (asTables.value = !asTables.value)}
        >
          {asTables.value ? t.asChart : t.asTable}
        </button>
      )}
    </figcaption>
  );
}

/** A chart's numbers in the chart's own height. */
export function TwinTable({
  head,
  label,
  height,
  children,
}: {
  head: readonly string[];
  label: string;
  height: number;
  children: readonly (readonly string[])[];
}) {
  return (
    <div class="twin-table" tabIndex={0} role="region" aria-label={label} style={{ "--h": `${height + 20}px` }}>
      <table class="t">
        <thead>
          <tr>
            {head.map((one, index) => (
              <th key={one} class={index === 0 ? undefined : "num"}>
                {one}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {children.map((row) => (
            <tr key={row[0]}>
              {row.map((cell, index) => (
                <td key={head[index]} class={index === 0 ? "nw" : "num"}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
