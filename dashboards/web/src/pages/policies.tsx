// Policies: which there are, and what they judged last. One of them, and a new one, are the same page.

import { useId, useRef } from "preact/hooks";
import { fetchPolicies } from "../api/policies.ts";
import { fetchReleases } from "../api/releases.ts";
import { useRowKeys } from "../app/keys.ts";
import { language, texts, zone, zoneName } from "../app/locale.ts";
import { route } from "../app/route.ts";
import { useTitle } from "../app/title.ts";
import { Badge, Icon } from "../components/icon.tsx";
import { Foot } from "../components/shell.tsx";
import { GhostRows, State } from "../components/states.tsx";
import { Keys, Rich } from "../components/text.tsx";
import { count, moment } from "../model/format.ts";
import { EXAMPLES, exampleOf } from "../model/policy_examples.ts";
import { type PolicyName, type ReleaseSummary, signOf } from "../model/release.ts";
import { Policy } from "./policy.tsx";
import { useNow, useResource } from "./resource.ts";
import { Stale } from "./stale.tsx";

/** Releases that are looked through for the last use of each policy. */
const LOOKED_AT = 200;

export default function Policies({ id }: { id: string }) {
  const fresh = exampleOf(route.value.search.get("new"));
  if (id !== "") return <Policy key={id} name={id} example={null} />;
  if (fresh !== null) return <Policy key={`new ${fresh}`} name={null} example={fresh} />;
  return <List />;
}

function List() {
  const t = texts();
  const words = t.policies;
  useTitle(words.title);
  const now = useNow(5000);
  const list = useResource("policies", fetchPolicies, { everyMs: 10_000 });
  const releases = useResource("policies releases", (signal) => fetchReleases({ limit: LOOKED_AT }, signal), {
    everyMs: 30_000,
  });
  const table = useRef<HTMLTableElement>(null);
  useRowKeys(table);
  const used = releases.value?.releases ?? [];
  return (
    <div class="in">
      <div class="titlebar">
        <h1>{words.title}</h1>
        {list.value !== null && list.value.length > 0 && (
          <div class="acts">
            <NewPolicy />
          </div>
        )}
      </div>
      <p class="sec-note">{words.note}</p>
      <p class="sec-note">
        <Rich text={words.packs} />
      </p>
      <Stale of={list} />
      {list.value !== null && list.value.length === 0 ? (
        <State head={words.empty} text={words.emptyText} height={220}>
          <NewPolicy />
        </State>
      ) : (
        (list.error === null || list.value !== null) && (
          <div class="bleed policies">
            <table role="table" class="t policy-list" ref={table} aria-busy={list.value === null}>
              <thead role="rowgroup">
                <tr role="row">
                  <th role="columnheader">{words.head.name}</th>
                  <th role="columnheader" class="num">
                    {words.head.revision}
                  </th>
                  <th role="columnheader">{words.head.last}</th>
                  <th role="columnheader">{words.head.at}</th>
                  <th role="columnheader" class="num" title={words.counted(count(used.length))}>
                    {words.head.count}
                  </th>
                </tr>
              </thead>
              <tbody role="rowgroup">
                {list.value === null ? (
                  <GhostRows rows={5} widths={[60, 30, 80, 50, 30]} />
                ) : (
                  list.value.map((one) => (
                    <Row
                      key={one.name}
                      policy={one}
                      releases={used.filter((release) => release.policy?.name === one.name)}
                      known={releases.value !== null}
                      now={now}
                    />
                  ))
                )}
              </tbody>
            </table>
          </div>
        )
      )}
      <Foot>
        {releases.value !== null && <span>{words.counted(count(used.length))}</span>}
        <span>
          <Keys of="j k" /> {t.releases.move}
        </span>
        <span>
          <Keys of="↵" /> {t.releases.open}
        </span>
        <span>{t.allTimes(zoneName())}</span>
      </Foot>
    </div>
  );
}

/** A menu of examples; each is a link, so that it opens in a tab of its own as well. */
function NewPolicy() {
  const words = texts().policies;
  const id = useId();
  return (
    <>
      <button class="btn" type="button" popovertarget={id}>
        <Icon name="plus" small />
        {words.create}
        <Icon name="caret" small />
      </button>
      <div id={id} popover="auto" class="pop menu">
        <p class="label">{words.createHint}</p>
        {EXAMPLES.map((one) => (
          <a key={one} href={`policies?new=${one}`}>
            {words.examples[one]}
          </a>
        ))}
      </div>
    </>
  );
}

function Row({
  policy,
  releases,
  known,
  now,
}: {
  policy: PolicyName;
  releases: readonly ReleaseSummary[];
  known: boolean;
  now: number;
}) {
  const t = texts();
  const last = releases[0];
  return (
    <tr role="row">
      <td role="cell" class="name">
        <a class="row-link" href={`policies/${encodeURIComponent(policy.name)}`}>
          <b>{policy.name}</b>
        </a>
      </td>
      <td role="cell" class="num" data-of={t.policies.head.revision}>
        {policy.revision ?? t.none}
      </td>
      <td role="cell" class="last">
        {last ? (
          <>
            <Badge sign={signOf(last)} />{" "}
            <a href={`releases/${encodeURIComponent(last.id)}`}>
              {last.service} {last.canary}
            </a>
            {last.policy?.revision != null && (
              <span class="dim"> {t.release.facts.revision(last.policy.revision)}</span>
            )}
          </>
        ) : (
          <span class="dim-2">{known ? t.policies.neverUsed : ""}</span>
        )}
      </td>
      <td role="cell" class="dim at">
        {last ? moment(last.start, now, zone.value, language.value) : ""}
      </td>
      <td role="cell" class="num dim n">
        {known ? count(releases.length) : ""}
      </td>
    </tr>
  );
}
