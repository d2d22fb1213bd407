// Which line of a policy's text a field stands in. Reads the block and flow styles that policies are written in, JSON
// among them, and never refuses: the server judges what is valid, and half a text is the usual case while one types.

/** Where a value begins, and the values inside it. */
interface Place {
  readonly line: number;
  readonly inside: Map<string | number, Place>;
}

type Path = readonly (string | number)[];

/** Splits `phases[0].checks[2].margin`, as the server names a field. */
export function fieldPath(field: string): Path {
  const path: (string | number)[] = [];
  for (const [, index, name] of field.matchAll(/\[(\d+)\]|([^.[\]]+)/g)) {
    if (index !== undefined) path.push(Number(index));
    else if (name !== undefined) path.push(name);
  }
  return path;
}

/** The line, from 1, of a field or of the nearest value around it that is there. */
export function lineOf(text: string, field: string): number {
  let at = placesOf(text);
  for (const step of fieldPath(field)) {
    const next = at.inside.get(step);
    if (!next) break;
    at = next;
  }
  return at.line;
}

/** The line that a reader's own message names ("... at line 3 column 5"); null where it names none. */
export function lineNamed(message: string): number | null {
  const found = /\bline:? (\d+)/i.exec(message);
  return found ? Number(found[1]) : null;
}

const place = (line: number): Place => ({ line, inside: new Map() });

interface Open {
  readonly indent: number;
  readonly of: Place;
  readonly kind: "map" | "list";
}

const KEY = /^(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|([^\s"'#[\]{},&*!|>%@`-][^:#]*?|-[^\s:#][^:#]*?))\s*:(?=\s|$)\s*/;

function placesOf(text: string): Place {
  const lines = text.split("\n");
  const root = place(firstLine(lines));
  if (/^\s*[{[]/.test(text)) {
    new Flow(text, 0, 1).value(root);
    return root;
  }
  const starts = lineStarts(lines);
  const open: Open[] = [];
  // What a deeper line belongs to; null while it continues a scalar.
  let pending: Place | null = root;
  let skipUntil = 0;
  let scalarIndent: number | null = null;
  for (const [index, raw] of lines.entries()) {
    if (index < skipUntil) continue;
    const trimmed = raw.trimStart();
    if (trimmed === "" || trimmed.startsWith("#") || /^(?:---|\.\.\.|%)/.test(raw)) continue;
    let column = raw.length - trimmed.length;
    if (scalarIndent !== null && column > scalarIndent) continue;
    scalarIndent = null;
    let rest = trimmed;
    let target: Place | null = null;
    let indent = column;
    for (;;) {
      if (/^-(?:\s|$)/.test(rest)) {
        const list = container(open, column, "list", pending);
        if (list === null) break;
        target = place(index + 1);
        list.inside.set(list.inside.size, target);
        pending = target;
        indent = column;
        const after = rest.slice(1);
        const next = after.trimStart();
        column += 1 + (after.length - next.length);
        rest = next;
        continue;
      }
      const key = KEY.exec(rest);
      if (key) {
        const map = container(open, column, "map", pending);
        if (map === null) break;
        target = place(index + 1);
        map.inside.set(unquoted(key), target);
        pending = target;
        indent = column;
        column += key[0].length;
        rest = rest.slice(key[0].length);
      }
      break;
    }
    if (target === null || rest === "" || rest.startsWith("#")) continue;
    if (/^[{[]/.test(rest)) {
      const flow = new Flow(text, (starts[index] ?? 0) + column, index + 1);
      flow.value(target);
      skipUntil = flow.line;
    } else {
      // A scalar, plain, quoted or a block of its own: lines that lie deeper go on with it.
      scalarIndent = indent;
    }
    pending = null;
  }
  return root;
}

/** The open mapping or list at this column; one that opens inside what was named last. */
function container(open: Open[], indent: number, kind: Open["kind"], pending: Place | null): Place | null {
  for (let top = open.at(-1); top && top.indent > indent; top = open.at(-1)) open.pop();
  const top = open.at(-1);
  if (top && top.indent === indent && top.kind === kind) return top.of;
  if (top && top.indent === indent && top.kind === "list" && kind === "map") {
    // A list may stand at its key's own column; the next key ends it.
    open.pop();
    const outer = open.at(-1);
    if (outer && outer.indent === indent && outer.kind === "map") return outer.of;
  }
  if (pending === null) return null;
  open.push({ indent, of: pending, kind });
  return pending;
}

function unquoted(key: RegExpExecArray): string {
  const [, double, single, plain] = key;
  if (double !== undefined) return double.replace(/\\(.)/g, "$1");
  return single !== undefined ? single.replace(/''/g, "'") : (plain ?? "").trim();
}

function firstLine(lines: readonly string[]): number {
  const found = lines.findIndex((line) => line.trim() !== "" && !/^\s*#|^---/.test(line));
  return found < 0 ? 1 : found + 1;
}

function lineStarts(lines: readonly string[]): number[] {
  let at = 0;
  return lines.map((line) => {
    const start = at;
    at += line.length + 1;
    return start;
  });
}

/** `{ a: 1, b: [2, 3] }` and JSON, over as many lines as it takes. */
class Flow {
  constructor(
    private readonly text: string,
    private at: number,
    /** The line now read, from 1; after `value` the one that it ends in. */
    public line: number,
  ) {}

  value(into: Place): void {
    this.blank();
    const first = this.text[this.at];
    if (first === "{") this.each("}", () => this.pair(into));
    else if (first === "[") this.each("]", () => this.item(into));
    else this.scalar();
  }

  private each(end: string, one: () => void): void {
    this.at += 1;
    for (;;) {
      this.blank();
      const next = this.text[this.at];
      if (next === undefined) return;
      if (next === end) {
        this.at += 1;
        return;
      }
      const before = this.at;
      if (next === ",") this.at += 1;
      else one();
      // A stray character must not hold the reader up.
      if (this.at === before) this.at += 1;
    }
  }

  private pair(into: Place): void {
    const here = place(this.line);
    into.inside.set(this.scalar(), here);
    this.blank();
    if (this.text[this.at] !== ":") return;
    this.at += 1;
    this.value(here);
  }

  private item(into: Place): void {
    const here = place(this.line);
    into.inside.set(into.inside.size, here);
    this.value(here);
  }

  /** A quoted or plain scalar; plain ones end at what means something here. */
  private scalar(): string {
    const quote = this.text[this.at];
    if (quote === '"' || quote === "'") {
      const start = this.at + 1;
      this.at = start;
      while (this.at < this.text.length && this.text[this.at] !== quote) {
        if (quote === '"' && this.text[this.at] === "\\") this.at += 1;
        if (this.text[this.at] === "\n") this.line += 1;
        this.at += 1;
      }
      this.at += 1;
      return this.text.slice(start, this.at - 1);
    }
    const start = this.at;
    while (this.at < this.text.length && !/[,[\]{}\n]/.test(this.text[this.at] ?? "")) {
      if (this.text[this.at] === ":" && /[\s,[\]{}]|^$/.test(this.text[this.at + 1] ?? "")) break;
      if (this.text[this.at] === "#" && /\s/.test(this.text[this.at - 1] ?? "")) break;
      this.at += 1;
    }
    return this.text.slice(start, this.at).trim();
  }

  private blank(): void {
    for (;;) {
      const next = this.text[this.at];
      if (next === "\n") this.line += 1;
      else if (next === "#") {
        while (this.at < this.text.length && this.text[this.at] !== "\n") this.at += 1;
        continue;
      } else if (next === undefined || !/\s/.test(next)) return;
      this.at += 1;
    }
  }
}
