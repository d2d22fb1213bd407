// Asks what the policy can show of a release that exists, or of two versions of a service.

import { useState } from "preact/hooks";
import { type AnnounceOf, postAnnounce } from "../api/announce.ts";
import { fetchReleases } from "../api/releases.ts";
import { language, texts, zone } from "../app/locale.ts";
import { route, setParams } from "../app/route.ts";
import { Segments } from "../components/controls.tsx";
import { GhostRows, State, TroubleNote } from "../components/states.tsx";
import { moment } from "../model/format.ts";
import { type ReleaseSummary, signOf } from "../model/release.ts";
import { AnnounceView } from "./announce_view.tsx";
import { troubleOf, useNow, useResource } from "./resource.ts";

const OFFERED = 50;

/** What the address asks for, so that a link shows the same. */
function askedOf(search: URLSearchParams): AnnounceOf | null {
  const id = search.get("release");
  if (id) return { kind: "release", id };
  const [service, baseline, canary] = ["service", "baseline", "canary"].map((name) => search.get(name) ?? "");
  return service && baseline && canary ? { kind: "versions", service, baseline, canary } : null;
}

export function AnnounceForm({ policy, dirty }: { policy: string; dirty: boolean }) {
  const t = texts();
  const words = t.policies.announce;
  const asked = askedOf(route.value.search);
  const [turn, setTurn] = useState(0);
  const answer = useResource(asked === null ? null : `announce ${policy} ${turn} ${JSON.stringify(asked)}`, (signal) =>
    postAnnounce(policy, asked ?? { kind: "release", id: "" }, signal),
  );
  const loading = asked !== null && answer.loading;
  const missing = answer.error?.kind === "refused" && (answer.error.status === 405 || answer.error.status === 501);
  return (
    <section class="sec tight" aria-label={words.title}>
      <p class="sec-note">{words.note}</p>
      {dirty && <p class="hint">{words.dirty}</p>}
      <Form
        policy={policy}
        asked={asked}
        busy={loading}
        onAsk={(of) => {
          setParams(
            of.kind === "release"
              ? { release: of.id, service: null, baseline: null, canary: null }
              : { release: null, service: of.service, baseline: of.baseline, canary: of.canary },
            "replace",
          );
          setTurn(turn + 1);
        }}
      />
      <div aria-live="polite" aria-busy={loading}>
        {answer.error !== null && answer.error.kind !== "aborted" && !loading && (
          <TroubleNote
            trouble={missing ? { head: "", text: words.missing } : troubleOf(answer.error)}
            onRetry={answer.reload}
          />
        )}
        {asked === null && <State head={words.empty} text={words.emptyText} height={80} />}
        {loading && (
          <table class="t" aria-label={t.loading}>
            <tbody>
              <GhostRows rows={5} widths={[50, 40, 80, 40, 40]} />
            </tbody>
          </table>
        )}
        {answer.value !== null && !loading && <AnnounceView announcement={answer.value} />}
      </div>
    </section>
  );
}

interface FormProps {
  readonly policy: string;
  readonly asked: AnnounceOf | null;
  readonly busy: boolean;
  readonly onAsk: (of: AnnounceOf) => void;
}

function Form({ policy, asked, busy, onAsk }: FormProps) {
  const words = texts().policies.announce;
  const now = useNow(60_000);
  const releases = useResource("announce releases", (signal) => fetchReleases({ limit: OFFERED }, signal));
  const offered = [...(releases.value?.releases ?? [])].sort(
    (a, b) => Number(b.policy?.name === policy) - Number(a.policy?.name === policy),
  );
  const [kind, setKind] = useState<AnnounceOf["kind"]>(asked?.kind ?? "release");
  const [chosen, setChosen] = useState(asked?.kind === "release" ? asked.id : "");
  const [versions, setVersions] = useState(
    asked?.kind === "versions" ? asked : { service: "", baseline: "", canary: "" },
  );
  const release = chosen || (offered[0]?.id ?? "");
  const none = releases.value !== null && offered.length === 0;
  const shown = none ? "versions" : kind;
  const submit = (event: Event) => {
    event.preventDefault();
    if (shown === "release") onAsk({ kind: "release", id: release });
    else onAsk({ ...versions, kind: "versions" });
  };
  const text = (name: "service" | "baseline" | "canary", label: string) => (
    <label class="field">
      <span class="label">{label}</span>
      <input
        class="input"
        required
        value={versions[name]}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => setVersions({ ...versions, [name]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <form class="ask" onSubmit={submit}>
      <div class="field">
        <span class="label" aria-hidden="true">
          {words.of}
        </span>
        <Segments
          label={words.of}
          small={false}
          choices={(["release", "versions"] as const).map((one) => ({ value: one, text: words.kinds[one] }))}
          value={shown}
          onChange={setKind}
        />
      </div>
      {shown === "release" ? (
        <label class="field wide">
          <span class="label">{words.release}</span>
          <select class="input" required value={release} onChange={(event) => setChosen(event.currentTarget.value)}>
            {chosen !== "" && !offered.some((one) => one.id === chosen) && <option value={chosen}>{chosen}</option>}
            {offered.map((one) => (
              <option key={one.id} value={one.id}>
                {optionText(one, now)}
              </option>
            ))}
          </select>
        </label>
      ) : (
        <>
          {text("service", words.service)}
          {text("baseline", words.baseline)}
          {text("canary", words.canary)}
        </>
      )}
      <button class="btn primary" type="submit" disabled={busy}>
        {words.submit}
      </button>
      {none && <p class="hint">{words.noReleases}</p>}
      {releases.error !== null && releases.error.kind !== "aborted" && (
        <TroubleNote trouble={troubleOf(releases.error)} onRetry={releases.reload} />
      )}
    </form>
  );
}

function optionText(release: ReleaseSummary, now: number): string {
  const t = texts();
  const parts = [
    `${release.service} ${release.baseline} → ${release.canary}`,
    release.environment,
    moment(release.start, now, zone.value, language.value),
    t.decision[signOf(release)],
  ];
  return parts.filter((one) => one !== "").join(", ");
}
