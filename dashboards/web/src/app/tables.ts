// Whether charts are shown as tables: one switch for a page, turned by `t` and by each chart's own link.

import { signal } from "@preact/signals";

export const asTables = signal(false);

export function turnTables(): void {
  asTables.value = !asTables.value;
}
