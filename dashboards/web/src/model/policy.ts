// A policy as the pages hold it: text to edit, and what the server said of it.

import type { Announcement } from "./announce.ts";

/** A stored policy. */
export interface StoredPolicy {
  readonly name: string;
  readonly revision: number | null;
  /** As it is edited; written from the stored document where the server keeps no text. */
  readonly text: string;
  /** Whether `text` is what was once sent, comments and all. */
  readonly asSent: boolean;
  /** Chance of a false refusal that it accepts, where it says one. */
  readonly alpha: number | null;
  /** What it would have shown of the last release that it judged; said when it is stored. */
  readonly announced: Announcement | null;
}

/** Where a text was refused, and why. */
export interface PolicyFault {
  /** Path of the field; empty where the text could not be read at all. */
  readonly field: string;
  readonly message: string;
  readonly value: string;
  readonly line: number;
}

/** What a check of a text came to. */
export type Checked =
  | { readonly kind: "fine"; readonly name: string }
  | { readonly kind: "fault"; readonly fault: PolicyFault };
