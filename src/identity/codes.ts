/** Mailed codes as deeds: asked for within limits, tried only with the handle, used once. A stranger's ask neither replaces nor burns anybody's code. */
import { and, eq, gt, isNull, lt, sql, type SQL } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { commit, guardChanged, hideSql, type Change, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import type { Secret } from "../base/secret.js";
import type { LetterKind, MailMessage } from "../mail/model.js";
import { planLetters } from "../mail/outbox.js";
import { deriveCode, digestHandle, isCode, mintHandle, networkOf } from "./code.js";
import { mayAsk, mayTry, rememberNetwork, triesPerCode } from "./code-limits.js";
import { emailCodes, type CodePurpose } from "./model.js";

/** How long a code is good. */
const codeMs = 10 * 60_000;
/** What a code is asked for. */
export interface CodeOrder {
  readonly purpose: CodePurpose;
  readonly email: string;
  readonly locale: string;
  readonly letter: LetterKind;
  readonly workspaceId: string | null;
  /** What it confirms, when that is more than signing in. */
  readonly subjectId: string | null;
  /** `codeMs` when left out. */
  readonly lifeMs?: number;
}

/** A code as somebody tries it: with the handle of the browser that asked, or for what it confirms, by who may do that. */
export type CodeTry = { readonly code: string } & (
  | { readonly handle: string }
  | { readonly subjectId: string; readonly email: string }
);

/** A code about to be sent. */
export interface PlannedCode {
  readonly codeId: string;
  /** For the asking browser alone. */
  readonly handle: Secret;
  readonly expiresAt: number;
  /** To enqueue once committed. */
  readonly messages: readonly MailMessage[];
}

/** A code that was typed right. `use` marks it used, in the batch of what it allows: `code_refused` when somebody was faster. */
export interface ProvenCode {
  readonly codeId: string;
  readonly email: string;
  readonly subjectId: string | null;
  readonly use: readonly Statement[];
}

/**
 * Plans a code and its letter. The same statements run whether or not anybody has the address: who gets no letter is
 * decided by the letter's writer, off the request's path. `rate_limited` by the batch's own guard.
 */
export async function planCode(
  db: Database,
  mailSecret: Keyring,
  actor: Actor,
  order: CodeOrder,
): Promise<Change<PlannedCode>> {
  const codeId = newId("emailCode");
  const handle = mintHandle();
  const handleDigest = await digestHandle(handle.reveal());
  const { purpose, email, locale, subjectId, workspaceId } = order;
  const network = networkOf(actor.ip);
  const expiresAt = actor.at + (order.lifeMs ?? codeMs);
  const insert = db.insert(emailCodes).select(
    sql`SELECT ${codeId}, ${purpose}, ${subjectId}, ${email}, ${locale}, ${mailSecret.primary}, ${handleDigest}, ${network}, 0,
      ${actor.at}, ${expiresAt}, NULL WHERE ${mayAsk(actor, purpose, email)}`,
  );
  const letter = planLetters(
    db,
    [{ kind: order.letter, workspaceId, subjectId: codeId, version: 1, recipient: email }],
    actor.at,
  );
  return {
    statements: [insert, guardChanged(db, "rate_limited"), letter.statement],
    value: { codeId, handle, expiresAt, messages: letter.messages },
  };
}

/**
 * Tries a code. The try is counted first, by one conditional statement, so parallel tries cannot slip past a limit.
 * Throws `code_refused` alike for a wrong, used, expired or unknown one; `rate_limited` when the tries of a day
 * are used up.
 */
export async function tryCode(
  db: Database,
  mailSecret: Keyring,
  actor: Actor,
  purpose: CodePurpose,
  given: CodeTry,
): Promise<ProvenCode> {
  const isNamed =
    "handle" in given
      ? eq(emailCodes.handleDigest, await digestHandle(given.handle))
      : and(eq(emailCodes.email, given.email), eq(emailCodes.subjectId, given.subjectId));
  const isOpen = and(
    isNamed,
    eq(emailCodes.purpose, purpose),
    isNull(emailCodes.usedAt),
    gt(emailCodes.expiresAt, actor.at),
  );
  const [row] = await hideSql(
    db
      .update(emailCodes)
      .set({ tries: sql`${emailCodes.tries} + 1` })
      .where(and(isOpen, lt(emailCodes.tries, triesPerCode), mayTry(actor.at)))
      .returning(),
  );
  if (row === undefined) {
    throw await refusal(db, isOpen);
  }
  if (!isCode(await deriveCode(mailSecret, row.secretId, row.id), given.code)) {
    await noteExhausted(db, actor, row);
    throw new AppError("code_refused");
  }
  const use = db
    .update(emailCodes)
    .set({ usedAt: actor.at })
    .where(and(eq(emailCodes.id, row.id), isNull(emailCodes.usedAt)));
  return {
    codeId: row.id,
    email: row.email,
    subjectId: row.subjectId,
    use: [use, guardChanged(db, "code_refused"), rememberNetwork(db, row.email, row.network, actor.at)],
  };
}

/** An open code with tries left was refused, so it was the day's tries that are used up. */
async function refusal(db: Database, isOpen: SQL | undefined): Promise<AppError> {
  const [left] = await hideSql(
    db
      .select({ id: emailCodes.id })
      .from(emailCodes)
      .where(and(isOpen, lt(emailCodes.tries, triesPerCode)))
      .all(),
  );
  return left === undefined ? new AppError("code_refused") : new AppError("rate_limited", { retryAfterMs: 3_600_000 });
}

/** One audit row for each code whose tries were all wrong: who guesses is told of, and cannot flood the log. */
async function noteExhausted(db: Database, actor: Actor, row: typeof emailCodes.$inferSelect): Promise<void> {
  if (row.tries < triesPerCode) {
    return;
  }
  const told = auditRow(db, actor, {
    workspaceId: null,
    action: `${row.purpose}.refused`,
    targets: [{ type: "email_code", id: row.id }],
    after: { email: row.email, purpose: row.purpose, reason: "too many wrong codes" },
    outcome: "denied",
  });
  await commit(db, [told]);
}
