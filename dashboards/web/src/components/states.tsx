// Loading, empty, partial and error, always on the part that has them.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { texts } from "../app/locale.ts";
import { Icon } from "./icon.tsx";
import { Rich } from "./text.tsx";

/** What went wrong, as components know it; pages make it from an answer. */
export interface Trouble {
  readonly head: string;
  readonly text: string;
}

export function Note({
  kind,
  children,
  tools,
}: {
  kind: "partial" | "error";
  children: ComponentChildren;
  tools?: ComponentChildren;
}) {
  return (
    <div class={`note ${kind}`} role={kind === "error" ? "alert" : "status"}>
      <Icon name={kind === "error" ? "error" : "warn"} />
      <span>{children}</span>
      {tools && <span class="tools">{tools}</span>}
    </div>
  );
}

export function TroubleNote({ trouble, onRetry }: { trouble: Trouble; onRetry?: () => void }) {
  const t = texts();
  return (
    <Note
      kind="error"
      tools={
        onRetry && (
          <button class="link" type="button" onClick={onRetry}>
            {t.tryAgain}
          </button>
        )
      }
    >
      {trouble.head && <b>{trouble.head}</b>} <Rich text={trouble.text} />
    </Note>
  );
}

interface StateProps {
  readonly head: string;
  readonly text?: string;
  readonly height?: number;
  readonly command?: string;
  readonly children?: ComponentChildren;
}

/** Empty and no result: what is missing, and what to do about it. */
export function State({ head, text, height = 120, command, children }: StateProps) {
  return (
    <div class="state" style={{ "--h": `${height}px` }}>
      <p class="head">{head}</p>
      {text && <p>{text}</p>}
      {command && (
        <pre class="cmd">
          <code>{command}</code>
        </pre>
      )}
      {children && <div class="acts">{children}</div>}
    </div>
  );
}

const PATIENCE_MS = 200;

/** Shapes of rows, only once loading takes long enough to notice. */
export function GhostRows({ rows, widths }: { rows: number; widths: readonly number[] }) {
  const late = useLate();
  return (
    <>
      {Array.from({ length: rows }, (_row, row) => (
        <tr key={row} role="row">
          {widths.map((width, column) => (
            <td key={column} role="cell" class="ghost-cell">
              {late && (
                <span
                  class="ghost"
                  style={{ "--w": `${Math.max(20, (width * (7 + ((row * 5 + column * 3) % 4))) / 10)}%` }}
                />
              )}
            </td>
          ))}
        </tr>
      ))}
    </>
  );
}

/** A quiet space of a chart's height while it loads. */
export function GhostChart({ height }: { height: number }) {
  const late = useLate();
  return (
    <div class="ghost-chart" style={{ blockSize: `${height}px` }} aria-busy="true">
      {late && <span class="ghost" style={{ "--w": "100%" }} />}
      <span class="sr">{texts().loading}</span>
    </div>
  );
}

function useLate(): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, []);
  return late;
}
