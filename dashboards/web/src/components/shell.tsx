// The bar on top, the foot, the list of shortcuts and the question for a token.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { useShortcuts } from "../app/keys.ts";
import { dictionary, switchLanguage, switchTheme, switchZone, texts, zone } from "../app/locale.ts";
import { go } from "../app/route.ts";
import { turnTables } from "../app/tables.ts";
import { Dialog } from "./controls.tsx";
import { Icon } from "./icon.tsx";
import { Keys } from "./text.tsx";

export type PageName = "releases" | "policies" | "logs" | "metrics" | "status";

const PAGES: readonly PageName[] = ["releases", "policies", "logs", "metrics", "status"];

export function Shell({ page, children }: { page: PageName | null; children: ComponentChildren }) {
  const t = texts();
  const [help, setHelp] = useState(false);
  const [menu, setMenu] = useState(false);
  useShortcuts({
    "g r": () => go("releases"),
    "g p": () => go("policies"),
    "g l": () => go("logs"),
    "g m": () => go("metrics"),
    "g s": () => go("status"),
    "/": () => document.querySelector<HTMLElement>("[data-main-search]")?.focus(),
    "?": () => setHelp(true),
    t: turnTables,
  });
  return (
    <>
      {/* biome-ignore lint/a11y/useValidAnchor: a skip link moves the focus within the page */}
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        {t.skip}
      </a>
      <header class="top">
        <div class="in">
          <a class="brand" href="releases">
            <Glyph />
            Greylight
          </a>
          <nav aria-label={t.nav.label} class={menu ? "open" : undefined} id="nav">
            {PAGES.map((name) => (
              <a
                key={name}
                href={name}
                aria-current={name === page ? "page" : undefined}
                onClick={() => setMenu(false)}
              >
                {t.nav[name]}
              </a>
            ))}
          </nav>
          <div class="side">
            <button class="btn quiet" type="button" title={t.nav.zone} onClick={switchZone}>
              {t.nav[zone.value]}
            </button>
            <button
              class="btn quiet"
              type="button"
              lang={dictionary.value.other === "中文" ? "zh-CN" : "en"}
              aria-label={t.nav.language}
              onClick={switchLanguage}
            >
              {t.other}
            </button>
            <button class="btn quiet icon" type="button" aria-label={t.nav.theme} onClick={switchTheme}>
              <Icon name="theme" />
            </button>
            <button
              class="btn quiet icon menu-narrow"
              type="button"
              aria-label={t.nav.menu}
              aria-expanded={menu}
              aria-controls="nav"
              onClick={() => setMenu(!menu)}
            >
              <Icon name="menu" />
            </button>
          </div>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
      {help && (
        <Dialog title={t.keys.title} onClose={() => setHelp(false)}>
          <dl class="facts keys">
            {t.keys.list.map(([key, text]) => (
              <>
                <dt key={key}>
                  <Keys of={key} />
                </dt>
                <dd>{text}</dd>
              </>
            ))}
          </dl>
          <form method="dialog">
            <div class="row">
              <button class="btn" type="submit">
                {t.close}
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </>
  );
}

/** An interval against a margin: the mark of the whole product. */
function Glyph() {
  return (
    <svg viewBox="0 0 30 14" aria-hidden="true">
      <path d="M1.5 3.5v7M1.5 7h18M19.5 3.5v7" fill="none" stroke="currentColor" stroke-width="1.6" />
      <circle cx="10" cy="7" r="3.6" fill="currentColor" />
      <path d="M27 0v14" stroke="currentColor" stroke-width="1.6" stroke-dasharray="3 2.5" />
    </svg>
  );
}

export function TokenDialog({ wrong, onAnswer }: { wrong: boolean; onAnswer: (token: string | null) => void }) {
  const t = texts();
  const [token, setToken] = useState("");
  return (
    <Dialog title={t.auth.title} onClose={() => onAnswer(null)}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (token.trim() !== "") onAnswer(token.trim());
        }}
      >
        <p class="dim">{t.auth.text}</p>
        <label class="field">
          <span class="label">{t.auth.token}</span>
          <input
            class="input"
            type="password"
            autocomplete="off"
            aria-invalid={wrong}
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
          {wrong && (
            <span class="hint bad" role="alert">
              <Icon name="error" small />
              {t.auth.wrong}
            </span>
          )}
        </label>
        <div class="row">
          <button class="btn quiet" type="button" onClick={() => onAnswer(null)}>
            {t.cancel}
          </button>
          <button class="btn primary" type="submit">
            {t.auth.submit}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

export function Foot({ children }: { children: ComponentChildren }) {
  return <footer class="foot">{children}</footer>;
}
