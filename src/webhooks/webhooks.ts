/** Webhooks: made, listed, changed, rotated, tried and deleted. No function here gives a stored secret back. */
import { and, asc, desc, eq, gt, isNotNull, isNull, or, sql, type SQL } from "drizzle-orm";
import type { Actor, Principal } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, hideSql, type Change, type Database, type Statement } from "../base/database.js";
import { AppError, invalidField } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { checkOutboundUrl, type OutboundRules } from "../base/outbound.js";
import type { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import type { Position } from "../http/page.js";
import type { DataKey } from "../vault/data-keys.js";
import { readEvents, webhooks, webhookSecrets, type WebhookRow, type WebhookSecretRow } from "./model.js";
import { makeSecret } from "./secrets.js";
import type { CreateWebhook, UpdateWebhook } from "./webhook-schema.js";

/** A webhook with its secrets. */
export interface WebhookRecord {
  readonly row: WebhookRow;
  readonly secrets: readonly WebhookSecretRow[];
}

/** A webhook whose secret is to be shown. */
export interface ShownWebhook extends WebhookRecord {
  readonly secret: Secret;
}

/** Each of them is told each change, in the change's own transaction. */
const mostWebhooks = 20;

/** What an address is measured against. */
export function webhookRules(settings: Settings): OutboundRules {
  return { allow: settings.outboundAllow.join(","), ownHosts: [new URL(settings.publicUrl).host] };
}

/** Throws `forbidden` for a key or token that may not read the audit log: a webhook is told what stands in it. */
export function refuseUnlessReader(principal: Principal | null): void {
  if (principal !== null && principal.kind !== "session" && !principal.scopes.includes("audit:read")) {
    throw new AppError("forbidden", {
      detail: "This needs audit:read too, because a webhook is told what the audit log says.",
    });
  }
}

/** Throws `validation_failed` for an address that is not to be called. */
export function checkWebhookUrl(rules: OutboundRules, url: string): string {
  const checked = checkOutboundUrl(url, rules);
  if ("error" in checked) {
    throw invalidField("/url", checked.error);
  }
  return checked.url.href;
}

/** Plans a webhook under a data key. `url` is checked. May fail with `limit_reached`. */
export async function planCreateWebhook(
  db: Database,
  actor: Actor,
  dataKey: DataKey,
  url: string,
  input: CreateWebhook,
): Promise<Change<ShownWebhook>> {
  const { workspaceId } = dataKey;
  const row: WebhookRow = {
    id: newId("webhook"),
    workspaceId,
    url,
    description: input.description ?? "",
    events: JSON.stringify([...new Set(input.events)]),
    state: "active",
    reason: null,
    failingSince: null,
    revision: 1,
    createdAt: actor.at,
    updatedAt: actor.at,
  };
  const { row: secretRow, secret } = await makeSecret(dataKey, row.id, actor.at);
  const owned = sql`(SELECT count(*) FROM ${webhooks} WHERE ${webhooks.workspaceId} = ${workspaceId})`;
  return {
    statements: [
      guardThat(db, sql`${owned} < ${mostWebhooks}`, "limit_reached"),
      // Told before it stands: nobody needs to hear of their own beginning.
      auditRow(db, actor, { ...target(row), action: "webhook.created", after: publicFields(row) }),
      db.insert(webhooks).values(row),
      db.insert(webhookSecrets).values(secretRow),
    ],
    value: { row, secrets: [secretRow], secret },
  };
}

/** A webhook of the workspace. Throws `not_found`. */
export async function findWebhook(db: Database, workspaceId: string, id: string): Promise<WebhookRecord> {
  const [rows, secrets] = await hideSql(
    db.batch([
      db.select().from(webhooks).where(isWebhook(workspaceId, id)),
      db
        .select()
        .from(webhookSecrets)
        .where(and(eq(webhookSecrets.workspaceId, workspaceId), eq(webhookSecrets.webhookId, id)))
        .orderBy(asc(webhookSecrets.id)),
    ]),
  );
  const [row] = rows;
  if (row === undefined) {
    throw new AppError("not_found");
  }
  return { row, secrets };
}

/** Webhooks of the workspace, newest first: `limit + 1` rows after a position. */
export async function listWebhooks(
  db: Database,
  workspaceId: string,
  after: Position | null,
  limit: number,
): Promise<WebhookRecord[]> {
  const isNext =
    after === null ? undefined : sql`(${webhooks.createdAt}, ${webhooks.id}) < (${after.time}, ${after.id})`;
  const [rows, secrets] = await hideSql(
    db.batch([
      db
        .select()
        .from(webhooks)
        .where(and(eq(webhooks.workspaceId, workspaceId), isNext))
        .orderBy(desc(webhooks.createdAt), desc(webhooks.id))
        .limit(limit + 1),
      db.select().from(webhookSecrets).where(eq(webhookSecrets.workspaceId, workspaceId)),
    ]),
  );
  const byWebhook = Map.groupBy(secrets, (secret) => secret.webhookId);
  return rows.map((row) => ({ row, secrets: byWebhook.get(row.id) ?? [] }));
}

/** Plans a change; what it leaves out stays, and one that changes nothing writes nothing. `url` is checked. May fail with `precondition_failed` or `conflict`. */
export function planUpdateWebhook(
  db: Database,
  actor: Actor,
  found: WebhookRecord,
  input: UpdateWebhook,
  ifMatch: number | null,
): Change<WebhookRecord> {
  const { row, secrets } = found;
  const next = { ...row, ...mergeFields(row, input), ...mergeState(row, input.enabled) };
  const guard = guardRevision(db, row, ifMatch);
  if (JSON.stringify(next) === JSON.stringify(row)) {
    return { statements: [guard], value: found };
  }
  const { url, description, events, state, reason, failingSince } = next;
  const changed = { ...next, revision: row.revision + 1, updatedAt: actor.at };
  return {
    statements: [
      guard,
      db
        .update(webhooks)
        .set({ url, description, events, state, reason, failingSince, revision: changed.revision, updatedAt: actor.at })
        .where(and(isWebhook(row.workspaceId, row.id), eq(webhooks.revision, row.revision))),
      guardChanged(db, "conflict"),
      auditRow(db, actor, {
        ...target(row),
        action: "webhook.updated",
        before: publicFields(row),
        after: publicFields(changed),
      }),
    ],
    value: { row: changed, secrets },
  };
}

/** Plans another secret. The present one signs along for `overlapSeconds`; what was left of an earlier rotation ends. May fail with `precondition_failed` or `conflict`. */
export async function planRotateWebhook(
  db: Database,
  actor: Actor,
  dataKey: DataKey,
  found: WebhookRecord,
  overlapSeconds: number,
  ifMatch: number | null,
): Promise<Change<ShownWebhook>> {
  const { row } = found;
  const { row: secretRow, secret } = await makeSecret(dataKey, row.id, actor.at);
  const until = actor.at + overlapSeconds * 1000;
  const isOwn = and(eq(webhookSecrets.workspaceId, row.workspaceId), eq(webhookSecrets.webhookId, row.id));
  const present = and(isOwn, isNull(webhookSecrets.until));
  const changed = { ...row, revision: row.revision + 1, updatedAt: actor.at };
  return {
    statements: [
      guardRevision(db, row, ifMatch),
      db
        .update(webhooks)
        .set({ revision: changed.revision, updatedAt: actor.at })
        .where(and(isWebhook(row.workspaceId, row.id), eq(webhooks.revision, row.revision))),
      guardChanged(db, "conflict"),
      db.delete(webhookSecrets).where(and(isOwn, isNotNull(webhookSecrets.until))),
      overlapSeconds === 0
        ? db.delete(webhookSecrets).where(present)
        : db.update(webhookSecrets).set({ until }).where(present),
      db.insert(webhookSecrets).values(secretRow),
      auditRow(db, actor, {
        ...target(row),
        action: "webhook.secret_rotated",
        after: { overlap_seconds: overlapSeconds },
      }),
    ],
    value: {
      row: changed,
      secrets: [...found.secrets.filter((one) => one.until === null).map((one) => ({ ...one, until })), secretRow],
      secret,
    },
  };
}

/** Plans the end of a webhook, with its secrets and its deliveries. May fail with `precondition_failed` or `not_found`. */
export function planDeleteWebhook(db: Database, actor: Actor, row: WebhookRow, ifMatch: number | null): Change<null> {
  const isThis = isWebhook(row.workspaceId, row.id);
  return {
    statements: [
      db.delete(webhooks).where(ifMatch === null ? isThis : and(isThis, eq(webhooks.revision, ifMatch))),
      guardChanged(db, ifMatch === null ? "not_found" : "precondition_failed"),
      auditRow(db, actor, { ...target(row), action: "webhook.deleted", before: publicFields(row) }),
    ],
    value: null,
  };
}

/** What still signs at this moment. */
export function isSigning(now: number): SQL | undefined {
  return or(isNull(webhookSecrets.until), gt(webhookSecrets.until, now));
}

/** What the audit log may tell of a webhook: of its address only the origin, since a path may be a secret. */
export function publicFields(row: WebhookRow): Readonly<Record<string, unknown>> {
  const { description, state, reason } = row;
  return { origin: new URL(row.url).origin, description, events: readEvents(row), status: state, reason };
}

function target(row: WebhookRow) {
  return { workspaceId: row.workspaceId, targets: [{ type: "webhook", id: row.id }] };
}

function isWebhook(workspaceId: string, id: string): SQL | undefined {
  return and(eq(webhooks.workspaceId, workspaceId), eq(webhooks.id, id));
}

function guardRevision(db: Database, row: WebhookRow, ifMatch: number | null): Statement {
  const expected = ifMatch ?? row.revision;
  const holds = sql`EXISTS (SELECT 1 FROM ${webhooks} WHERE ${isWebhook(row.workspaceId, row.id)} AND ${webhooks.revision} = ${expected})`;
  return guardThat(db, holds, ifMatch === null ? "conflict" : "precondition_failed");
}

function mergeFields(row: WebhookRow, input: UpdateWebhook): Pick<WebhookRow, "url" | "description" | "events"> {
  return {
    url: input.url ?? row.url,
    description: input.description ?? row.description,
    events: input.events === undefined ? row.events : JSON.stringify([...new Set(input.events)]),
  };
}

function mergeState(
  row: WebhookRow,
  enabled: boolean | undefined,
): Pick<WebhookRow, "state" | "reason" | "failingSince"> {
  if (enabled === undefined || enabled === (row.state === "active")) {
    return { state: row.state, reason: row.reason, failingSince: row.failingSince };
  }
  return enabled
    ? { state: "active", reason: null, failingSince: null }
    : { state: "disabled", reason: "by_hand", failingSince: row.failingSince };
}
