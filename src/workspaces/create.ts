/** Creating a workspace: tenant row, owner, data key and first credentials in one batch, all or nothing. */
import { sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { randomBytes, toBase32 } from "../base/bytes.js";
import { guardThat, type Change, type Database, type Statement } from "../base/database.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import type { PreparedCredential } from "../connections/credential-entry.js";
import { planCredential } from "../connections/credentials.js";
import { members, readSettingsOf, workspaces, WorkspaceSettings } from "../tenancy/model.js";
import type { WorkspaceRow } from "../tenancy/model.js";
import { reservedSlugs } from "../tenancy/slug-schema.js";
import { insertDataKey, newDataKey } from "../vault/data-keys.js";
import { sealingEntry } from "../vault/entries.js";
import type { CreateWorkspace } from "./model.js";

/** A credential of `providers[]`, checked and ready to be sealed. */
export interface NamedCredential {
  readonly name: string;
  readonly prepared: PreparedCredential;
}

/** A workspace about to be made. */
export interface PlannedWorkspace {
  readonly row: WorkspaceRow;
  readonly ownerMemberId: string;
}

/** What a workspace starts with. `seatLimit` is the service's default, 0 for none. */
interface NewWorkspace extends Pick<CreateWorkspace, "name" | "locale" | "timezone"> {
  readonly slug: string;
  readonly seatLimit: number;
}

/** Plans a workspace owned by an account. Run as one batch it is all or nothing; `workspace_exists` for a taken slug or own name. */
export async function planWorkspace(
  db: Database,
  keyring: Keyring,
  accountId: string,
  actor: Actor,
  input: NewWorkspace,
  credentials: readonly NamedCredential[],
): Promise<Change<PlannedWorkspace>> {
  const row = toRow(accountId, actor.at, input);
  const dataKey = await newDataKey(keyring, await sealingEntry(db, keyring), row.id, actor.at);
  const statements: Statement[] = [
    guardOwnName(db, accountId, row.nameKey),
    db.insert(workspaces).values(row),
    db.insert(members).values({
      id: row.ownerMemberId,
      workspaceId: row.id,
      userId: accountId,
      role: "ADMIN",
      createdAt: actor.at,
    }),
    insertDataKey(db, dataKey.row),
    auditRow(db, actor, {
      workspaceId: row.id,
      action: "workspace.created",
      targets: [{ type: "workspace", id: row.id }],
      after: { name: row.name, slug: row.slug, settings: readSettingsOf(row) },
    }),
  ];
  for (const { name, prepared } of credentials) {
    const planned = await planCredential(db, row.id, actor, dataKey.key, prepared, name);
    statements.push(...planned.statements);
  }
  const conflicts = { "workspaces.slug": "workspace_exists" } as const;
  return { statements, value: { row, ownerMemberId: row.ownerMemberId }, conflicts };
}

/** A slug made from a name: its ASCII letters and digits with dashes, or a random one when too little is left. */
export function slugOf(name: string): string {
  const slug = name
    .normalize("NFKD")
    .toLowerCase()
    .replaceAll(/\p{M}/gu, "")
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 40)
    .replaceAll(/^-+|-+$/g, "");
  return slug.length < 2 || reservedSlugs.has(slug) ? withSuffix(slug === "" ? "workspace" : slug) : slug;
}

/** The slug with six random characters, for a second try after a clash. */
export function withSuffix(slug: string): string {
  return `${slug}-${toBase32(randomBytes(4)).slice(0, 6)}`;
}

function toRow(accountId: string, at: number, input: NewWorkspace): WorkspaceRow {
  const given = { locale: input.locale, timezone: input.timezone };
  const { seat_limit: _, ...settings } = WorkspaceSettings.parse(given);
  return {
    id: newId("workspace"),
    slug: input.slug,
    name: input.name,
    nameKey: nameKey(input.name),
    createdBy: accountId,
    ownerMemberId: newId("member"),
    settings: JSON.stringify(settings),
    seatLimit: input.seatLimit,
    livingMembers: 0,
    region: "auto",
    firstRegion: null,
    configEpoch: 1,
    configVersion: 1,
    appliedVersion: 0,
    revision: 1,
    createdAt: at,
    updatedAt: at,
    deletedAt: null,
    purgeState: null,
    purgeStateAt: null,
  };
}

/** One spelling per name: nobody makes a second workspace of a name they own one of. */
export function nameKey(name: string): string {
  return name.normalize("NFKC").toLowerCase();
}

/**
 * A guard before a workspace of this name comes to life for the account: `workspace_exists` when they own a living one of
 * that name. Only they may learn that, so a rename, which an admin may do to another's workspace, is not held to it.
 */
export function guardOwnName(db: Database, accountId: string, name: string): Statement {
  const taken = sql`EXISTS (SELECT 1 FROM members AS m JOIN workspaces AS w ON w.id = m.workspace_id AND w.owner_member_id = m.id
    WHERE m.user_id = ${accountId} AND w.name_key = ${name} AND w.deleted_at IS NULL)`;
  return guardThat(db, sql`NOT ${taken}`, "workspace_exists");
}
