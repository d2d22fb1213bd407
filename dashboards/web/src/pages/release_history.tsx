// The service's other releases as a strip of signs.

import type { ReleasesPage } from "../api/releases.ts";
import { language, texts, zone } from "../app/locale.ts";
import { SignIcon } from "../components/icon.tsx";
import { TroubleNote } from "../components/states.tsx";
import { moment } from "../model/format.ts";
import { type Release, signOf } from "../model/release.ts";
import { type Resource, troubleOf } from "./resource.ts";

export function History({ release, history }: { release: Release; history: Resource<ReleasesPage> }) {
  const t = texts();
  const words = t.release.history;
  const all = [...(history.value?.releases ?? [])].sort((a, b) => (a.start ?? 0) - (b.start ?? 0));
  const signs = all.map((one) => signOf(one));
  const n = (sign: string) => signs.filter((one) => one === sign).length;
  return (
    <section class="sec c5" aria-labelledby="h-his">
      <div class="sec-head">
        <h2 id="h-his">{words.title(release.service)}</h2>
      </div>
      {history.error !== null && history.value === null && history.error.kind !== "aborted" && (
        <TroubleNote trouble={troubleOf(history.error)} onRetry={history.reload} />
      )}
      {all.length > 0 && (
        <>
          <p class="dim-2">{words.last(all.length, n("go"), n("no_go"), all.length - n("go") - n("no_go"))}</p>
          <div class="hist">
            {all.map((one, index) => {
              const sign = signs[index] ?? "pending";
              const label = `${one.canary}, ${t.decision[sign]}, ${moment(one.start, Date.now(), zone.value, language.value)}`;
              return (
                <a
                  key={one.id}
                  href={`releases/${encodeURIComponent(one.id)}`}
                  aria-label={label}
                  title={label}
                  aria-current={one.id === release.id ? "true" : undefined}
                >
                  <SignIcon sign={sign} />
                </a>
              );
            })}
          </div>
        </>
      )}
    </section>
  );
}
