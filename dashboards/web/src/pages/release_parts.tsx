// The parts of a release's evidence beside its checks, each shown only where the server has it.

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { fetchAnnounce } from "../api/announce.ts";
import { fetchCompatibility } from "../api/compatibility.ts";
import { texts } from "../app/locale.ts";
import { route, setParams } from "../app/route.ts";
import { type Choice, Tabs } from "../components/controls.tsx";
import { GhostChart, TroubleNote } from "../components/states.tsx";
import type { Release, Verdict } from "../model/release.ts";
import { AnnounceView } from "./announce_view.tsx";
import { CompatibilityPart } from "./release_compatibility.tsx";
import { PacksPart } from "./release_packs.tsx";
import { troubleOf, useResource } from "./resource.ts";

const PARTS = ["checks", "compatibility", "shows", "packs"] as const;
type Part = (typeof PARTS)[number];

/** A verdict holds the checks of one phase; what is compared may be another's. */
function hasLooks(verdict: Verdict | null): boolean {
  return (verdict?.phases ?? []).some((phase) => (phase.looks ?? 0) > 0);
}

export function Parts({
  release,
  verdict,
  children,
}: {
  release: Release | null;
  verdict: Verdict | null;
  children: ComponentChildren;
}) {
  const t = texts();
  const words = t.release.parts;
  const panel = useId();
  const open = release?.state === "running" || release?.state === "pending";
  const compared = useResource(
    release !== null && hasLooks(verdict) ? `compatibility ${release.id} ${verdict?.revision ?? ""}` : null,
    (signal) => fetchCompatibility(release?.id ?? "", signal),
  );
  const has: Record<Part, boolean> = {
    checks: true,
    compatibility: compared.value !== null && compared.value.checks.length + compared.value.patterns.length > 0,
    shows: open,
    packs: release !== null && release.packs !== null,
  };
  const choices: Choice<Part>[] = PARTS.filter((one) => has[one]).map((one) => ({ value: one, text: words[one] }));
  const asked = PARTS.find((one) => one === route.value.search.get("part")) ?? "checks";
  const part = has[asked] ? asked : "checks";
  if (release === null || choices.length === 1) return <>{children}</>;
  return (
    <div class="parts">
      <Tabs
        label={words.label}
        style="line"
        choices={choices}
        value={part}
        onChange={(one) => setParams({ part: one === "checks" ? null : one }, "replace")}
        panel={panel}
      />
      <div id={panel} role="tabpanel" aria-label={words[part]}>
        {part === "checks" && children}
        {part === "compatibility" && compared.value !== null && <CompatibilityPart compared={compared.value} />}
        {part === "shows" && <Shows release={release} />}
        {part === "packs" && release.packs !== null && <PacksPart packs={release.packs} />}
      </div>
    </div>
  );
}

function Shows({ release }: { release: Release }) {
  const words = texts().policies.announce;
  const answer = useResource(`announced ${release.id}`, (signal) => fetchAnnounce(release.id, signal));
  const missing = answer.error?.kind === "refused" && answer.error.status === 404;
  return (
    <section class="part" aria-label={words.title}>
      <p class="sec-note">{words.running}</p>
      {answer.error !== null && answer.error.kind !== "aborted" && (
        <TroubleNote
          trouble={missing ? { head: "", text: words.missing } : troubleOf(answer.error)}
          onRetry={answer.reload}
        />
      )}
      {answer.value === null && answer.error === null && <GhostChart height={240} />}
      {answer.value !== null && <AnnounceView announcement={answer.value} />}
    </section>
  );
}
