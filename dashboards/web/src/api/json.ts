// A cursor into an answer. Reads what is there, says where a shape is wrong, and never casts.

/** Thrown by a reader when an answer does not have the agreed shape; `client` turns it into an error value. */
export class Malformed extends Error {
  constructor(path: string, expected: string) {
    super(`${path === "" ? "the answer" : path} is not ${expected}`);
  }
}

export class Json {
  constructor(
    private readonly value: unknown,
    private readonly path = "",
  ) {}

  /** True for null and for a field that is absent. */
  get missing(): boolean {
    return this.value === undefined || this.value === null;
  }

  get raw(): unknown {
    return this.value;
  }

  get isText(): boolean {
    return typeof this.value === "string";
  }

  get isList(): boolean {
    return Array.isArray(this.value);
  }

  /** A field of an object. A field of something missing is missing. */
  get(name: string): Json {
    const path = this.path === "" ? name : `${this.path}.${name}`;
    if (this.missing) return new Json(undefined, path);
    if (typeof this.value !== "object" || Array.isArray(this.value)) throw new Malformed(this.path, "an object");
    return new Json((this.value as Record<string, unknown>)[name], path);
  }

  /** The first of several names that is present. */
  any(...names: readonly string[]): Json {
    return names.map((name) => this.get(name)).find((one) => !one.missing) ?? this.get(names[0] ?? "");
  }

  at(index: number): Json {
    if (!Array.isArray(this.value)) throw new Malformed(this.path, "a list");
    return new Json(this.value[index], `${this.path}[${index}]`);
  }

  text(): string {
    if (typeof this.value === "string") return this.value;
    if (typeof this.value === "number" || typeof this.value === "boolean") return String(this.value);
    throw new Malformed(this.path, "a text");
  }

  textOr(fallback: string): string {
    return this.missing ? fallback : this.text();
  }

  number(): number {
    const value = typeof this.value === "string" && this.value.trim() !== "" ? Number(this.value) : this.value;
    if (typeof value === "number" && !Number.isNaN(value)) return value;
    throw new Malformed(this.path, "a number");
  }

  /** A finite number, or null where it is missing or has no finite value. */
  numberOrNull(): number | null {
    if (this.missing) return null;
    const value = typeof this.value === "string" ? Number(this.value) : this.value;
    if (typeof value !== "number") throw new Malformed(this.path, "a number");
    return Number.isFinite(value) ? value : null;
  }

  bool(fallback = false): boolean {
    if (this.missing) return fallback;
    if (typeof this.value === "boolean") return this.value;
    throw new Malformed(this.path, "true or false");
  }

  /** A list; a missing one is empty. */
  list<T>(read: (item: Json) => T): T[] {
    if (this.missing) return [];
    if (!Array.isArray(this.value)) throw new Malformed(this.path, "a list");
    return this.value.map((item, index) => read(new Json(item, `${this.path}[${index}]`)));
  }

  /** An object as pairs; a missing one has none. */
  entries<T>(read: (item: Json) => T): [string, T][] {
    if (this.missing) return [];
    if (typeof this.value !== "object" || Array.isArray(this.value)) throw new Malformed(this.path, "an object");
    return Object.entries(this.value as Record<string, unknown>).map(([key, item]) => [
      key,
      read(new Json(item, `${this.path}.${key}`)),
    ]);
  }

  maybe<T>(read: (item: Json) => T): T | null {
    return this.missing ? null : read(this);
  }

  /** One of a closed set of words; another word is malformed, a missing one is the fallback. */
  word<const T extends string>(words: readonly T[], fallback?: T): T {
    if (this.missing && fallback !== undefined) return fallback;
    const found = words.find((word) => word === this.value);
    if (found === undefined) throw new Malformed(this.path, `one of ${words.join(", ")}`);
    return found;
  }

  /** A time in epoch milliseconds, from RFC 3339 or a number of them; null where missing. */
  timeOrNull(): number | null {
    if (this.missing) return null;
    if (typeof this.value === "number") return this.value;
    const t = typeof this.value === "string" ? Date.parse(this.value) : Number.NaN;
    if (Number.isNaN(t)) throw new Malformed(this.path, "a time");
    return t;
  }
}
