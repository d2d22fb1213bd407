// The address bar as state. Paths are relative to <base>, so the same build works under any prefix.

import { signal } from "@preact/signals";

export interface Route {
  readonly path: string;
  readonly search: URLSearchParams;
}

const base = document.querySelector("base");
/** The path that the pages live under, with a slash at its end. */
export const root = new URL(document.baseURI).pathname;
// Made absolute once: the relative one was meant for the address that was loaded.
if (base) base.href = root;

function current(): Route {
  const path = location.pathname.startsWith(root) ? location.pathname.slice(root.length) : "";
  return { path: path.replace(/\/+$/, ""), search: new URLSearchParams(location.search) };
}

export const route = signal<Route>(current());

/** Asks whoever has unsaved work before a page is left; `leave` goes on with it. */
export type Guard = (leave: () => void) => void;
let guard: Guard | null = null;
let shown = location.href;

/** Holds the page while there is unsaved work; null lets it go again. */
export function holdPage(by: Guard | null): void {
  guard = by;
}

/** What makes a page of its own: the path, and what a new thing begins with. Other parameters are views of the same. */
function placeOf(url: string): string {
  const { pathname, searchParams } = new URL(url, location.origin);
  return `${pathname} ${searchParams.get("new") ?? ""}`;
}

addEventListener("popstate", () => {
  const wanted = location.pathname + location.search;
  if (guard !== null && placeOf(location.href) !== placeOf(shown)) {
    // The browser has moved already: back to what is shown, until the answer is there.
    history.pushState(null, "", shown);
    guard(() => {
      guard = null;
      go(wanted.slice(root.length));
    });
    return;
  }
  shown = location.href;
  route.value = current();
});

/** Goes to a path under the root. Typing replaces; committing pushes. */
export function go(path: string, mode: "push" | "replace" = "push"): void {
  const url = root + path;
  if (url === location.pathname + location.search) return;
  if (guard !== null && placeOf(url) !== placeOf(location.href)) {
    guard(() => {
      guard = null;
      go(path, mode);
    });
    return;
  }
  if (mode === "push") history.pushState(null, "", url);
  else history.replaceState(null, "", url);
  shown = location.href;
  route.value = current();
  if (mode === "push") scrollTo(0, 0);
}

/** Changes parameters of the present address; an empty value removes its parameter, unknown ones stay. */
export function setParams(
  changes: Readonly<Record<string, string | readonly string[] | null>>,
  mode: "push" | "replace" = "push",
): void {
  const search = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    search.delete(key);
    if (value === null || value === "") continue;
    for (const one of typeof value === "string" ? [value] : value) search.append(key, one);
  }
  const text = search.toString();
  const path = location.pathname.slice(root.length) + (text === "" ? "" : `?${text}`);
  const y = scrollY;
  go(path, mode);
  scrollTo(0, y);
}

/** Lets plain links move within the application, and leaves new tabs and other places to the browser. */
export function followLinks(): void {
  addEventListener("click", (event) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || link.target !== "" || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (!link.pathname.startsWith(root) || link.getAttribute("href")?.startsWith("#")) return;
    event.preventDefault();
    go(link.pathname.slice(root.length) + link.search);
  });
}
