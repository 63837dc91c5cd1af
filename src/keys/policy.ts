/** What a key may be given: no scope its maker lacks, no life beyond the workspace's policy; and what must still stand at the commit. */
import { and, eq, sql } from "drizzle-orm";
import type { Role, Scope } from "../access/permissions.js";
import type { Actor } from "../access/principal.js";
import { guardThat, hideSql, type Database, type Statement } from "../base/database.js";
import { AppError, invalidField, type FieldError } from "../base/errors.js";
import { members, workspaces, WorkspaceSettings, type Region } from "../tenancy/model.js";
import { apiKeys } from "./model.js";

const dayMs = 24 * 3_600_000;
const usualDays = 90;

/** What a MEMBER's own keys may do, where the workspace lets members make any. */
const memberScopes: readonly Scope[] = ["models:invoke", "tools:invoke"];

/** What the workspace says about keys that a member makes now. */
export interface MakerPolicy {
  readonly role: Role;
  readonly region: Region;
  /** Null for no limit. */
  readonly maxDays: number | null;
  /** Whether a MEMBER may make keys. */
  readonly memberKeys: boolean;
  /** The settings as they were read, for `guardPolicy`. */
  readonly settings: string;
}

/** Reads a maker's place and the workspace's key policy. Throws `forbidden` for who is no member any more. */
export async function readPolicy(db: Database, workspaceId: string, memberId: string): Promise<MakerPolicy> {
  const [row] = await hideSql(
    db
      .select({
        region: workspaces.region,
        settings: workspaces.settings,
        owner: workspaces.ownerMemberId,
        granted: members.role,
      })
      .from(members)
      .innerJoin(workspaces, eq(workspaces.id, members.workspaceId))
      .where(and(eq(members.workspaceId, workspaceId), eq(members.id, memberId)))
      .all(),
  );
  if (row === undefined) {
    throw new AppError("forbidden");
  }
  const { key_policy: policy } = WorkspaceSettings.parse(JSON.parse(row.settings));
  return {
    role: memberId === row.owner ? "OWNER" : row.granted,
    region: row.region,
    maxDays: policy.max_days,
    memberKeys: policy.member_keys,
    settings: row.settings,
  };
}

/** Throws `forbidden` for a MEMBER where members may make no keys. */
export function refuseMemberKeys(policy: MakerPolicy): void {
  if (policy.role === "MEMBER" && !policy.memberKeys) {
    throw new AppError("forbidden", {
      detail: "This workspace does not let members make API keys. Ask an admin for one.",
    });
  }
}

/** The scopes a maker may put on a key: their own, and of those a MEMBER only what calls models and tools. */
export function grantable(role: Role, grants: readonly Scope[]): readonly Scope[] {
  return role === "MEMBER" ? grants.filter((scope) => memberScopes.includes(scope)) : grants;
}

/** Throws `scope_too_high`, naming each scope that is not among the given ones. */
export function refuseHighScopes(wanted: readonly Scope[], allowed: readonly Scope[], because: string): void {
  const errors = wanted.flatMap((scope, index): FieldError[] =>
    allowed.includes(scope) ? [] : [{ pointer: `/scopes/${index}`, detail: `${because} ${scope}.` }],
  );
  if (errors.length > 0) {
    throw new AppError("scope_too_high", { errors });
  }
}

/**
 * A new key's expiry, epoch milliseconds or null for never: 90 days when nothing is said, or the policy's days when that is
 * fewer. Throws `validation_failed` for a time that is not ahead or beyond the policy.
 */
export function readExpiry(given: string | null | undefined, now: number, maxDays: number | null): number | null {
  if (given === undefined) {
    return now + Math.min(usualDays, maxDays ?? usualDays) * dayMs;
  }
  const time = given === null ? null : Date.parse(given);
  if (time !== null && !(time > now)) {
    throw invalidField("/expires_at", "Give a time in the future, or null for never.");
  }
  if (maxDays !== null && (time === null || time > now + maxDays * dayMs)) {
    throw invalidField("/expires_at", `Keys of this workspace live at most ${maxDays} days. Give a time before that.`);
  }
  return time;
}

/** Refuses the batch with `conflict` when the settings moved since the policy was read. */
export function guardPolicy(db: Database, workspaceId: string, policy: MakerPolicy): Statement {
  const same = sql`EXISTS (SELECT 1 FROM ${workspaces} WHERE ${workspaces.id} = ${workspaceId} AND ${workspaces.settings} = ${policy.settings})`;
  return guardThat(db, same, "conflict");
}

/** Living keys of a workspace, and of those that one MEMBER made; an expired key counts until it is revoked, as it is listed and keeps its name. */
export const keysPerWorkspace = 1_000;
export const keysPerMember = 50;

/** Refuses the batch with `limit_reached` when the workspace, or a MEMBER who makes a key, has as many as may be. */
export function guardCount(db: Database, workspaceId: string, memberId: string, role: Role): Statement {
  const living = sql`(SELECT count(*) FROM ${apiKeys} WHERE ${apiKeys.workspaceId} = ${workspaceId} AND ${apiKeys.revokedAt} IS NULL`;
  const hasRoom = sql`${living}) < ${keysPerWorkspace}`;
  const mayHaveMore = sql`${hasRoom} AND ${living} AND ${apiKeys.madeBy} = ${memberId}) < ${keysPerMember}`;
  return guardThat(db, role === "MEMBER" ? mayHaveMore : hasRoom, "limit_reached");
}

/**
 * What let the caller in was read before this batch: a member removed or a key revoked in between changes nothing and gets no
 * secret, and neither does a member removed who holds another's key, nor, beyond their own keys, one who is no admin any
 * more (`madeBy` null). Refuses the batch with `forbidden`.
 */
export function guardCaller(
  db: Database,
  workspaceId: string,
  actor: Actor,
  caller: { readonly memberId: string; readonly holderId?: string; readonly madeBy: string | null },
): Statement {
  const isLiving = (memberId: string) => sql`EXISTS (SELECT 1 FROM ${members} JOIN ${workspaces}
    ON ${workspaces.id} = ${members.workspaceId} WHERE ${members.workspaceId} = ${workspaceId} AND ${members.id} = ${memberId}
    AND ${members.removedAt} IS NULL AND ${workspaces.deletedAt} IS NULL)`;
  const manages = sql`EXISTS (SELECT 1 FROM ${members} JOIN ${workspaces} ON ${workspaces.id} = ${members.workspaceId}
    WHERE ${members.workspaceId} = ${workspaceId} AND ${members.id} = ${caller.memberId}
    AND (${members.role} = 'ADMIN' OR ${workspaces.ownerMemberId} = ${members.id}))`;
  const keyStands = sql`EXISTS (SELECT 1 FROM ${apiKeys} WHERE ${apiKeys.workspaceId} = ${workspaceId}
    AND ${apiKeys.id} = ${actor.id} AND ${apiKeys.revokedAt} IS NULL
    AND EXISTS (SELECT 1 FROM json_each(${apiKeys.scopes}) WHERE value = 'keys:manage'))`;
  const stands = [
    isLiving(caller.memberId),
    ...(caller.holderId === undefined ? [] : [isLiving(caller.holderId)]),
    ...(caller.madeBy === null ? [manages] : []),
    ...(actor.type === "key" ? [keyStands] : []),
  ];
  return guardThat(db, sql.join(stands, sql` AND `), "forbidden");
}
