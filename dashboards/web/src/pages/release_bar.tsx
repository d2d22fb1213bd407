// The title of a release, and what a person may do: override, cancel, take the verdict along.

import { useState } from "preact/hooks";
import { postOverride } from "../api/override.ts";
import { cancelRelease } from "../api/release.ts";
import { language, store, stored, texts, zone } from "../app/locale.ts";
import { CopyButton, Dialog } from "../components/controls.tsx";
import { SignIcon } from "../components/icon.tsx";
import { type Trouble, TroubleNote } from "../components/states.tsx";
import { moment } from "../model/format.ts";
import type { Decision, Release, Verdict } from "../model/release.ts";
import { troubleOf } from "./resource.ts";

interface Props {
  readonly id: string;
  readonly release: Release | null;
  readonly verdict: Verdict | null;
  readonly now: number;
  readonly onChanged: () => void;
}

export function ReleaseBar({ id, release, verdict, now, onChanged }: Props) {
  const t = texts();
  const [dialog, setDialog] = useState<"override" | "cancel" | null>(null);
  const close = () => setDialog(null);
  const done = () => {
    close();
    onChanged();
  };
  const open = release !== null && (release.state === "running" || release.state === "pending");
  const by = release?.by || verdict?.by || "";
  return (
    <div class="in">
      <div class="titlebar">
        <a class="crumb" href="releases">
          {t.release.crumb}
        </a>
        <h1>
          {release ? release.service : id}{" "}
          {release && (
            <span class="ver">
              {release.baseline}
              <span class="arrow">→</span>
              {release.canary}
            </span>
          )}
        </h1>
        {release && (
          <div class="meta">
            {(release.environment || release.region) && (
              <span>{[release.environment, release.region].filter((one) => one !== "").join(", ")}</span>
            )}
            {release.start !== null && (
              <span>{t.release.started(moment(release.start, now, zone.value, language.value), by)}</span>
            )}
          </div>
        )}
        {release && verdict && (
          <div class="acts">
            {open && (
              <button class="btn" type="button" onClick={() => setDialog("cancel")}>
                {t.release.cancelRelease}
              </button>
            )}
            <button class="btn" type="button" onClick={() => setDialog("override")}>
              {t.release.override}
            </button>
            <a
              class="btn nar-hide"
              href={`../api/v1/releases/${encodeURIComponent(id)}/verdict`}
              download={`${release.service}-${release.canary}-verdict.json`}
            >
              {t.release.export}
            </a>
            <CopyButton icon label={t.release.copyLink} text={() => location.href} />
          </div>
        )}
      </div>
      {dialog === "override" && release && verdict && (
        <OverrideDialog release={release} verdict={verdict} onClose={close} onDone={done} />
      )}
      {dialog === "cancel" && release && <CancelDialog release={release} onClose={close} onDone={done} />}
    </div>
  );
}

function OverrideDialog({
  release,
  verdict,
  onClose,
  onDone,
}: {
  release: Release;
  verdict: Verdict;
  onClose: () => void;
  onDone: () => void;
}) {
  const t = texts();
  const [decision, setDecision] = useState<Decision>(verdict.decision === "go" ? "no_go" : "go");
  const [why, setWhy] = useState("");
  const [by, setBy] = useState(stored("name") ?? "");
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    store("name", by);
    const answer = await postOverride(release.id, { decision, by: by.trim(), why: why.trim() });
    if (answer.ok) onDone();
    else setTrouble(troubleOf(answer.error));
  };
  return (
    <Dialog title={t.release.overrideTitle} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <p class="dim">
          {t.release.overrideText(
            `${release.service} ${release.canary}`,
            `${t.decision[verdict.decision].toLowerCase()}${verdict.final ? `, ${t.release.final}` : ""}`,
          )}
        </p>
        {trouble && <TroubleNote trouble={trouble} />}
        <fieldset class="field">
          <legend class="label">{t.releases.byDecision}</legend>
          <div class="seg">
            {(["go", "no_go"] as const).map((one) => (
              <button key={one} type="button" aria-pressed={decision === one} onClick={() => setDecision(one)}>
                <SignIcon sign={one} />
                {t.decision[one]}
              </button>
            ))}
          </div>
        </fieldset>
        <label class="field">
          <span class="label">{t.release.overrideBy}</span>
          <input
            class="input"
            required
            value={by}
            autocomplete="username"
            onInput={(event) => setBy(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span class="label">{t.release.overrideWhy}</span>
          <textarea
            class="input"
            rows={3}
            required
            value={why}
            onInput={(event) => setWhy(event.currentTarget.value)}
          />
          <span class="hint">{t.release.overrideHint}</span>
        </label>
        <div class="row">
          <button class="btn quiet" type="button" onClick={onClose}>
            {t.cancel}
          </button>
          <button class="btn danger" type="submit">
            {t.release.overrideSubmit}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function CancelDialog({ release, onClose, onDone }: { release: Release; onClose: () => void; onDone: () => void }) {
  const t = texts();
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    const answer = await cancelRelease(release.id);
    if (answer.ok) onDone();
    else setTrouble(troubleOf(answer.error));
  };
  return (
    <Dialog title={t.release.cancelTitle} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <p class="dim">{t.release.cancelText}</p>
        {trouble && <TroubleNote trouble={trouble} />}
        <div class="row">
          <button class="btn quiet" type="button" onClick={onClose}>
            {t.release.keep}
          </button>
          <button class="btn danger" type="submit">
            {t.release.cancelSubmit}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
