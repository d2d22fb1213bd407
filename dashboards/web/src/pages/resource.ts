// An answer over its life in a component: asked, shown, asked again, kept though old when the server is away.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Answer, ApiError } from "../api/client.ts";
import { texts } from "../app/locale.ts";
import type { Trouble } from "../components/states.tsx";

export interface Resource<T> {
  /** The last value that was read, kept while a newer one is asked for or fails. */
  readonly value: T | null;
  readonly error: ApiError | null;
  readonly loading: boolean;
  /** When `value` was read. */
  readonly at: number | null;
  readonly reload: () => void;
}

export interface Options {
  /** Asks again after this long; null asks once. */
  readonly everyMs?: number | null;
}

/** Asks whenever `key` changes, and again on a beat while the page is in view. A null key asks nothing. */
export function useResource<T>(
  key: string | null,
  ask: (signal: AbortSignal) => Promise<Answer<T>>,
  options: Options = {},
): Resource<T> {
  const [state, setState] = useState<{
    key: string | null;
    value: T | null;
    error: ApiError | null;
    at: number | null;
    loading: boolean;
  }>({
    key: null,
    value: null,
    error: null,
    at: null,
    loading: key !== null,
  });
  const [turn, setTurn] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;
  const every = options.everyMs ?? null;

  // `turn` asks again.
  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    setState((old) =>
      old.key === key ? { ...old, loading: true } : { key, value: null, error: null, at: null, loading: true },
    );
    void latest.current(stop.signal).then((answer) => {
      if (stop.signal.aborted) return;
      setState((old) =>
        answer.ok
          ? { key, value: answer.value, error: null, at: Date.now(), loading: false }
          : { ...old, key, error: answer.error, loading: false },
      );
    });
    return () => stop.abort();
  }, [key, turn]);

  useEffect(() => {
    if (every === null || key === null) return;
    let wait = every;
    let timer: ReturnType<typeof setTimeout>;
    const beat = () => {
      if (!document.hidden) setTurn((one) => one + 1);
      timer = setTimeout(beat, wait);
    };
    // Failures slow the beat down, so that a server that comes back is not met by a stampede.
    if (state.error !== null) wait = Math.min(every * 4, 30_000);
    timer = setTimeout(beat, wait);
    return () => clearTimeout(timer);
  }, [every, key, state.error]);

  const reload = useCallback(() => setTurn((one) => one + 1), []);
  const fresh = state.key === key;
  return {
    value: fresh ? state.value : null,
    error: fresh ? state.error : null,
    loading: state.loading || !fresh,
    at: fresh ? state.at : null,
    reload,
  };
}

/** Words an error for the part that has it. */
export function troubleOf(error: ApiError): Trouble {
  const t = texts().errors;
  switch (error.kind) {
    case "unreachable":
      return { head: t.unreachable, text: "" };
    case "malformed":
      return { head: "", text: t.malformed(error.message) };
    case "aborted":
      return { head: "", text: "" };
    case "refused": {
      const where = error.field ? `${error.field}: ` : "";
      const limit = error.limit ? ` ${t.limit(error.limit)}` : "";
      return {
        head: `${t.refused[error.code] ?? `HTTP ${error.status}`}.`,
        text: `${where}${error.message}${/[.!?。]$/.test(error.message) ? "" : "."}${limit}`,
      };
    }
  }
}

/** The same moment for all of one rendering, moving on once a second or slower. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
