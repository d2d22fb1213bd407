// Starts the pages: language first, then the page that the address names.

import type { FunctionComponent } from "preact";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { currentToken, onTokenNeeded } from "./api/session.ts";
import { restore, texts } from "./app/locale.ts";
import { followLinks, go, route } from "./app/route.ts";
import { type PageName, Shell, TokenDialog } from "./components/shell.tsx";
import { State } from "./components/states.tsx";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/app.css";
import "./styles/policies.css";
import "./styles/parts.css";

interface Place {
  readonly page: PageName | null;
  readonly name: string;
  readonly load: () => Promise<{ default: FunctionComponent<{ id: string }> }>;
  readonly id: string;
}

function place(path: string): Place | null {
  const [first = "", id = "", ...rest] = path.split("/").map(decodeURIComponent);
  if (rest.length > 0) return null;
  const simple = (page: PageName, load: Place["load"]): Place | null =>
    id === "" ? { page, name: page, load, id } : null;
  switch (first) {
    case "":
    case "releases":
      return id === ""
        ? { page: "releases", name: "releases", load: () => import("./pages/releases.tsx"), id }
        : { page: "releases", name: "release", load: () => import("./pages/release.tsx"), id };
    case "policies":
      return { page: "policies", name: "policies", load: () => import("./pages/policies.tsx"), id };
    case "metrics":
    case "graph":
      return simple("metrics", () => import("./pages/metrics.tsx"));
    case "logs":
      return simple("logs", () => import("./pages/logs.tsx"));
    case "status":
      return simple("status", () => import("./pages/status.tsx"));
    default:
      return null;
  }
}

function App() {
  const found = place(route.value.path);
  const [loaded, setLoaded] = useState<{ name: string; Page: FunctionComponent<{ id: string }> } | null>(null);
  const [question, setQuestion] = useState<{ wrong: boolean; answer: (token: string | null) => void } | null>(null);
  const name = found?.name ?? null;

  // The name stands for the whole place.
  useEffect(() => {
    let current = true;
    void found?.load().then((module) => {
      if (current) setLoaded({ name: found.name, Page: module.default });
    });
    return () => {
      current = false;
    };
  }, [name]);

  useEffect(() => {
    onTokenNeeded(
      () =>
        new Promise((resolve) => {
          setQuestion({
            wrong: currentToken() !== null,
            answer: (token) => {
              setQuestion(null);
              resolve(token);
            },
          });
        }),
    );
  }, []);

  const ready = loaded !== null && loaded.name === name;
  return (
    <Shell page={found?.page ?? null}>
      {found === null && <NotFound />}
      {found !== null && ready && <loaded.Page key={found.id} id={found.id} />}
      {question && <TokenDialog wrong={question.wrong} onAnswer={question.answer} />}
    </Shell>
  );
}

function NotFound() {
  const t = texts();
  return (
    <div class="in">
      <div class="titlebar">
        <h1>{t.errors.notFound}</h1>
      </div>
      <State head={t.errors.notFound} text={t.errors.notFoundText} height={200}>
        <a class="btn" href="releases">
          {t.errors.toReleases}
        </a>
      </State>
    </div>
  );
}

async function start(): Promise<void> {
  await restore();
  followLinks();
  if (route.value.path === "") go("releases", "replace");
  const holder = document.getElementById("app");
  if (holder) render(<App />, holder);
}

void start();
