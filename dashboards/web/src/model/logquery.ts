// Just enough of the search language's lexis to colour it.

import type { Token } from "./promql.ts";

const LEXER =
  /("(?:[^"\\]|\\.)*"?|\/(?:[^/\\\s]|\\.)+\/?)|\b(AND|OR|NOT)\b|([\p{L}_][\p{L}\p{N}_.-]*:)|([()])|(\s+)|([^\s()"]+)/gu;

/** Cuts a search into coloured pieces; the pieces joined are the search. */
export function searchTokens(query: string): Token[] {
  return [...query.matchAll(LEXER)].map(([, text, word, field, bracket, blank, rest]): Token => {
    if (text !== undefined) return { kind: "string", text };
    if (word !== undefined) return { kind: "function", text: word };
    if (field !== undefined) return { kind: "label", text: field };
    if (bracket !== undefined) return { kind: "punctuation", text: bracket };
    return { kind: "plain", text: blank ?? rest ?? "" };
  });
}
