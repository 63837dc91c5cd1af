/** The outbox: a letter's row stands in the batch of the change that asks for it, so mail is owed exactly when the change happened. */
import { and, asc, eq, inArray, isNotNull, isNull, lt, ne, or, sql } from "drizzle-orm";
import { commit, hideSql, type Database, type Statement } from "../base/database.js";
import { newId } from "../base/ids.js";
import { describeError, log } from "../base/log.js";
import { outbox, type LetterKind, type MailMessage } from "./model.js";

/** What a letter is about. */
export interface LetterOrder {
  readonly kind: LetterKind;
  readonly workspaceId: string | null;
  readonly subjectId: string;
  readonly version: number;
  readonly recipient: string;
}

/** The platform takes 100 messages a call. */
const batchSize = 100;
/** A row this young is being handed to the queue by its own request. */
const freshMs = 30_000;
/** Longer than a message may take from queue to consumer; a waiting retry moves `enqueued_at` to its own due time. */
const overdueMs = 10 * 60_000;
const dayMs = 24 * 3_600_000;
/** How long a closed letter is kept. A sign-in code's says nothing once a day has passed, and anybody's ask writes one. */
const looseMs = 2 * dayMs;
/** An invite shows what became of its letter while it is open: 30 days at most from its last letter. */
const ownedMs = 90 * dayMs;
/** D1 gives one statement half a minute; what is left waits a minute for the next run. */
const dropsPerSweep = 5000;

/** Plans letters: one statement for the change's batch, and the messages to enqueue once it is committed. */
export function planLetters(
  db: Database,
  orders: readonly LetterOrder[],
  at: number,
): { readonly statement: Statement; readonly messages: readonly MailMessage[] } {
  const rows = orders.map((order) => ({ ...order, id: newId("letter") }));
  const statement = db.insert(outbox).select(
    sql`SELECT e.value ->> 'id', e.value ->> 'kind', e.value ->> 'workspaceId', e.value ->> 'subjectId', e.value ->> 'version',
      e.value ->> 'recipient', 'queued', NULL, 0, ${at}, NULL, NULL FROM json_each(${JSON.stringify(rows)}) AS e`,
  );
  return { statement, messages: rows.map(({ id, kind, version }) => ({ id, kind, version })) };
}

/** Hands letters to the queue after their commit. Never throws: what fails is logged, and the sweep does it again. */
export async function enqueueLetters(
  env: Env,
  db: Database,
  messages: readonly MailMessage[],
  now: number,
): Promise<void> {
  try {
    for (let from = 0; from < messages.length; from += batchSize) {
      const part = messages.slice(from, from + batchSize);
      await env.MAIL.sendBatch(part.map((body) => ({ body })));
      const ids = JSON.stringify(part.map((message) => message.id));
      const mark = db
        .update(outbox)
        // A consumer that was faster may have put its retry's due time here already.
        .set({ enqueuedAt: sql`max(coalesce(${outbox.enqueuedAt}, 0), ${now})` })
        .where(and(eq(outbox.state, "queued"), sql`${outbox.id} IN (SELECT value FROM json_each(${ids}))`));
      await commit(db, [mark]);
    }
  } catch (error) {
    log("warn", "letters_not_enqueued", { letters: messages.length, cause: describeError(error) });
  }
}

/** Sends letters again that never reached the queue or got lost in it, oldest first, 100 a run. Answers how many. Run by cron. */
export async function sweepOutbox(env: Env, db: Database, now: number): Promise<number> {
  const rows = await hideSql(
    db
      .select({ id: outbox.id, kind: outbox.kind, version: outbox.version })
      .from(outbox)
      .where(
        and(
          sql`${outbox.state} = 'queued'`,
          or(
            and(isNull(outbox.enqueuedAt), lt(outbox.createdAt, now - freshMs)),
            lt(outbox.enqueuedAt, now - overdueMs),
          ),
        ),
      )
      .orderBy(asc(outbox.createdAt))
      .limit(batchSize)
      .all(),
  );
  await enqueueLetters(env, db, rows, now);
  return rows.length;
}

/** Drops letters that are closed: without a workspace after 2 days, a workspace's after 90. Run by cron. */
export async function sweepClosedLetters(db: Database, now: number): Promise<void> {
  const isLoose = and(isNull(outbox.workspaceId), lt(outbox.createdAt, now - looseMs));
  const isOld = and(isNotNull(outbox.workspaceId), lt(outbox.createdAt, now - ownedMs));
  await commit(
    db,
    [isLoose, isOld].map((where) => {
      const some = db
        .select({ id: outbox.id })
        .from(outbox)
        .where(and(where, ne(outbox.state, "queued")))
        .orderBy(asc(outbox.createdAt))
        .limit(dropsPerSweep);
      return db.delete(outbox).where(inArray(outbox.id, some));
    }),
  );
}
