// Language, zone and theme of the person at the screen. Signals, so that a change redraws what reads them.

import { signal } from "@preact/signals";
import { type Dictionary, en } from "../i18n/en.ts";
import type { Language, Zone } from "../model/format.ts";

export const language = signal<Language>("en");
export const dictionary = signal<Dictionary>(en);
export const zone = signal<Zone>("utc");

/** Texts of the language now chosen. Reading it in a component subscribes the component. */
export function texts(): Dictionary {
  return dictionary.value;
}

export function stored(key: string): string | null {
  try {
    return localStorage.getItem(`greylight.${key}`);
  } catch {
    return null;
  }
}

export function store(key: string, value: string): void {
  try {
    localStorage.setItem(`greylight.${key}`, value);
  } catch {
    // A browser that keeps nothing still shows everything.
  }
}

/** Loads a language and makes it the page's. Chinese is a chunk of its own. */
export async function speak(next: Language): Promise<void> {
  dictionary.value = next === "zh-CN" ? (await import("../i18n/zh-CN.ts")).zh : en;
  language.value = next;
  document.documentElement.lang = next;
}

export function switchLanguage(): void {
  const next: Language = language.value === "en" ? "zh-CN" : "en";
  store("lang", next);
  void speak(next);
}

export function switchZone(): void {
  zone.value = zone.value === "utc" ? "local" : "utc";
  store("zone", zone.value);
}

export function switchTheme(): void {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  store("theme", root.dataset.theme);
  themeTurns.value += 1;
}

/** Rises with every change of theme: canvases read their colours again. */
export const themeTurns = signal(0);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  themeTurns.value += 1;
});

/** Reads what `theme.js` and earlier visits left, before the first render. */
export async function restore(): Promise<void> {
  zone.value = stored("zone") === "local" ? "local" : "utc";
  await speak(document.documentElement.lang === "zh-CN" ? "zh-CN" : "en");
}

/** The zone's name for a foot line. */
export function zoneName(): string {
  return zone.value === "utc" ? "UTC" : dictionary.value.localZone;
}
