/** Changing a key: its name freely, its scopes only downwards, its limits too but for an admin who is signed in. */
import { and, eq, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import { guardThat, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { refuseLooserLimits, type KeyCaller } from "./caller.js";
import { findKey, toAudit, type KeyRecord } from "./keys.js";
import {
  apiKeys,
  KeyLimits,
  readLimits,
  readScopes,
  type ApiKeyRow,
  type ChangedLimits,
  type UpdateApiKey,
} from "./model.js";
import { guardCaller, refuseHighScopes } from "./policy.js";

/**
 * Plans a change; what it leaves out stays, and what already stands writes nothing. A key or token, and a MEMBER for their own keys, may
 * only tighten limits (`limit_too_high`): those may be an admin's. They may narrow any key of the workspace, as they may revoke it.
 * Throws `not_found`, `key_not_active` for a revoked key, and `scope_too_high` for a scope the key does not have; the change may fail with `name_taken`, and with `precondition_failed` or `conflict` when the key
 * is no longer at `ifMatch`, or at what was read here, and with `forbidden` when the caller has lost their place.
 */
export async function planUpdateKey(
  db: Database,
  workspaceId: string,
  actor: Actor,
  keyId: string,
  caller: KeyCaller,
  input: UpdateApiKey,
  ifMatch: number | null,
): Promise<Change<KeyRecord>> {
  const { row, appliedVersion } = await findKey(db, workspaceId, keyId, caller.madeBy);
  if (row.revokedAt !== null) {
    throw new AppError("key_not_active", { detail: "This API key is revoked. It cannot be changed any more." });
  }
  const next = merge(row, input);
  if (!caller.isPerson || caller.madeBy !== null) {
    const because = "Only an admin who is signed in loosens a limit, and it is less now";
    refuseLooserLimits(readLimits(next.limits), readLimits(row.limits), because);
  }
  const isThis = and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.id, keyId));
  const expected = ifMatch ?? row.revision;
  const holds = sql`EXISTS (SELECT 1 FROM ${apiKeys} WHERE ${isThis} AND ${apiKeys.revision} = ${expected})`;
  const isSame = sql`${apiKeys.name} IS ${next.name} AND ${apiKeys.scopes} IS ${next.scopes} AND ${apiKeys.limits} IS ${next.limits}`;
  const isChanged = next.name !== row.name || next.scopes !== row.scopes || next.limits !== row.limits;
  const after = { ...row, ...next, revision: isChanged ? expected + 1 : row.revision };
  return {
    statements: [
      guardCaller(db, workspaceId, actor, caller),
      guardThat(db, holds, ifMatch === null ? "conflict" : "precondition_failed"),
      db
        .update(apiKeys)
        .set({ ...next, revision: sql`${apiKeys.revision} + 1` })
        .where(and(isThis, sql`NOT (${isSame})`)),
      auditIfChanged(db, actor, {
        workspaceId,
        action: "api_key.updated",
        targets: [{ type: "api_key", id: keyId }],
        before: toAudit(row),
        after: toAudit(after),
      }),
    ],
    value: { row: after, appliedVersion },
    conflicts: { "api_keys.name": "name_taken" },
  };
}

function merge(row: ApiKeyRow, input: UpdateApiKey): Pick<ApiKeyRow, "name" | "scopes" | "limits"> {
  return {
    name: input.name ?? row.name,
    scopes: input.scopes === undefined ? row.scopes : keepScopes(row, input.scopes),
    limits: input.limits === undefined ? row.limits : mergeLimits(row, input.limits),
  };
}

/** In the stored order, so that the same scopes in another order are no change. A trigger holds that none is added. */
function keepScopes(row: ApiKeyRow, wanted: NonNullable<UpdateApiKey["scopes"]>): string {
  const present = readScopes(row.scopes);
  refuseHighScopes(wanted, present, "A key gains no scopes, and this one does not have");
  const kept = present.filter((scope) => wanted.includes(scope));
  return kept.length === present.length ? row.scopes : JSON.stringify(kept);
}

function mergeLimits(row: ApiKeyRow, change: ChangedLimits): string {
  const before = readLimits(row.limits);
  const budget = mergeBudget(before.budget_usd, change.budget_usd);
  const merged = Object.entries({ ...before, ...change, budget_usd: budget }).filter(
    ([, value]) => value !== null && value !== undefined,
  );
  const after = JSON.stringify(KeyLimits.parse(Object.fromEntries(merged)));
  return after === JSON.stringify(before) ? row.limits : after;
}

/** A budget with a change put over it; undefined when no part is left. */
function mergeBudget(before: KeyLimits["budget_usd"], change: ChangedLimits["budget_usd"]): KeyLimits["budget_usd"] {
  const parts = Object.entries({ ...before, ...change }).filter(([, usd]) => usd !== null && usd !== undefined);
  return change === null || parts.length === 0 ? undefined : Object.fromEntries(parts);
}
