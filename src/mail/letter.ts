/** A letter and who writes it: mail knows how to send, rooms further up know what to say. */
import type { Database } from "../base/database.js";
import type { LetterKind } from "./model.js";

export interface Letter {
  readonly to: string;
  readonly subject: string;
  readonly html: string;
  readonly text: string;
}

/** A letter with whether it should still be sent: false once its subject moved on (accepted, revoked, resent, expired). */
export interface WrittenLetter {
  readonly letter: Letter;
  readonly isCurrent: boolean;
}

/** What an outbox row tells its writer. */
export interface LetterSubject {
  readonly workspaceId: string | null;
  readonly subjectId: string;
  readonly version: number;
  readonly recipient: string;
}

/** Writes the letter of an outbox row, the same one every time. Null when the row's subject is gone. */
export type LetterWriter = (env: Env, db: Database, subject: LetterSubject) => Promise<WrittenLetter | null>;

/** One writer for each kind of letter; handed in from above. */
export type LetterWriters = Readonly<Record<LetterKind, LetterWriter>>;
