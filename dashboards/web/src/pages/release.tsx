// One release: may it go on, what decided, how sure, and may the two sides be compared at all?

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { fetchDeliveries } from "../api/deliveries.ts";
import { fetchLooks } from "../api/looks.ts";
import { fetchRelease } from "../api/release.ts";
import { fetchReleases } from "../api/releases.ts";
import { fetchVerdict } from "../api/verdict.ts";
import { useShortcuts } from "../app/keys.ts";
import { language, texts, zone, zoneName } from "../app/locale.ts";
import { route, setParams } from "../app/route.ts";
import { useTitle } from "../app/title.ts";
import { Foot } from "../components/shell.tsx";
import { GhostRows, State } from "../components/states.tsx";
import { Keys } from "../components/text.tsx";
import { count, moment } from "../model/format.ts";
import { type Check, checkId, type Verdict } from "../model/release.ts";
import { deciding, order } from "../model/sentence.ts";
import { VerdictBand } from "./release_band.tsx";
import { ReleaseBar } from "./release_bar.tsx";
import { Checks } from "./release_checks.tsx";
import { Deliveries } from "./release_deliveries.tsx";
import { History } from "./release_history.tsx";
import { OneCheck } from "./release_one.tsx";
import { Parts } from "./release_parts.tsx";
import { LogPatterns } from "./release_patterns.tsx";
import { PhaseSteps, Silent, ValidityStrip } from "./release_phases.tsx";
import { BesideKayenta } from "./release_replay.tsx";
import { useNow, useResource } from "./resource.ts";
import { Stale } from "./stale.tsx";

export default function Release({ id }: { id: string }) {
  const t = texts();
  const now = useNow(1000);
  const [live, setLive] = useState(true);
  const release = useResource(`release ${id}`, (signal) => fetchRelease(id, signal), { everyMs: live ? 5000 : 60_000 });
  const verdict = useVerdict(id, live);
  const looks = useResource(
    `looks ${id} ${verdict.value?.watermark ?? ""} ${verdict.value?.revision ?? ""}`,
    (signal) => fetchLooks(id, signal),
  );
  const kept = useLast(looks.value);
  const deliveries = useResource(`deliveries ${id}`, (signal) => fetchDeliveries(id, signal), {
    everyMs: live ? 5000 : 60_000,
  });
  const service = release.value?.service ?? "";
  const history = useResource(service === "" ? null : `history ${service}`, (signal) =>
    fetchReleases({ service, limit: 24 }, signal),
  );
  const state = release.value?.state;
  useEffect(() => {
    if (state !== undefined) setLive(state === "running" || state === "pending");
  }, [state]);
  useTitle(release.value ? `${release.value.service} ${release.value.canary}` : "");

  // An override is the release's; the band shows it with the verdict that it replaced or went ahead of.
  const judged = useMemo(
    () => verdict.value && { ...verdict.value, override: verdict.value.override ?? release.value?.override ?? null },
    [verdict.value, release.value],
  );
  const rows = useMemo(() => order(judged?.checks ?? []), [judged]);
  const selected = select(rows, route.value.search.get("check"));
  const step = (by: 1 | -1) => {
    const at = selected === null ? -1 : rows.indexOf(selected);
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + by))];
    if (next) setParams({ check: checkId(next) }, "replace");
  };
  useShortcuts({ j: () => step(1), k: () => step(-1) });

  if (release.error?.kind === "refused" && release.error.status === 404) return <Missing />;
  const one = release.value;
  return (
    <>
      <ReleaseBar
        id={id}
        release={one}
        verdict={judged}
        now={now}
        onChanged={() => {
          for (const part of [release, verdict, deliveries]) part.reload();
        }}
      />
      {(release.error !== null || verdict.error !== null) && (
        <div class="in">
          <Stale of={release.error !== null ? release : verdict} />
        </div>
      )}
      {one && judged ? (
        <VerdictBand release={one} verdict={judged} looks={kept ?? []} deliveries={deliveries.value} now={now} />
      ) : (
        release.error === null && verdict.error === null && <GhostBand />
      )}
      <div class="in">
        {one && judged && (
          <>
            <Silent verdict={judged} />
            <ValidityStrip verdict={judged} />
            <PhaseSteps release={one} verdict={judged} now={now} />
          </>
        )}
        <Parts release={one} verdict={judged}>
          <Checks
            verdict={judged}
            rows={rows}
            selected={selected}
            onSelect={(check) => setParams({ check: checkId(check) }, "replace")}
            now={now}
            failed={verdict.error !== null}
          />
          {one && judged && selected && (
            <OneCheck
              release={one}
              verdict={judged}
              check={selected}
              looks={looks.value === null && kept !== null ? { ...looks, value: kept, loading: false } : looks}
              onStep={step}
            />
          )}
        </Parts>
        {one && judged && <LogPatterns release={one} verdict={judged} now={now} />}
        {one && judged && <BesideKayenta key={one.id} release={one} />}
        <div class="cols">
          <Deliveries deliveries={deliveries} now={now} />
          {one && <History release={one} history={history} />}
        </div>
        <Foot>
          {judged && <EvidenceFoot verdict={judged} now={now} />}
          <span>{t.allTimes(zoneName())}</span>
          <span>
            <Keys of="j k" /> {t.keys.move}
          </span>
          <span>
            <Keys of="t" /> {t.metrics.chartTable}
          </span>
          <span>
            <Keys of="?" /> {t.keys.all}
          </span>
        </Foot>
      </div>
    </>
  );
}

/** The verdict on a beat, and at once when its revision rises: one request waits at the server for that. */
function useVerdict(id: string, live: boolean) {
  const verdict = useResource(`verdict ${id}`, (signal) => fetchVerdict(id, null, signal), {
    everyMs: live ? 2000 : 60_000,
  });
  const revision = verdict.value?.revision ?? null;
  const reload = verdict.reload;
  useEffect(() => {
    if (!live || revision === null) return;
    const stop = new AbortController();
    const listen = async () => {
      while (!stop.signal.aborted) {
        const asked = performance.now();
        const answer = await fetchVerdict(id, { after: revision, wait: "25s" }, stop.signal);
        // The beat goes on without this, which only makes the page quicker; a server that does not wait is left alone.
        if (!answer.ok || (answer.value.revision <= revision && performance.now() - asked < 1000)) return;
        if (answer.value.revision > revision) {
          reload();
          return;
        }
      }
    };
    void listen();
    return () => stop.abort();
  }, [id, live, revision, reload]);
  return verdict;
}

/** The last value there was, so that a newer request does not blank the charts. */
function useLast<T>(value: T | null): T | null {
  const last = useRef<T | null>(value);
  if (value !== null) last.current = value;
  return last.current;
}

function select(rows: readonly Check[], asked: string | null): Check | null {
  return rows.find((one) => checkId(one) === asked || one.name === asked) ?? deciding(rows);
}

function Missing() {
  const t = texts();
  return (
    <div class="in">
      <div class="titlebar">
        <a class="crumb" href="releases">
          {t.release.crumb}
        </a>
        <h1>{t.release.notFound}</h1>
      </div>
      <State head={t.release.notFound} text={t.release.notFoundText} height={200}>
        <a class="btn" href="releases">
          {t.errors.toReleases}
        </a>
      </State>
    </div>
  );
}

/** The band's height at once, so that nothing moves when the verdict comes. */
function GhostBand() {
  return (
    <section class="verdict" aria-busy="true" aria-label={texts().release.verdict}>
      <div class="in ghost-band">
        <table>
          <tbody>
            <GhostRows rows={3} widths={[60]} />
          </tbody>
        </table>
      </div>
    </section>
  );
}

function EvidenceFoot({ verdict, now }: { verdict: Verdict; now: number }) {
  const evidence = verdict.evidence;
  if (evidence === null) return null;
  const at = (time: number | null) => moment(time, now, zone.value, language.value);
  const digest =
    evidence.digest.length > 24 ? `${evidence.digest.slice(0, 11)}…${evidence.digest.slice(-4)}` : evidence.digest;
  return (
    <span title={evidence.digest}>
      {texts().release.evidenceFoot(
        at(evidence.from),
        at(evidence.to),
        evidence.rows === null ? "" : count(evidence.rows),
        digest,
      )}
    </span>
  );
}
