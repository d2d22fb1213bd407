// Shortcuts. None fires in a text box or while an input method composes.

import { useLayoutEffect } from "preact/hooks";
import { go } from "./route.ts";

export type Shortcuts = Readonly<Record<string, (event: KeyboardEvent) => void>>;

const layers: Shortcuts[] = [];
let prefix: { key: string; at: number } | null = null;

function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(?:INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

/** Enter on a button or a link is the browser's. */
function activates(event: KeyboardEvent): boolean {
  return (
    (event.key === "Enter" || event.key === " ") &&
    event.target instanceof Element &&
    event.target.closest("a,button,summary,[role=slider]") !== null
  );
}

function press(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing || event.metaKey || event.ctrlKey || event.altKey) return;
  if (typing(event.target) || activates(event) || document.querySelector("dialog[open]")) return;
  const chord = prefix && event.timeStamp - prefix.at < 1200 ? `${prefix.key} ${event.key}` : event.key;
  prefix = null;
  const found = [...layers].reverse().find((layer) => chord in layer);
  if (found) {
    event.preventDefault();
    found[chord]?.(event);
  } else if (layers.some((layer) => Object.keys(layer).some((key) => key.startsWith(`${event.key} `)))) {
    prefix = { key: event.key, at: event.timeStamp };
  }
}

addEventListener("keydown", press);

/** Offers shortcuts while the component is shown; the latest layer wins. */
export function useShortcuts(shortcuts: Shortcuts): void {
  // Before the page is painted: a key may come with the first frame.
  useLayoutEffect(() => {
    layers.push(shortcuts);
    return () => {
      layers.splice(layers.indexOf(shortcuts), 1);
    };
  }, [shortcuts]);
}

/** j and k walk the rows' links; Enter is the link's own. */
export function useRowKeys(table: { current: HTMLTableElement | null }): void {
  const move = (step: 1 | -1) => {
    const links = [...(table.current?.querySelectorAll<HTMLElement>("a.row-link") ?? [])];
    const at = links.indexOf(document.activeElement as HTMLElement);
    links[Math.max(0, Math.min(links.length - 1, at + step))]?.focus();
  };
  useShortcuts({
    j: () => move(1),
    k: () => move(-1),
    Enter: () => {
      const first = table.current?.querySelector<HTMLAnchorElement>("a.row-link");
      if (first) go(first.getAttribute("href") ?? "releases");
    },
  });
}
