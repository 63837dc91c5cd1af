/** What became of each telling, and the way of what is owed to the queue. */
import { and, asc, desc, eq, inArray, lt, lte, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { commit, guardThat, hideSql, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { describeError, log } from "../base/log.js";
import type { Position } from "../http/page.js";
import { webhookDeliveries, webhooks, type DeliveryRow, type WebhookRow } from "./model.js";

/** The platform takes 100 messages a call. */
const batchSize = 100;
const batchesPerSweep = 10;
/** Longer than a message may take from queue to end of its attempt; afterwards it counts as lost. */
export const graceMs = 2 * 60_000;
const keptMs = 30 * 24 * 3_600_000;
const dropsPerSweep = 5_000;

/** Deliveries of a webhook, newest first: `limit + 1` rows after a position. */
export async function listDeliveries(
  db: Database,
  row: Pick<WebhookRow, "workspaceId" | "id">,
  after: Position | null,
  limit: number,
): Promise<DeliveryRow[]> {
  const { createdAt, id, webhookId, workspaceId } = webhookDeliveries;
  const isNext = after === null ? undefined : sql`(${createdAt}, ${id}) < (${after.time}, ${after.id})`;
  const query = db
    .select()
    .from(webhookDeliveries)
    .where(and(eq(workspaceId, row.workspaceId), eq(webhookId, row.id), isNext))
    .orderBy(desc(createdAt), desc(id));
  return await hideSql(query.limit(limit + 1).all());
}

/** A delivery of a webhook. Throws `not_found`. */
export async function findDelivery(
  db: Database,
  row: Pick<WebhookRow, "workspaceId" | "id">,
  id: string,
): Promise<DeliveryRow> {
  const isThis = and(
    eq(webhookDeliveries.workspaceId, row.workspaceId),
    eq(webhookDeliveries.webhookId, row.id),
    eq(webhookDeliveries.id, id),
  );
  const [found] = await hideSql(db.select().from(webhookDeliveries).where(isThis).all());
  if (found === undefined) {
    throw new AppError("not_found");
  }
  return found;
}

/** Plans a message that says nothing but that it is a test, whatever the webhook's events are. May fail with `webhook_disabled`. */
export function planTest(db: Database, actor: Actor, row: WebhookRow): Change<DeliveryRow> {
  const { workspaceId, id: webhookId } = row;
  const delivery: DeliveryRow = {
    id: newId("webhookDelivery"),
    workspaceId,
    webhookId,
    auditSeq: 0,
    type: "webhook.tested",
    createdAt: actor.at,
    ...queuedAt(actor.at),
  };
  const newest = sql<number>`(SELECT max(seq) FROM audit_log WHERE workspace_id = ${workspaceId} AND action = 'webhook.tested')`;
  return {
    statements: [
      guardActive(db, row),
      auditRow(db, actor, {
        workspaceId,
        action: "webhook.tested",
        targets: [{ type: "webhook", id: webhookId }],
      }),
      db.insert(webhookDeliveries).values({ ...delivery, auditSeq: newest }),
    ],
    value: delivery,
  };
}

/** Plans that a delivery is tried anew from its first attempt, with the same `webhook-id`. May fail with `webhook_disabled`. */
export function planRedelivery(
  db: Database,
  actor: Actor,
  row: WebhookRow,
  delivery: DeliveryRow,
): Change<DeliveryRow> {
  const queued = queuedAt(actor.at);
  return {
    statements: [
      guardActive(db, row),
      db.update(webhookDeliveries).set(queued).where(eq(webhookDeliveries.id, delivery.id)),
      auditRow(db, actor, {
        workspaceId: row.workspaceId,
        action: "webhook.redelivered",
        targets: [
          { type: "webhook", id: row.id },
          { type: "webhook_delivery", id: delivery.id },
        ],
        after: { type: delivery.type },
      }),
    ],
    value: { ...delivery, ...queued },
  };
}

/** Hands what a workspace owes to the queue, once its change is committed. Never throws: what fails is logged, and the sweep does it. */
export async function kickWebhooks(env: Env, db: Database, workspaceId: string, now: number): Promise<void> {
  try {
    await enqueueDue(env, db, now, workspaceId);
  } catch (error) {
    log("warn", "webhooks_not_enqueued", { workspace_id: workspaceId, cause: describeError(error) });
  }
}

/** Hands over what never reached the queue or got lost in it, and forgets what is older than 30 days. Run by cron. */
export async function sweepWebhooks(env: Env, db: Database, now: number): Promise<void> {
  for (let batch = 0; batch < batchesPerSweep; batch += 1) {
    if ((await enqueueDue(env, db, now, null)) < batchSize) {
      break;
    }
  }
  const old = db
    .select({ id: webhookDeliveries.id })
    .from(webhookDeliveries)
    .where(lt(webhookDeliveries.createdAt, now - keptMs))
    .limit(dropsPerSweep);
  await commit(db, [db.delete(webhookDeliveries).where(inArray(webhookDeliveries.id, old))]);
}

async function enqueueDue(env: Env, db: Database, now: number, workspaceId: string | null): Promise<number> {
  const isHere = workspaceId === null ? undefined : eq(webhookDeliveries.workspaceId, workspaceId);
  // A literal, not a parameter: the indexes of open ones are found by it.
  const isDue = and(isHere, sql`state = 'queued'`, lte(webhookDeliveries.lookAt, now));
  const rows = await hideSql(
    db
      .select({ id: webhookDeliveries.id })
      .from(webhookDeliveries)
      .where(isDue)
      .orderBy(asc(webhookDeliveries.lookAt))
      .limit(batchSize)
      .all(),
  );
  if (rows.length === 0) {
    return 0;
  }
  await env.WEBHOOKS.sendBatch(rows.map(({ id }) => ({ body: { id } })));
  const ids = JSON.stringify(rows.map(({ id }) => id));
  // A consumer that was faster may have put a later time here already.
  const lookAt = sql`max(${webhookDeliveries.lookAt}, ${now + graceMs})`;
  const isOne = sql`${webhookDeliveries.id} IN (SELECT value FROM json_each(${ids})) AND state = 'queued'`;
  await commit(db, [db.update(webhookDeliveries).set({ lookAt }).where(isOne)]);
  return rows.length;
}

function queuedAt(at: number) {
  return {
    state: "queued",
    attempts: 0,
    status: null,
    error: null,
    tookMs: null,
    dueAt: at,
    lookAt: at,
    attemptedAt: null,
  } as const;
}

function guardActive(db: Database, row: WebhookRow) {
  const isActive = sql`EXISTS (SELECT 1 FROM ${webhooks} WHERE ${webhooks.workspaceId} = ${row.workspaceId} AND ${webhooks.id} = ${row.id}
    AND ${webhooks.state} = 'active')`;
  return guardThat(db, isActive, "webhook_disabled");
}
