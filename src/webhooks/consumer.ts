/** The webhook queue's consumer: an attempt for each message, whose end stands in the delivery's row. A message that comes twice finds the row claimed, or done. */
import { and, asc, eq, isNotNull, isNull, lte, sql } from "drizzle-orm";
import { auditLog } from "../audit/model.js";
import { commit, hideSql, openDatabase, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import { fetchOutbound, OutboundError } from "../base/outbound.js";
import type { Secret } from "../base/secret.js";
import { requireSettings } from "../base/settings.js";
import { loadDataKey } from "../vault/data-keys.js";
import { writeCheckpoint } from "./checkpoints.js";
import { graceMs } from "./deliveries.js";
import { planDisable } from "./disable.js";
import { writeMessage } from "./message.js";
import {
  checkpointEvent,
  WebhookMessage,
  webhookDeliveries,
  webhooks,
  webhookSecrets,
  type DeliveryError,
  type DeliveryRow,
  type WebhookRow,
} from "./model.js";
import { openWebhookSecret, signMessage } from "./secrets.js";
import { isSigning, webhookRules } from "./webhooks.js";

/** Sends one request and gives the answer's status. Throws `OutboundError`. */
export type Send = (env: Env, request: Request) => Promise<number>;

/** What an attempt came to. */
interface Outcome {
  readonly status: number | null;
  /** Null for success. */
  readonly error: DeliveryError | null;
  readonly tookMs: number | null;
}

interface Desk {
  readonly env: Env;
  readonly db: Database;
  readonly send: Send;
}

/** Seconds after each failed attempt, about 20 hours in all. */
const delays = [5, 60, 300, 1_800, 7_200, 21_600, 39_600] as const;
/** The queue takes no more. */
const longestDelay = 43_200;
/** Up to a tenth more, so that what failed together does not come back together. */
const jitter = 0.1;
const patienceMs = 15_000;
const maxFailingMs = 5 * 24 * 3_600_000;
const retrySeconds = 15;
/** Clocks of queue and record may differ a little. */
const slackMs = 1_000;

/** Consumes a batch of the webhook queue, or of its dead-letter queue by that one's name (`…-dead`). Never throws: a failure is that message's retry. */
export async function consumeWebhooks(batch: MessageBatch, env: Env, send: Send = sendOutbound): Promise<void> {
  const desk = { env, db: openDatabase(env.DB), send };
  const isDead = batch.queue.endsWith("-dead");
  await Promise.all(batch.messages.map((message) => consume(desk, message, isDead)));
}

async function consume(desk: Desk, message: Message, isDead: boolean): Promise<void> {
  const parsed = WebhookMessage.safeParse(message.body);
  if (!parsed.success) {
    log("error", "webhook_message_unreadable", { message_id: message.id });
    message.ack();
    return;
  }
  try {
    const delaySeconds = isDead ? await bury(desk, parsed.data.id) : await deliver(desk, parsed.data.id);
    if (delaySeconds === null) {
      message.ack();
    } else {
      message.retry({ delaySeconds });
    }
  } catch (error) {
    log("error", "webhook_attempt_failed", { delivery_id: parsed.data.id, cause: describeError(error) });
    message.retry({ delaySeconds: retrySeconds });
  }
}

/** One attempt. Answers after how many seconds there is another; null for none, or none by this message. */
async function deliver(desk: Desk, id: string): Promise<number | null> {
  const { db, env, send } = desk;
  const found = await claim(db, id, Date.now());
  if (found === null) {
    return null;
  }
  const { delivery, webhook } = found;
  const told = await write(env, found);
  if (webhook.state !== "active" || told === null) {
    const error = told === null ? "event_gone" : "disabled";
    await commit(db, [closeDelivery(db, delivery, "failed", { status: null, error, tookMs: null })]);
    return null;
  }
  const secrets = await openSecrets(desk, webhook, Date.now());
  if (secrets === null) {
    const outcome = { status: null, error: "undecryptable", tookMs: null } as const;
    await commit(db, [
      closeDelivery(db, delivery, "failed", outcome),
      ...planDisable(db, webhook, "undecryptable", Date.now()),
    ]);
    return null;
  }
  const sentAt = Date.now();
  const request = await writeRequest(webhook, told, secrets, sentAt);
  const outcome = await attempt(env, send, request, sentAt);
  return await note(db, webhook, delivery, outcome, Date.now());
}

interface Claimed {
  readonly delivery: DeliveryRow;
  readonly webhook: WebhookRow;
  readonly event: typeof auditLog.$inferSelect | null;
}

/** Takes a delivery that is due; null when there is nothing (more) to do, or another message does it. */
async function claim(db: Database, id: string, now: number): Promise<Claimed | null> {
  const query = db
    .select({ delivery: webhookDeliveries, webhook: webhooks, event: auditLog })
    .from(webhookDeliveries)
    .innerJoin(
      webhooks,
      and(eq(webhooks.workspaceId, webhookDeliveries.workspaceId), eq(webhooks.id, webhookDeliveries.webhookId)),
    )
    .leftJoin(
      auditLog,
      and(eq(auditLog.seq, webhookDeliveries.auditSeq), eq(auditLog.workspaceId, webhookDeliveries.workspaceId)),
    )
    .where(eq(webhookDeliveries.id, id));
  const [found] = await hideSql(query.all());
  if (found === undefined || found.delivery.state !== "queued" || found.delivery.dueAt > now + slackMs) {
    return null;
  }
  const { attempts } = found.delivery;
  const isAsRead = and(
    eq(webhookDeliveries.id, id),
    eq(webhookDeliveries.state, "queued"),
    eq(webhookDeliveries.attempts, attempts),
    lte(webhookDeliveries.dueAt, now + slackMs),
  );
  const taken = { attempts: attempts + 1, attemptedAt: now, dueAt: now + graceMs, lookAt: now + graceMs };
  const { meta } = await hideSql(db.update(webhookDeliveries).set(taken).where(isAsRead).run());
  return meta.changes === 0 ? null : { ...found, delivery: { ...found.delivery, ...taken } };
}

/** The secrets that sign now, the present one first; null when one does not open. */
async function openSecrets({ db, env }: Desk, webhook: WebhookRow, now: number): Promise<Secret[] | null> {
  const isOwn = and(eq(webhookSecrets.workspaceId, webhook.workspaceId), eq(webhookSecrets.webhookId, webhook.id));
  const query = db
    .select()
    .from(webhookSecrets)
    .where(and(isOwn, isSigning(now)));
  const rows = await hideSql(query.orderBy(asc(sql`until IS NOT NULL`)).all());
  const { keyring } = requireSettings(env);
  try {
    const opened = await Promise.all(
      rows.map(async (row) => openWebhookSecret(await loadDataKey(db, keyring, row.workspaceId, row.dataKeyId), row)),
    );
    return opened.length === 0 ? null : opened;
  } catch (error) {
    if (error instanceof AppError && error.code === "undecryptable") {
      return null;
    }
    throw error;
  }
}

interface Told {
  /** What a receiver knows the event by. */
  readonly id: string;
  readonly body: string;
}

/** What is to be said; null when what it was to be written from is gone. */
async function write(env: Env, { delivery, event }: Claimed): Promise<Told | null> {
  if (delivery.type === checkpointEvent) {
    const body = await writeCheckpoint(env, delivery);
    return body === null ? null : { id: delivery.id, body };
  }
  return event === null ? null : { id: event.id, body: writeMessage(event) };
}

async function writeRequest(
  webhook: WebhookRow,
  { id, body }: Told,
  secrets: readonly Secret[],
  now: number,
): Promise<Request> {
  const timestamp = Math.floor(now / 1000);
  return new Request(webhook.url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "user-agent": "Gatehouse-Webhooks/1",
      "webhook-id": id,
      "webhook-timestamp": String(timestamp),
      "webhook-signature": await signMessage(secrets, id, timestamp, body),
    },
    body,
  });
}

async function attempt(env: Env, send: Send, request: Request, startedAt: number): Promise<Outcome> {
  try {
    const status = await send(env, request);
    const error = status >= 200 && status < 300 ? null : "status";
    return { status, error, tookMs: Date.now() - startedAt };
  } catch (error) {
    const failure = error instanceof OutboundError && error.failure !== "aborted" ? error.failure : "internal";
    return { status: null, error: failure, tookMs: Date.now() - startedAt };
  }
}

/** What the answer says is nobody's business here, so its body is let go unread. */
async function sendOutbound(env: Env, request: Request): Promise<number> {
  const rules = webhookRules(requireSettings(env));
  const response = await fetchOutbound(request, { ...rules, timeoutMs: patienceMs });
  await response.body?.cancel();
  return response.status;
}

/** Writes the attempt down. Answers the seconds to the next one, or null when it was the last. */
async function note(
  db: Database,
  webhook: WebhookRow,
  delivery: DeliveryRow,
  outcome: Outcome,
  now: number,
): Promise<number | null> {
  const isThis = and(eq(webhooks.workspaceId, webhook.workspaceId), eq(webhooks.id, webhook.id));
  if (outcome.error === null) {
    const isFailing = and(isThis, isNotNull(webhooks.failingSince));
    await commit(db, [
      closeDelivery(db, delivery, "delivered", outcome),
      db.update(webhooks).set({ failingSince: null }).where(isFailing),
    ]);
    return null;
  }
  const failing = db
    .update(webhooks)
    .set({ failingSince: now })
    .where(and(isThis, isNull(webhooks.failingSince)));
  const delay = delays[delivery.attempts - 1];
  if (outcome.status === 410) {
    await commit(db, [
      closeDelivery(db, delivery, "failed", outcome),
      failing,
      ...planDisable(db, webhook, "gone", now),
    ]);
    return null;
  }
  if (delay === undefined) {
    const isTooLong = webhook.failingSince !== null && webhook.failingSince <= now - maxFailingMs;
    const ends = isTooLong ? planDisable(db, webhook, "failing", now) : [];
    await commit(db, [closeDelivery(db, delivery, "failed", outcome), failing, ...ends]);
    return null;
  }
  const delaySeconds = Math.min(longestDelay, Math.ceil(delay * (1 + Math.random() * jitter)));
  const dueAt = now + delaySeconds * 1000;
  const next = { ...outcome, dueAt, lookAt: dueAt + graceMs };
  await commit(db, [db.update(webhookDeliveries).set(next).where(isClaimed(delivery)), failing]);
  log("warn", "webhook_delayed", { delivery_id: delivery.id, error: outcome.error, status: outcome.status });
  return delaySeconds;
}

/** A message whose retries are used up by failures inside the service. */
async function bury({ db }: Desk, id: string): Promise<null> {
  const isOpen = and(eq(webhookDeliveries.id, id), eq(webhookDeliveries.state, "queued"));
  const error = sql`coalesce(${webhookDeliveries.error}, 'internal')`;
  await commit(db, [db.update(webhookDeliveries).set({ state: "failed", error }).where(isOpen)]);
  log("warn", "webhook_delivery_dead", { delivery_id: id });
  return null;
}

function closeDelivery(db: Database, delivery: DeliveryRow, state: "delivered" | "failed", outcome: Outcome) {
  return db
    .update(webhookDeliveries)
    .set({ ...outcome, state })
    .where(isClaimed(delivery));
}

/** Somebody who asked for another delivery meanwhile began a row anew. */
function isClaimed(delivery: DeliveryRow) {
  return and(
    eq(webhookDeliveries.id, delivery.id),
    eq(webhookDeliveries.state, "queued"),
    eq(webhookDeliveries.attempts, delivery.attempts),
  );
}
