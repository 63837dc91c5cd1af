/** A workspace's change of data key: begun in one batch, and what shows how far it is. */
import { and, asc, count, eq, inArray, or, sql, type SQL } from "drizzle-orm";
import type { Actor, WorkspaceAccess } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, hideSql, type Change, type Database } from "../base/database.js";
import type { Keyring } from "../base/keyring.js";
import { credentials } from "../connections/model.js";
import { apiKeys } from "../keys/model.js";
import { workspaces } from "../tenancy/model.js";
import { insertDataKey, newDataKey } from "../vault/data-keys.js";
import { sealingEntry } from "../vault/entries.js";
import { dataKeyRotations, dataKeys } from "../vault/model.js";
import { webhookSecrets } from "../webhooks/model.js";
import { toVault, type RotationRow, type Vault } from "./model.js";

/**
 * Plans a new data key: it seals from the commit on, and the one before only opens. Refused with `rotation_running` while an
 * earlier change is not done, and with `forbidden` when the caller (or the maker of the key that calls) is the owner no
 * more. Throws `keyring_entry_missing`.
 */
export async function planRotation(
  db: Database,
  keyring: Keyring,
  access: Pick<WorkspaceAccess, "id" | "memberId">,
  actor: Actor,
): Promise<Change<RotationRow>> {
  const { id: workspaceId } = access;
  const dataKey = await newDataKey(keyring, await sealingEntry(db, keyring), workspaceId, actor.at);
  const row: RotationRow = {
    workspaceId,
    dataKeyId: dataKey.row.id,
    state: "re_encrypting",
    total: await countSecrets(db, workspaceId),
    cleanVersion: null,
    waitingUntil: null,
    startedAt: actor.at,
    finishedAt: null,
    lastError: null,
  };
  const isActive = and(eq(dataKeys.workspaceId, workspaceId), eq(dataKeys.state, "active"));
  const isDone = eq(dataKeyRotations.state, "done");
  return {
    statements: [
      guardThat(db, mayRotate(access, actor), "forbidden"),
      db
        .insert(dataKeyRotations)
        .values(row)
        .onConflictDoUpdate({ target: dataKeyRotations.workspaceId, set: row, setWhere: isDone }),
      guardChanged(db, "rotation_running"),
      db.update(dataKeys).set({ state: "retired" }).where(isActive),
      insertDataKey(db, dataKey.row),
      auditRow(db, actor, {
        workspaceId,
        action: "vault.rotation_started",
        targets: [{ type: "data_key", id: dataKey.row.id }],
      }),
    ],
    value: row,
  };
}

/** A workspace's data keys, oldest first, and how far the last change of them is. */
export async function readVault(db: Database, workspaceId: string): Promise<Vault> {
  const ofWorkspace = eq(dataKeys.workspaceId, workspaceId);
  const [keys, rotations, left, signing] = await hideSql(
    db.batch([
      db.select().from(dataKeys).where(ofWorkspace).orderBy(asc(dataKeys.createdAt), asc(dataKeys.id)),
      db.select().from(dataKeyRotations).where(eq(dataKeyRotations.workspaceId, workspaceId)),
      db
        .select({ secrets: countUnder(retiredKeys(workspaceId)) })
        .from(credentials)
        .where(eq(credentials.workspaceId, workspaceId)),
      db.select({ secrets: count() }).from(webhookSecrets).where(isWebhookRetired(workspaceId)),
    ]),
  );
  return toVault(keys, rotations[0], (left[0]?.secrets ?? 0) + (signing[0]?.secrets ?? 0));
}

/** Whether a credential of the workspace has a secret, present or previous, under a retired data key. */
export function namesRetired(workspaceId: string): SQL {
  const retired = retiredKeys(workspaceId);
  const isUnder = or(inArray(credentials.dataKeyId, retired), inArray(credentials.previousDataKeyId, retired));
  return sql`${credentials.workspaceId} = ${workspaceId} AND (${isUnder})`;
}

/** Whether a webhook's signing secret is under a retired data key of the workspace. */
export function isWebhookRetired(workspaceId: string): SQL {
  const isUnder = inArray(webhookSecrets.dataKeyId, retiredKeys(workspaceId));
  return sql`${webhookSecrets.workspaceId} = ${workspaceId} AND ${isUnder}`;
}

async function countSecrets(db: Database, workspaceId: string): Promise<number> {
  const secrets = sql<number>`count(*) + count(${credentials.previousSealed})`;
  const query = db.select({ secrets }).from(credentials).where(eq(credentials.workspaceId, workspaceId));
  const ofWebhooks = db
    .select({ secrets: count() })
    .from(webhookSecrets)
    .where(eq(webhookSecrets.workspaceId, workspaceId));
  const [own, signing] = await hideSql(db.batch([query, ofWebhooks]));
  return (own[0]?.secrets ?? 0) + (signing[0]?.secrets ?? 0);
}

function retiredKeys(workspaceId: string): SQL {
  return sql`(SELECT ${dataKeys.id} FROM ${dataKeys} WHERE ${dataKeys.workspaceId} = ${workspaceId} AND ${dataKeys.state} = 'retired')`;
}

function countUnder(retired: SQL): SQL<number> {
  const present = sql`coalesce(sum(${credentials.dataKeyId} IN ${retired}), 0)`;
  return sql<number>`${present} + coalesce(sum(${credentials.previousDataKeyId} IN ${retired}), 0)`;
}

/** What let the caller in was read before the batch. */
function mayRotate({ id, memberId }: Pick<WorkspaceAccess, "id" | "memberId">, actor: Actor): SQL {
  const owns = sql`EXISTS (SELECT 1 FROM ${workspaces} WHERE ${workspaces.id} = ${id} AND ${workspaces.ownerMemberId} = ${memberId}
    AND ${workspaces.deletedAt} IS NULL)`;
  const stands = sql`EXISTS (SELECT 1 FROM ${apiKeys} WHERE ${apiKeys.workspaceId} = ${id} AND ${apiKeys.id} = ${actor.id}
    AND ${apiKeys.revokedAt} IS NULL)`;
  return actor.type === "key" ? sql`${owns} AND ${stands}` : owns;
}
