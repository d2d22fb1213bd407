// One line under the navigation when the server is away; what was read stays and is marked old.

import { texts, zone } from "../app/locale.ts";
import { Note, TroubleNote } from "../components/states.tsx";
import { Rich } from "../components/text.tsx";
import { clock } from "../model/format.ts";
import { type Resource, troubleOf } from "./resource.ts";

export function Stale({ of }: { of: Resource<unknown> }) {
  const t = texts();
  if (of.error === null || of.error.kind === "aborted") return null;
  if (of.value === null || of.at === null) return <TroubleNote trouble={troubleOf(of.error)} onRetry={of.reload} />;
  const time = clock(of.at, zone.value, "second");
  return (
    <Note
      kind="error"
      tools={
        <button class="link" type="button" onClick={of.reload}>
          {t.tryAgain}
        </button>
      }
    >
      <Rich
        text={
          of.error.kind === "unreachable"
            ? t.errors.unreachableSince(time)
            : `${troubleOf(of.error).text} ${t.errors.old(time)}`
        }
      />
    </Note>
  );
}
