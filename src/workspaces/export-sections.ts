/** What an export holds, section by section: the public view of every row. No secret, digest, sealed value or fingerprint has a field here. */
import { and, asc, eq, gt, sql } from "drizzle-orm";
import { auditLog, toAuditEntry } from "../audit/model.js";
import { hideSql, type Database } from "../base/database.js";
import { toCredential } from "../connections/credential-schema.js";
import { credentials, poolInstances, pools } from "../connections/model.js";
import { toPool } from "../connections/pool-schema.js";
import { users } from "../identity/model.js";
import { apiKeys, toApiKey } from "../keys/model.js";
import { outbox } from "../mail/model.js";
import { defaultModels, models } from "../models/model.js";
import { toStoredModel } from "../models/model-schema.js";
import { invites, members, toWorkspace, workspaces } from "../tenancy/model.js";
import { readToolProviders, readTools } from "./export-tools.js";
import { readWebhooks } from "./export-webhooks.js";
import { readUsage } from "./export-usage.js";
import { ownershipTransfers } from "./model.js";

/** Rows a page: one read from the record, and one piece of the stream. */
const pageRows = 200;

/** One row of a section, with the place to go on from. */
export interface ExportRow {
  readonly cursor: string;
  readonly data: object;
}

/** A section: its name, and its rows after a place (`""` for the first), in an order that rows that come and go don't shift. */
export interface ExportSection {
  readonly name: string;
  read(after: string): Promise<readonly ExportRow[]>;
}

/** Whether a page is its section's last. */
export function isLastPage(rows: readonly ExportRow[]): boolean {
  return rows.length < pageRows;
}

/** Every section of a workspace's export, in order. `now` is epoch milliseconds. */
export function exportSections(db: Database, workspaceId: string, now: number): readonly ExportSection[] {
  return [
    { name: "workspace", read: (after) => readWorkspace(db, workspaceId, after) },
    { name: "members", read: (after) => readMembers(db, workspaceId, after) },
    { name: "ownership_transfers", read: (after) => readTransfers(db, workspaceId, after) },
    { name: "invites", read: (after) => readInvites(db, workspaceId, after) },
    { name: "letters", read: (after) => readLetters(db, workspaceId, after) },
    { name: "api_keys", read: (after) => readKeys(db, workspaceId, after, now) },
    { name: "credentials", read: (after) => readCredentials(db, workspaceId, after, now) },
    { name: "models", read: (after) => readModels(db, workspaceId, after) },
    { name: "pools", read: (after) => readPools(db, workspaceId, after) },
    { name: "default_models", read: (after) => readDefaultModels(db, workspaceId, after) },
    { name: "tool_providers", read: (after) => readToolProviders(db, workspaceId, after, pageRows) },
    { name: "tools", read: (after) => readTools(db, workspaceId, after, pageRows) },
    { name: "usage", read: (after) => readUsage(db, workspaceId, after, pageRows) },
    { name: "webhooks", read: (after) => readWebhooks(db, workspaceId, after, pageRows, now) },
    { name: "audit_log", read: (after) => readAuditLog(db, workspaceId, after) },
  ];
}

async function readWorkspace(db: Database, workspaceId: string, after: string): Promise<ExportRow[]> {
  const isThis = and(eq(workspaces.id, workspaceId), gt(workspaces.id, after));
  const rows = await hideSql(db.select().from(workspaces).where(isThis).all());
  return rows.map((row) => {
    const data = toWorkspace(row, "OWNER", row.livingMembers);
    return { cursor: row.id, data: { ...data, owner_member_id: row.ownerMemberId } };
  });
}

async function readMembers(db: Database, workspaceId: string, after: string): Promise<ExportRow[]> {
  const query = db
    .select({ row: members, name: users.name, email: users.email, ownerId: workspaces.ownerMemberId })
    .from(members)
    .innerJoin(users, eq(users.id, members.userId))
    .innerJoin(workspaces, eq(workspaces.id, members.workspaceId))
    .where(and(eq(members.workspaceId, workspaceId), gt(members.id, after)))
    .orderBy(asc(members.id));
  return (await hideSql(query.limit(pageRows).all())).map(({ row, name, email, ownerId }) => ({
    cursor: row.id,
    data: {
      id: row.id,
      account: { id: row.userId, name, email },
      role: row.id === ownerId ? "OWNER" : row.role,
      joined_at: toIso(row.createdAt),
      last_active_at: toIso(row.lastActiveAt),
      removed_at: toIso(row.removedAt),
    },
  }));
}

async function readTransfers(db: Database, workspaceId: string, after: string): Promise<ExportRow[]> {
  const query = db
    .select()
    .from(ownershipTransfers)
    .where(and(eq(ownershipTransfers.workspaceId, workspaceId), gt(ownershipTransfers.id, after)))
    .orderBy(asc(ownershipTransfers.id));
  return (await hideSql(query.limit(pageRows).all())).map((row) => ({
    cursor: row.id,
    data: {
      id: row.id,
      from_member_id: row.fromMemberId,
      to_member_id: row.toMemberId,
      state: row.state,
      created_at: toIso(row.createdAt),
      expires_at: toIso(row.expiresAt),
      closed_at: toIso(row.closedAt),
    },
  }));
}

async function readInvites(db: Database, workspaceId: string, after: string): Promise<ExportRow[]> {
  const query = db
    .select()
    .from(invites)
    .where(and(eq(invites.workspaceId, workspaceId), gt(invites.id, after)))
    .orderBy(asc(invites.id));
  return (await hideSql(query.limit(pageRows).all())).map((row) => ({
    cursor: row.id,
    data: {
      id: row.id,
      email: row.email,
      role: row.role,
      locale: row.locale,
      state: row.state,
      invited_by: row.invitedBy,
      accepted_by: row.acceptedBy,
      created_at: toIso(row.createdAt),
      expires_at: toIso(row.expiresAt),
      closed_at: toIso(row.closedAt),
    },
  }));
}

async function readLetters(db: Database, workspaceId: string, after: string): Promise<ExportRow[]> {
  const query = db
    .select()
    .from(outbox)
    .where(and(eq(outbox.workspaceId, workspaceId), gt(outbox.id, after)))
    .orderBy(asc(outbox.id));
  return (await hideSql(query.limit(pageRows).all())).map((row) => ({
    cursor: row.id,
    data: {
      id: row.id,
      kind: row.kind,
      subject_id: row.subjectId,
      recipient: row.recipient,
      state: row.state,
      reason: row.reason,
      attempts: row.attempts,
      created_at: toIso(row.createdAt),
      sent_at: toIso(row.sentAt),
    },
  }));
}

async function readKeys(db: Database, workspaceId: string, after: string, now: number): Promise<ExportRow[]> {
  const query = db
    .select({ row: apiKeys, appliedVersion: workspaces.appliedVersion })
    .from(apiKeys)
    .innerJoin(workspaces, eq(workspaces.id, apiKeys.workspaceId))
    .where(and(eq(apiKeys.workspaceId, workspaceId), gt(apiKeys.id, after)))
    .orderBy(asc(apiKeys.id));
  return (await hideSql(query.limit(pageRows).all())).map(({ row, appliedVersion }) => ({
    cursor: row.id,
    data: toApiKey(row, now, appliedVersion),
  }));
}

async function readCredentials(db: Database, workspaceId: string, after: string, now: number): Promise<ExportRow[]> {
  const query = db
    .select()
    .from(credentials)
    .where(and(eq(credentials.workspaceId, workspaceId), gt(credentials.id, after)))
    .orderBy(asc(credentials.id));
  const rows = await hideSql(query.limit(pageRows).all());
  return rows.map((row) => ({ cursor: row.id, data: toCredential(row, now) }));
}

/** What differs from the catalogue: custom models and changed ones. A cursor holds provider and model; neither has a space. */
async function readModels(db: Database, workspaceId: string, after: string): Promise<ExportRow[]> {
  const [provider = "", model = ""] = after.split(" ");
  const isNext = sql`(${models.providerName}, ${models.model}) > (${provider}, ${model})`;
  const query = db
    .select()
    .from(models)
    .where(and(eq(models.workspaceId, workspaceId), isNext))
    .orderBy(asc(models.providerName), asc(models.model));
  return (await hideSql(query.limit(pageRows).all())).map((row) => ({
    cursor: `${row.providerName} ${row.model}`,
    data: toStoredModel(row),
  }));
}

/** At most one a type: all on one page. */
async function readDefaultModels(db: Database, workspaceId: string, after: string): Promise<ExportRow[]> {
  const query = db
    .select()
    .from(defaultModels)
    .where(and(eq(defaultModels.workspaceId, workspaceId), gt(defaultModels.type, sql`${after}`)))
    .orderBy(asc(defaultModels.type));
  return (await hideSql(query.limit(pageRows).all())).map((row) => ({
    cursor: row.type,
    data: { type: row.type, provider_name: row.providerName, model: row.model, pool_id: row.poolId },
  }));
}

async function readPools(db: Database, workspaceId: string, after: string): Promise<ExportRow[]> {
  const isNext = and(eq(pools.workspaceId, workspaceId), gt(pools.id, after));
  const page = db.select({ id: pools.id }).from(pools).where(isNext).orderBy(asc(pools.id)).limit(pageRows).as("page");
  // One transaction: a pool is never shown with another moment's instances.
  const [poolRows, instanceRows] = await hideSql(
    db.batch([
      db.select().from(pools).where(isNext).orderBy(asc(pools.id)).limit(pageRows),
      db
        .select({ row: poolInstances })
        .from(poolInstances)
        .innerJoin(page, eq(page.id, poolInstances.poolId))
        .where(eq(poolInstances.workspaceId, workspaceId))
        .orderBy(asc(poolInstances.poolId), asc(poolInstances.position)),
    ]),
  );
  const byPool = Map.groupBy(
    instanceRows.map(({ row }) => row),
    (row) => row.poolId,
  );
  return poolRows.map((pool) => ({ cursor: pool.id, data: toPool({ pool, instances: byPool.get(pool.id) ?? [] }) }));
}

async function readAuditLog(db: Database, workspaceId: string, after: string): Promise<ExportRow[]> {
  const query = db
    .select()
    .from(auditLog)
    .where(and(eq(auditLog.workspaceId, workspaceId), gt(auditLog.seq, Number(after))))
    .orderBy(asc(auditLog.seq));
  const rows = await hideSql(query.limit(pageRows).all());
  return rows.map((row) => ({ cursor: String(row.seq), data: toAuditEntry(row) }));
}

function toIso(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}
