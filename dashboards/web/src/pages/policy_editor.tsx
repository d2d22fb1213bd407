// The text of a policy: checked by the server as one types, saved as a new revision.

import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { fetchPolicies } from "../api/policies.ts";
import { checkPolicy, faultOf, fetchPolicy, isFault, putPolicy } from "../api/policy.ts";
import { texts } from "../app/locale.ts";
import { CodeEditor, toLine } from "../components/code_editor.tsx";
import { Icon } from "../components/icon.tsx";
import { Note, type Trouble, TroubleNote } from "../components/states.tsx";
import { Rich } from "../components/text.tsx";
import { count } from "../model/format.ts";
import type { Checked, PolicyFault, StoredPolicy } from "../model/policy.ts";
import { paintYaml } from "../model/yaml_paint.ts";
import { lineOf } from "../model/yaml_place.ts";
import { AnnounceView } from "./announce_view.tsx";
import { troubleOf } from "./resource.ts";

interface Props {
  readonly stored: StoredPolicy | null;
  readonly text: string;
  readonly dirty: boolean;
  readonly onInput: (text: string) => void;
  readonly onSaved: (now: StoredPolicy) => void;
  readonly onRevert: () => void;
}

const PAUSE_MS = 350;

/** What stands between a text and its place in the store. */
type Block =
  | { readonly kind: "conflict"; readonly theirs: StoredPolicy }
  | { readonly kind: "exists"; readonly name: string }
  | { readonly kind: "deleted" };

export function Editor({ stored, text, dirty, onInput, onSaved, onRevert }: Props) {
  const words = texts().policies.edit;
  const { checked, trouble: unchecked, checking, put } = useCheck(text);
  const [saving, setSaving] = useState(false);
  const [done, setDone] = useState("");
  const [block, setBlock] = useState<Block | null>(null);
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const status = useId();
  const tokens = useMemo(() => paintYaml(text), [text]);
  const fault = checked?.kind === "fault" ? placed(checked.fault, text) : null;
  const named = checked?.kind === "fine" ? checked.name : "";
  const renamed = stored !== null && named !== "" && named !== stored.name;

  const save = async (over: boolean) => {
    if (saving) return;
    setSaving(true);
    setTrouble(null);
    setDone("");
    const answer = await store(text, stored, over);
    setSaving(false);
    if (answer.kind === "blocked") return setBlock(answer.block);
    setBlock(null);
    if (answer.kind === "fault") {
      put(text, answer.checked);
      if (box.current) toLine(box.current, answer.checked.fault.line);
    } else if (answer.kind === "trouble") setTrouble(answer.trouble);
    else {
      const { revision } = answer.now;
      setDone(revision !== null && revision === stored?.revision ? words.same(revision) : words.saved(revision));
      // Where the server keeps no text, the page keeps what was typed until it is loaded again.
      onSaved(answer.now.asSent ? answer.now : { ...answer.now, text });
    }
  };
  const input = (next: string) => {
    setDone("");
    onInput(next);
  };
  return (
    <section class="editor" aria-label={texts().policies.views.edit}>
      <div class="editor-bar">
        <div class="editor-status" id={status} aria-live="polite">
          {fault !== null ? (
            <Fault fault={fault} onGo={() => toLine(box.current, fault.line)} />
          ) : done !== "" ? (
            <span>
              <Icon name="ok" small /> {done}
            </span>
          ) : checking ? (
            <span class="dim">{words.checking}…</span>
          ) : unchecked === null ? (
            <span>
              <Icon name="ok" small /> {words.fine}
            </span>
          ) : (
            <span class="dim">
              {words.unchecked} {unchecked.text || unchecked.head}
            </span>
          )}
        </div>
        <div class="tools">
          {dirty && (
            <button class="btn quiet" type="button" onClick={onRevert}>
              {words.revert}
            </button>
          )}
          <button
            class="btn primary"
            type="button"
            aria-disabled={saving || (!dirty && stored !== null)}
            onClick={() => (dirty || stored === null) && void save(false)}
          >
            {saving ? words.saving : renamed ? words.saveAs(named) : words.save}
          </button>
        </div>
      </div>
      {trouble && <TroubleNote trouble={trouble} />}
      {block && (
        <Note
          kind="partial"
          tools={
            <>
              {block.kind === "conflict" && (
                <button
                  class="link"
                  type="button"
                  onClick={() => {
                    setBlock(null);
                    onSaved(block.theirs);
                  }}
                >
                  {words.theirs}
                </button>
              )}{" "}
              <button class="link" type="button" onClick={() => void save(true)}>
                {words.overwrite}
              </button>
            </>
          }
        >
          <BlockWords block={block} />
        </Note>
      )}
      <CodeEditor
        label={words.label(stored?.name ?? (named || texts().policies.newTitle))}
        value={text}
        tokens={tokens}
        onInput={input}
        onSave={() => void save(false)}
        badLine={fault?.line ?? null}
        describedBy={status}
        box={box}
      />
      <p class="hint editor-hint">
        <span>{words.lines(count(text.split("\n").length))}</span>
        <span>{words.keys}</span>
        {stored?.asSent === false && <span>{words.written}</span>}
      </p>
      {stored?.announced && (
        <section class="sec" aria-labelledby="h-announced">
          <div class="sec-head">
            <h2 id="h-announced">{texts().policies.announce.ofLast}</h2>
          </div>
          <AnnounceView announcement={stored.announced} />
        </section>
      )}
    </section>
  );
}

function BlockWords({ block }: { block: Block }) {
  const words = texts().policies.edit;
  switch (block.kind) {
    case "conflict":
      return <Rich text={words.conflict(block.theirs.revision ?? 0)} />;
    case "exists":
      return <Rich text={words.exists(block.name)} />;
    case "deleted":
      return <>{words.deleted}</>;
  }
}

/** A fault keeps its field while the lines above it move. */
function placed(fault: PolicyFault, text: string): PolicyFault {
  const last = text.split("\n").length;
  return { ...fault, line: fault.field === "" ? Math.min(fault.line, last) : lineOf(text, fault.field) };
}

function Fault({ fault, onGo }: { fault: PolicyFault; onGo: () => void }) {
  const words = texts().policies.edit;
  return (
    <p class="fault">
      <Icon name="error" small tone="no-go" />
      <span>
        <button class="link" type="button" title={words.toLine} onClick={onGo}>
          {words.fault(fault.line, fault.field)}
        </button>{" "}
        <b>{fault.message}</b>
        {fault.value !== "" && fault.value.length < 120 && <span class="dim"> {words.value(fault.value)}</span>}
      </span>
    </p>
  );
}

/** Asks the server a moment after the last key. What it said of an older text stays until the newer answer. */
function useCheck(text: string) {
  const [state, setState] = useState<{ of: string; checked: Checked | null; trouble: Trouble | null } | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      const answer = await checkPolicy(text, stop.signal);
      if (stop.signal.aborted) return;
      setState({
        of: text,
        checked: answer.ok ? answer.value : null,
        trouble: answer.ok ? null : troubleOf(answer.error),
      });
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text]);
  return {
    checked: state?.checked ?? null,
    trouble: state?.trouble ?? null,
    checking: state === null || state.of !== text,
    put: (of: string, checked: Checked) => setState({ of, checked, trouble: null }),
  };
}

type Stored =
  | { readonly kind: "stored"; readonly now: StoredPolicy }
  | { readonly kind: "fault"; readonly checked: Extract<Checked, { kind: "fault" }> }
  | { readonly kind: "blocked"; readonly block: Block }
  | { readonly kind: "trouble"; readonly trouble: Trouble };

/** Stores under the name that the text itself has, unless someone else saved that policy since it was read. */
async function store(text: string, was: StoredPolicy | null, over: boolean): Promise<Stored> {
  const checked = await checkPolicy(text);
  if (checked.ok && checked.value.kind === "fault") return { kind: "fault", checked: checked.value };
  const name = checked.ok && checked.value.kind === "fine" ? checked.value.name : "";
  const into = name || was?.name || nameIn(text);
  const block = over ? null : await inTheWay(into, was);
  if (block !== null) return { kind: "blocked", block };
  const answer = await putPolicy(into, text);
  if (answer.ok) return { kind: "stored", now: answer.value };
  if (isFault(answer.error)) return { kind: "fault", checked: faultOf(text, answer.error) };
  return { kind: "trouble", trouble: troubleOf(answer.error) };
}

async function inTheWay(into: string, was: StoredPolicy | null): Promise<Block | null> {
  const all = await fetchPolicies();
  // A list that does not come keeps no one from saving.
  if (!all.ok) return null;
  const there = all.value.find((one) => one.name === into);
  if (into !== was?.name) return there ? { kind: "exists", name: into } : null;
  if (!there) return { kind: "deleted" };
  if (there.revision === was.revision) return null;
  const theirs = await fetchPolicy(into);
  return theirs.ok ? { kind: "conflict", theirs: theirs.value } : null;
}

/** The name as the text has it, for a server that does not check. */
function nameIn(text: string): string {
  return /^\s*"?name"?:\s*["']?([^"'#\n,]+?)["']?\s*(?:[#,\n]|$)/m.exec(text)?.[1] ?? "policy";
}
