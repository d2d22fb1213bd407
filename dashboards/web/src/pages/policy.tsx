// One policy: its text, what it can show of a release, and what it would have done.

import { useEffect, useId, useState } from "preact/hooks";
import { deletePolicy, fetchPolicy } from "../api/policy.ts";
import { texts } from "../app/locale.ts";
import { go, holdPage, route, setParams } from "../app/route.ts";
import { useTitle } from "../app/title.ts";
import { type Choice, Dialog, Tabs } from "../components/controls.tsx";
import { Foot } from "../components/shell.tsx";
import { GhostChart, State, type Trouble, TroubleNote } from "../components/states.tsx";
import { Keys } from "../components/text.tsx";
import type { StoredPolicy } from "../model/policy.ts";
import { type Example, exampleText } from "../model/policy_examples.ts";
import { AnnounceForm } from "./policy_announce.tsx";
import { Backtests } from "./policy_backtest.tsx";
import { Editor } from "./policy_editor.tsx";
import { troubleOf, useResource } from "./resource.ts";
import { Stale } from "./stale.tsx";

const VIEWS = ["edit", "announce", "backtest"] as const;
type View = (typeof VIEWS)[number];

/** Without a name it is a new one, begun with an example. */
export function Policy({ name, example }: { name: string | null; example: Example | null }) {
  const t = texts();
  const words = t.policies;
  const asked = useResource(name === null ? null : `policy ${name}`, (signal) => fetchPolicy(name ?? "", signal));
  // What was saved here is newer than what was asked for.
  const [saved, setSaved] = useState<StoredPolicy | null>(null);
  const [text, setText] = useState<string | null>(example === null ? null : exampleText(example));
  const [removing, setRemoving] = useState(false);
  const stored = saved ?? asked.value;
  const draft = text ?? stored?.text ?? "";
  const begun = example === null ? (stored?.text ?? null) : exampleText(example);
  const dirty = begun !== null && text !== null && text !== begun;
  const held = useHold(dirty);
  const panel = useId();
  const view = VIEWS.find((one) => one === route.value.search.get("view")) ?? "edit";
  useTitle(name ?? words.newTitle);

  const choices: Choice<View>[] = VIEWS.map((one) => ({ value: one, text: words.views[one] }));
  if (asked.error?.kind === "refused" && asked.error.status === 404 && saved === null) return <Missing name={name} />;
  return (
    <div class="in">
      <div class="titlebar">
        <a class="crumb" href="policies">
          {words.crumb}
        </a>
        <h1>
          {name ?? words.newTitle}{" "}
          <span class="ver">
            {stored?.revision != null ? words.revision(stored.revision) : name === null ? words.draft : ""}
          </span>
        </h1>
        <div class="meta">{dirty && <span class="tag">{words.edit.dirty}</span>}</div>
        {name !== null && stored !== null && (
          <div class="acts">
            <button class="btn" type="button" onClick={() => setRemoving(true)}>
              {words.remove}
            </button>
          </div>
        )}
      </div>
      <Stale of={asked} />
      {name !== null && (
        <Tabs
          label={words.view}
          style="line"
          choices={choices}
          value={view}
          onChange={(one) => setParams({ view: one === "edit" ? null : one }, "replace")}
          panel={panel}
        />
      )}
      <div id={panel} {...(name === null ? {} : { role: "tabpanel", "aria-label": words.views[view] })}>
        {view === "edit" &&
          (name !== null && stored === null ? (
            asked.error === null && <GhostChart height={420} />
          ) : (
            <Editor
              stored={stored}
              text={draft}
              dirty={dirty}
              onInput={setText}
              onSaved={(now) => {
                if (now.name !== name) {
                  held.release();
                  go(`policies/${encodeURIComponent(now.name)}`, name === null ? "replace" : "push");
                  return;
                }
                setSaved(now);
                setText(null);
              }}
              onRevert={() => setText(null)}
            />
          ))}
        {view === "announce" && name !== null && <AnnounceForm policy={name} dirty={dirty} />}
        {view === "backtest" && name !== null && (
          <Backtests policy={name} revision={stored?.revision ?? null} alpha={stored?.alpha ?? null} dirty={dirty} />
        )}
      </div>
      <Foot>
        <span>
          <Keys of="Ctrl S" /> {words.edit.save.toLowerCase()}
        </span>
        <span>
          <Keys of="t" /> {t.metrics.chartTable}
        </span>
        <span>
          <Keys of="?" /> {t.keys.all}
        </span>
      </Foot>
      {removing && name !== null && (
        <RemoveDialog
          name={name}
          onClose={() => setRemoving(false)}
          onDone={() => {
            held.release();
            go("policies");
          }}
        />
      )}
      {held.asking && <LeaveDialog onStay={held.stay} onLeave={held.leave} />}
    </div>
  );
}

/** Asks before the page is left with unsaved work; the browser asks in its own words before the tab closes. */
function useHold(dirty: boolean) {
  const [leave, setLeave] = useState<(() => void) | null>(null);
  useEffect(() => {
    if (!dirty) return;
    holdPage((next) => setLeave(() => next));
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => {
      holdPage(null);
      removeEventListener("beforeunload", ask);
    };
  }, [dirty]);
  return {
    asking: leave !== null,
    stay: () => setLeave(null),
    leave: () => leave?.(),
    release: () => holdPage(null),
  };
}

function LeaveDialog({ onStay, onLeave }: { onStay: () => void; onLeave: () => void }) {
  const words = texts().policies;
  return (
    <Dialog title={words.leaveTitle} onClose={onStay}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onLeave();
        }}
      >
        <p class="dim">{words.leaveText}</p>
        <div class="row">
          <button class="btn quiet" type="button" onClick={onStay}>
            {words.leaveStay}
          </button>
          <button class="btn danger" type="submit">
            {words.leaveGo}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function RemoveDialog({ name, onClose, onDone }: { name: string; onClose: () => void; onDone: () => void }) {
  const t = texts();
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    const answer = await deletePolicy(name);
    if (answer.ok) onDone();
    else setTrouble(troubleOf(answer.error));
  };
  return (
    <Dialog title={t.policies.removeTitle} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <p class="dim">{t.policies.removeText(name)}</p>
        {trouble && <TroubleNote trouble={trouble} />}
        <div class="row">
          <button class="btn quiet" type="button" onClick={onClose}>
            {t.cancel}
          </button>
          <button class="btn danger" type="submit">
            {t.policies.removeSubmit}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Missing({ name }: { name: string | null }) {
  const words = texts().policies;
  return (
    <div class="in">
      <div class="titlebar">
        <a class="crumb" href="policies">
          {words.crumb}
        </a>
        <h1>{words.notFound}</h1>
      </div>
      <State head={words.notFound} text={name === "default" ? words.defaultText : words.notFoundText} height={200}>
        <a class="btn" href="policies">
          {words.title}
        </a>
      </State>
    </div>
  );
}
