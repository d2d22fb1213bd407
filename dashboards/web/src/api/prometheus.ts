// The envelope that all of the Prometheus API shares.

import type { Json } from "./json.ts";

export interface Enveloped<T> {
  readonly data: T;
  readonly warnings: readonly string[];
}

/** Reads `data` of a success; errors come with their own status and are read by `client`. */
export function enveloped<T>(read: (data: Json) => T): (body: Json) => Enveloped<T> {
  return (body) => ({
    data: read(body.get("data")),
    warnings: [...body.get("warnings").list((one) => one.text()), ...body.get("infos").list((one) => one.text())],
  });
}

/** A value of that API: a text, for NaN and the infinities; NaN and the infinities stay what they are. */
export function promValue(json: Json): number {
  const text = json.text();
  if (text === "+Inf") return Number.POSITIVE_INFINITY;
  if (text === "-Inf") return Number.NEGATIVE_INFINITY;
  return Number(text);
}

export function labelSet(json: Json): Record<string, string> {
  return Object.fromEntries(json.entries((one) => one.text()));
}
