// The one place that calls the server. Every answer comes back as a value: read, or an error with a kind.

import { Json, Malformed } from "./json.ts";
import { currentToken, demandToken } from "./session.ts";

/** Why there is no answer. Exhaustive: pages switch over it. */
export type ApiError =
  | { kind: "refused"; status: number; code: string; message: string; field: string; value: string; limit: string }
  | { kind: "unreachable" }
  | { kind: "malformed"; message: string }
  | { kind: "aborted" };

export type Answer<T> = { ok: true; value: T } | { ok: false; error: ApiError };

export interface Call {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  readonly query?: Readonly<Record<string, string | number | readonly string[] | null | undefined>>;
  readonly form?: Readonly<Record<string, string | number>>;
  readonly json?: unknown;
  /** A body that is sent as it is: YAML, or JSON where it reads as such. */
  readonly text?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Asks the server and reads the answer's JSON with `read`. */
export async function call<T>(path: string, read: (body: Json) => T, options: Call = {}): Promise<Answer<T>> {
  const response = await send(path, options);
  if (!(response instanceof Response)) return { ok: false, error: response };
  const body = await bodyOf(response);
  if (body === undefined && response.ok && options.method === undefined) {
    return { ok: false, error: { kind: "malformed", message: "the answer is not JSON" } };
  }
  if (!response.ok) return { ok: false, error: refusal(response.status, body) };
  try {
    return { ok: true, value: read(new Json(body)) };
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, error: { kind: "malformed", message: error.message } };
    throw error;
  }
}

async function send(path: string, options: Call): Promise<Response | ApiError> {
  // Relative to <base>, so that a path prefix in front of the server works.
  const url = new URL(`../api/v1/${path}`, document.baseURI);
  for (const [key, value] of Object.entries(options.query ?? {})) {
    if (value === null || value === undefined || value === "") continue;
    if (typeof value === "object") for (const one of value) url.searchParams.append(key, one);
    else url.searchParams.set(key, String(value));
  }
  const attempt = () => fetch(url, request(options));
  try {
    const first = await attempt();
    if (first.status !== 401) return first;
    return (await demandToken()) ? await attempt() : first;
  } catch {
    return options.signal?.aborted ? { kind: "aborted" } : { kind: "unreachable" };
  }
}

function request(options: Call): RequestInit {
  const headers = new Headers({ Accept: "application/json" });
  const token = currentToken();
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  const init: RequestInit = { method: options.method ?? (options.form ? "POST" : "GET"), headers, cache: "no-store" };
  if (options.signal) init.signal = options.signal;
  if (options.json !== undefined) {
    headers.set("Content-Type", "application/json");
    init.body = JSON.stringify(options.json);
  }
  if (options.text !== undefined) {
    headers.set("Content-Type", "application/yaml");
    init.body = options.text;
  }
  if (options.form) {
    init.body = new URLSearchParams(
      Object.entries(options.form).map(([key, value]) => [key, String(value)] as [string, string]),
    );
  }
  return init;
}

async function bodyOf(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch {
    return undefined;
  }
}

/** Reads both envelopes: our own, and that of the Prometheus API. */
function refusal(status: number, body: unknown): ApiError {
  const none = { field: "", value: "", limit: "" };
  try {
    const answer = new Json(body);
    const inner = answer.get("error");
    if (inner.isText) {
      return {
        kind: "refused",
        status,
        code: answer.get("errorType").textOr("internal"),
        message: inner.text(),
        ...none,
      };
    }
    const written = (name: string) => {
      const raw = inner.get(name).raw;
      return raw === undefined || raw === null ? "" : typeof raw === "string" ? raw : JSON.stringify(raw);
    };
    return {
      kind: "refused",
      status,
      code: inner.get("kind").textOr("internal"),
      message: inner.get("message").textOr(`HTTP ${status}`),
      field: written("field"),
      value: written("value"),
      limit: written("limit"),
    };
  } catch {
    return { kind: "refused", status, code: "internal", message: `HTTP ${status}`, ...none };
  }
}
