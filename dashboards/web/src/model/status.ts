// What the Status page knows of the server, and what it makes of two answers.

export interface Receiver {
  readonly name: string;
  readonly state: string;
  readonly accepted: number | null;
  readonly refused: number | null;
  readonly unit: string;
  readonly refusals: readonly { readonly reason: string; readonly count: number }[];
  readonly lastAt: number | null;
  readonly durableP99Ms: number | null;
}

export interface StoredTable {
  readonly name: string;
  readonly bytes: number | null;
  readonly rows: number | null;
  readonly segments: number | null;
  readonly oldest: number | null;
  readonly newest: number | null;
  readonly retention: string;
}

export interface Job {
  readonly name: string;
  readonly state: string;
  readonly text: string;
  readonly lastAt: number | null;
  readonly error: string;
}

export interface Agent {
  readonly host: string;
  readonly state: string;
  readonly role: string;
  readonly version: string;
  readonly lastSeen: number | null;
  readonly lagMs: number | null;
  readonly queueBytes: number | null;
  readonly queueLimitBytes: number | null;
  readonly series: number | null;
  readonly clockMs: number | null;
}

export interface RunningQuery {
  readonly id: string;
  readonly query: string;
  readonly kind: string;
  readonly by: string;
  readonly elapsedMs: number | null;
  readonly limitMs: number | null;
  readonly memoryBytes: number | null;
}

export interface Status {
  readonly version: string;
  readonly startedAt: number | null;
  readonly now: number;
  readonly tenant: string;
  readonly readOnly: string;
  /** Why ingest is refused now, where it is. */
  readonly refusing: string;
  /** Files left out of answers because they are damaged or gone. */
  readonly damaged: number;
  /** What the heads hold in memory, not yet in segments. */
  readonly head: { readonly bytes: number | null; readonly series: number | null } | null;
  readonly receivers: readonly Receiver[];
  readonly tables: readonly StoredTable[];
  readonly jobs: readonly Job[];
  readonly agents: readonly Agent[];
  readonly queries: readonly RunningQuery[];
  readonly memory: { readonly used: number | null; readonly limit: number | null } | null;
  readonly disk: { readonly used: number | null; readonly total: number | null; readonly free: number | null } | null;
}

/** Something that wants a look, for the summary on top. */
export type Concern =
  | { kind: "read_only"; reason: string }
  | { kind: "refusing"; reason: string }
  | { kind: "damaged"; files: number }
  | { kind: "silent"; host: string; forMs: number }
  | { kind: "queueing"; host: string; bytes: number }
  | { kind: "refused"; receiver: string; count: number; unit: string; reason: string }
  | { kind: "job"; job: string; text: string };

const SILENT_AFTER_MS = 120_000;

export type AgentHealth = "silent" | "queueing" | "healthy";

export function agentHealth(agent: Agent, now: number): AgentHealth {
  if (agent.state === "silent" || (agent.lastSeen !== null && now - agent.lastSeen > SILENT_AFTER_MS)) return "silent";
  if (agent.state === "queueing" || (agent.queueBytes !== null && agent.queueBytes > 1_048_576)) return "queueing";
  return "healthy";
}

const HURT_JOBS: ReadonlySet<string> = new Set(["behind", "failed", "error", "stalled"]);

/** Lists what wants a look, the gravest first. */
export function concerns(status: Status): Concern[] {
  const found: Concern[] = [];
  if (status.readOnly !== "") found.push({ kind: "read_only", reason: status.readOnly });
  if (status.refusing !== "") found.push({ kind: "refusing", reason: status.refusing });
  if (status.damaged > 0) found.push({ kind: "damaged", files: status.damaged });
  for (const job of status.jobs) {
    if (HURT_JOBS.has(job.state)) found.push({ kind: "job", job: job.name, text: job.error || job.text || job.state });
  }
  for (const agent of status.agents) {
    const health = agentHealth(agent, status.now);
    if (health === "silent")
      found.push({
        kind: "silent",
        host: agent.host,
        forMs: agent.lastSeen === null ? 0 : status.now - agent.lastSeen,
      });
    if (health === "queueing") found.push({ kind: "queueing", host: agent.host, bytes: agent.queueBytes ?? 0 });
  }
  for (const receiver of status.receivers) {
    if ((receiver.refused ?? 0) > 0) {
      const worst = [...receiver.refusals].sort((a, b) => b.count - a.count)[0];
      found.push({
        kind: "refused",
        receiver: receiver.name,
        count: receiver.refused ?? 0,
        unit: receiver.unit,
        reason: worst?.reason ?? "",
      });
    }
  }
  return found;
}

/** Rates a second by receiver, from two answers; empty for the first one and after a restart of the server. */
export function rates(before: Status | null, after: Status): Map<string, number> {
  const found = new Map<string, number>();
  if (before === null || after.now <= before.now || before.startedAt !== after.startedAt) return found;
  const seconds = (after.now - before.now) / 1000;
  for (const receiver of after.receivers) {
    const earlier = before.receivers.find((one) => one.name === receiver.name);
    if (earlier?.accepted === null || earlier === undefined || receiver.accepted === null) continue;
    found.set(receiver.name, Math.max(0, receiver.accepted - earlier.accepted) / seconds);
  }
  return found;
}
