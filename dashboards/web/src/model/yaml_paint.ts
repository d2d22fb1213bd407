// Just enough of YAML's lexis to colour a policy. The server judges what is valid.

import type { Token } from "./promql.ts";

const PAINTED_MAX = 200_000;

/** The whole text as tokens, line ends included. A very long text stays plain, so that typing stays quick. */
export function paintYaml(text: string): Token[] {
  if (text.length > PAINTED_MAX) return [{ kind: "plain", text }];
  const tokens: Token[] = [];
  const put = (kind: Token["kind"], part: string) => {
    if (part !== "") tokens.push({ kind, text: part });
  };
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) {
    const key = /^(\s*(?:-\s+)*)([^\s#"'{[-][^:#"']*|"[^"]*"|'[^']*')(:)(?=\s|$)/.exec(line);
    let rest = line;
    if (key) {
      put("plain", key[1] ?? "");
      put("label", key[2] ?? "");
      put("punctuation", key[3] ?? "");
      rest = line.slice(key[0].length);
    }
    const comment = /(?:^|\s)#.*$/.exec(unquotedPart(rest));
    const cut = comment ? rest.length - comment[0].length : rest.length;
    put("plain", rest.slice(0, cut));
    put("punctuation", rest.slice(cut));
    if (index < lines.length - 1) put("plain", "\n");
  }
  return tokens;
}

/** The line with what stands in quotes blanked, so that a `#` there is no comment. */
function unquotedPart(line: string): string {
  return line.replace(/"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'/g, (part) => "x".repeat(part.length));
}
