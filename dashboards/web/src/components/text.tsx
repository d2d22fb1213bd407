// Text with structure: marked sentences, log templates, severities.

import { type Run, runs } from "../i18n/mark.ts";
import type { Piece } from "../model/log.ts";
import { pieces } from "../model/log.ts";
import type { Severity } from "../model/release.ts";

/** A sentence of the dictionary, with what it marks. */
export function Rich({ text }: { text: string }) {
  return <>{runs(text).map((run, index) => marked(run, index))}</>;
}

function marked(run: Run, key: number) {
  switch (run.kind) {
    case "plain":
      return run.text;
    case "bold":
      return <b key={key}>{run.text}</b>;
  }
}

/** A log template with its variables marked. */
export function Template({ text }: { text: string }) {
  return (
    <span class="pat">
      <Pieces pieces={pieces(text)} />
    </span>
  );
}

export function Pieces({ pieces: parts }: { pieces: readonly Piece[] }) {
  return (
    <>
      {parts.map((part, index) =>
        part.variable ? (
          <span key={index} class="v">
            {part.text}
          </span>
        ) : (
          part.text
        ),
      )}
    </>
  );
}

export function SeverityWord({ severity }: { severity: Severity }) {
  if (severity === "unset") return <span class="sev debug">–</span>;
  return <span class={`sev ${severity}`}>{severity}</span>;
}

/** Letters that stand for a key. */
export function Keys({ of }: { of: string }) {
  return (
    <>
      {of.split(" ").map((key, index) => (
        <>
          {index > 0 && " "}
          <kbd key={key}>{key}</kbd>
        </>
      ))}
    </>
  );
}
