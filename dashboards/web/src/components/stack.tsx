// A table that becomes blocks of rows on a narrow screen, each cell then with the name of its column.

import type { ComponentChildren } from "preact";

export interface Column {
  readonly head: ComponentChildren;
  /** Numbers stand at the end of their cell. */
  readonly num?: boolean;
  readonly class?: string;
  /** Its name before the cell in a block; none where the cell says it itself. */
  readonly name?: string;
}

export interface Row {
  readonly key: string;
  readonly cells: readonly ComponentChildren[];
  readonly selected?: boolean;
}

/** Blocks take a table's roles away, so they are set by hand. */
export function StackTable({
  label,
  columns,
  rows,
  class: name = "",
}: {
  label: string;
  columns: readonly Column[];
  rows: readonly Row[];
  class?: string;
}) {
  const classOf = (column: Column | undefined) =>
    [column?.num ? "num" : "", column?.class ?? ""].filter((one) => one !== "").join(" ") || undefined;
  return (
    <table role="table" class={`t stack ${name}`} aria-label={label}>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((column, index) => (
            <th key={index} role="columnheader" class={classOf(column)}>
              {column.head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={row.key} role="row" data-selected={row.selected ? "" : undefined}>
            {row.cells.map((cell, index) => (
              <td key={index} role="cell" class={classOf(columns[index])} data-of={columns[index]?.name}>
                {cell}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
