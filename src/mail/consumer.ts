/** The mail queue's consumer: each message is acked or retried by itself, and a letter's row ends as sent, superseded or failed. */
import { and, eq, sql } from "drizzle-orm";
import { commit, hideSql, openDatabase, type Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { readSettings, requireSettings } from "../base/settings.js";
import type { LetterWriters } from "./letter.js";
import { MailMessage, outbox } from "./model.js";
import type { SendOutcome, Transport } from "./transport.js";
import { chooseTransport } from "./transports.js";

type OutboxRow = typeof outbox.$inferSelect;

/** Where the settings themselves are what is at fault. */
const usualRetrySeconds = 15;
const longestDelaySeconds = 1800;
const internalReason = "Something inside the service kept the letter from being sent.";

interface Desk {
  readonly env: Env;
  readonly db: Database;
  readonly writers: LetterWriters;
  /** The settings' own when not given. */
  readonly transport: Transport | undefined;
}

/** Consumes a batch of the mail queue, or of its dead-letter queue by that one's name (`…-dead`). Never throws: a failure is that message's retry. */
export async function consumeMail(
  batch: MessageBatch,
  env: Env,
  writers: LetterWriters,
  transport?: Transport,
): Promise<void> {
  const desk: Desk = { env, db: openDatabase(env.DB), writers, transport };
  const isDead = batch.queue.endsWith("-dead");
  // One after the other: two messages of one letter in a batch must not both find it unsent.
  for (const message of batch.messages) {
    await (isDead ? bury(desk, message) : deliver(desk, message));
  }
}

/** Seconds to wait after this many attempts: doubling from `first`, at most half an hour; a transport's own wish when longer. */
export function backoffSeconds(attempts: number, first: number, wish = 0): number {
  const doubled = first * 2 ** Math.min(attempts - 1, 16);
  return Math.min(longestDelaySeconds, Math.max(doubled, Math.ceil(wish)));
}

async function deliver(desk: Desk, message: Message): Promise<void> {
  const body = readBody(message);
  if (body === null) {
    message.ack();
    return;
  }
  let outcome: SendOutcome | null;
  try {
    outcome = await attempt(desk, body);
  } catch (error) {
    log("error", "letter_attempt_failed", { letter_id: body.id, cause: describeError(error) });
    outcome = { kind: "retry", reason: internalReason };
  }
  if (outcome?.kind !== "retry") {
    message.ack();
    return;
  }
  const delaySeconds = backoffSeconds(message.attempts, retrySecondsOf(desk.env), outcome.afterSeconds);
  log("warn", "letter_delayed", { letter_id: body.id, kind: body.kind, reason: outcome.reason, delay_s: delaySeconds });
  await noteRetry(desk.db, body.id, outcome.reason, Date.now() + delaySeconds * 1000);
  message.retry({ delaySeconds });
}

/** One attempt, with its end written to the row. Null when there is nothing (more) to send. */
async function attempt(desk: Desk, body: MailMessage): Promise<SendOutcome | null> {
  const [row] = await hideSql(desk.db.select().from(outbox).where(eq(outbox.id, body.id)).all());
  if (row === undefined || row.state !== "queued" || row.version !== body.version) {
    return null;
  }
  const written = await desk.writers[row.kind](desk.env, desk.db, row);
  if (written === null || !written.isCurrent) {
    await closeRow(desk.db, row.id, { state: "superseded" });
    return null;
  }
  const transport = desk.transport ?? chooseTransport(desk.env, requireSettings(desk.env));
  const outcome = await transport.send(written.letter, row.id);
  if (outcome.kind === "sent") {
    await closeRow(desk.db, row.id, { state: "sent", sentAt: Date.now(), reason: null });
  } else if (outcome.kind === "failed") {
    log("warn", "letter_failed", { letter_id: row.id, kind: row.kind, reason: outcome.reason });
    await closeRow(desk.db, row.id, { state: "failed", reason: outcome.reason });
  }
  return outcome;
}

/** A message whose retries are used up: its letter failed, for the reason noted last. */
async function bury(desk: Desk, message: Message): Promise<void> {
  const body = readBody(message);
  if (body === null) {
    message.ack();
    return;
  }
  try {
    const reason = sql`coalesce(${outbox.reason}, ${internalReason})`;
    await commit(desk.db, [desk.db.update(outbox).set({ state: "failed", reason }).where(isQueued(body.id))]);
    log("warn", "letter_dead", { letter_id: body.id, kind: body.kind });
    message.ack();
  } catch (error) {
    log("error", "letter_not_buried", { letter_id: body.id, cause: describeError(error) });
    message.retry({ delaySeconds: backoffSeconds(message.attempts, retrySecondsOf(desk.env)) });
  }
}

function retrySecondsOf(env: Env): number {
  const reading = readSettings(env);
  return "settings" in reading ? reading.settings.mailRetrySeconds : usualRetrySeconds;
}

/** A queue's body is an edge: what is no message of ours will never become one, so it is logged and let go. */
function readBody(message: Message): MailMessage | null {
  const parsed = MailMessage.safeParse(message.body);
  if (!parsed.success) {
    log("error", "mail_message_unreadable", { message_id: message.id });
    return null;
  }
  return parsed.data;
}

/** Only a row that still waits changes: the first end stands, whatever is redelivered later. */
function isQueued(letterId: string) {
  return and(eq(outbox.id, letterId), eq(outbox.state, "queued"));
}

async function closeRow(
  db: Database,
  letterId: string,
  end: Pick<OutboxRow, "state"> & Partial<Pick<OutboxRow, "reason" | "sentAt">>,
): Promise<void> {
  const attempts = sql`${outbox.attempts} + 1`;
  await commit(db, [
    db
      .update(outbox)
      .set({ ...end, attempts })
      .where(isQueued(letterId)),
  ]);
}

/** Keeps the reason for the dead-letter queue, and the due time so that the sweep doesn't take a waiting letter for a lost one. */
async function noteRetry(db: Database, letterId: string, reason: string, dueAt: number): Promise<void> {
  try {
    const attempts = sql`${outbox.attempts} + 1`;
    await commit(db, [db.update(outbox).set({ reason, attempts, enqueuedAt: dueAt }).where(isQueued(letterId))]);
  } catch (error) {
    log("error", "letter_retry_not_noted", { letter_id: letterId, cause: describeError(error) });
  }
}
