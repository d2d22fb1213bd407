// A mark inside a sentence: what is bold. `Rich` in components turns it into elements,
// so a name from outside can never become markup.

const BOLD = ["\u0001", "\u0002"] as const;

export function bold(text: string): string {
  return BOLD[0] + text + BOLD[1];
}

export interface Run {
  readonly kind: "plain" | "bold";
  readonly text: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters cannot occur in what the marks surround
const MARKED = /\u0001([^\u0002]*)\u0002/g;

export function runs(sentence: string): Run[] {
  const found: Run[] = [];
  let at = 0;
  for (const match of sentence.matchAll(MARKED)) {
    if (match.index > at) found.push({ kind: "plain", text: sentence.slice(at, match.index) });
    found.push({ kind: "bold", text: match[1] ?? "" });
    at = match.index + match[0].length;
  }
  if (at < sentence.length) found.push({ kind: "plain", text: sentence.slice(at) });
  return found;
}
