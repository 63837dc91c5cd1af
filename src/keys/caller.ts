/** Who makes, changes or rotates keys, and what bounds them: a key or token hands on, and lifts, nothing beyond itself. */
import { and, eq, sql } from "drizzle-orm";
import { roleHas, scopes, type Scope } from "../access/permissions.js";
import type { Principal, WorkspaceAccess } from "../access/principal.js";
import { guardThat, hideSql, type Database, type Statement } from "../base/database.js";
import { AppError, type FieldError } from "../base/errors.js";
import { apiKeys, readLimits, readScopes, type ApiKeyRow, type KeyLimits } from "./model.js";

/** What the calling key or token is held to itself. */
export interface CallerBounds {
  /** When the secret it comes with ends, epoch milliseconds; null for never. */
  readonly expiresAt: number | null;
  /** A personal token has none. */
  readonly limits: KeyLimits;
  /** The calling key and its limits as they were read, for `guardBounds`; null for a token. */
  readonly key: { readonly id: string; readonly limits: string } | null;
}

/** Who makes a key, and what they may hand on. */
export interface KeyMaker {
  readonly memberId: string;
  /** The caller's own scopes: of their role, or of the key they call with. */
  readonly grants: readonly Scope[];
  /** The member who is shown a secret, when a key calls that somebody else may hold; `memberId` when left out. */
  readonly holderId?: string;
  /** Left out for a person signed in. */
  readonly bounds?: CallerBounds;
}

/** Who reaches keys that are there. */
export interface KeyCaller extends KeyMaker {
  /** A person signed in, no key or token. */
  readonly isPerson: boolean;
  /** Only keys of this member, for a MEMBER; null for all. */
  readonly madeBy: string | null;
}

/** Reads what the caller is and is bound to; a query only for a key. Throws `unauthenticated` for a key that is gone meanwhile. */
export async function readCaller(
  db: Database,
  principal: Principal | null,
  access: Pick<WorkspaceAccess, "id" | "memberId" | "role">,
): Promise<KeyCaller> {
  const { memberId } = access;
  const caller = { memberId, grants: grantsOf(principal, access.role), madeBy: madeByFor(access) };
  if (principal?.kind === "key") {
    const bounds = await readBounds(db, access.id, principal);
    return { ...caller, isPerson: false, holderId: principal.holderId, bounds };
  }
  return principal?.kind === "token"
    ? { ...caller, isPerson: false, bounds: { expiresAt: principal.expiresAt, limits: {}, key: null } }
    : { ...caller, isPerson: principal?.kind === "session" };
}

/** Whose keys the caller reaches: null for all, else the member's whose keys they must be. */
export function madeByFor(access: Pick<WorkspaceAccess, "memberId" | "role">): string | null {
  return access.role === null || roleHas(access.role, "keys:manage") ? null : access.memberId;
}

/** What the caller may hand on to a key: a key its own scopes, a member the scopes of their role, a personal token what both have. */
function grantsOf(principal: Principal | null, role: WorkspaceAccess["role"]): readonly Scope[] {
  if (principal?.kind === "key") {
    return principal.scopes;
  }
  const granted = role === null ? [] : scopes.filter((scope) => roleHas(role, scope));
  return principal?.kind === "token" ? granted.filter((scope) => principal.scopes.includes(scope)) : granted;
}

async function readBounds(
  db: Database,
  workspaceId: string,
  principal: Extract<Principal, { kind: "key" }>,
): Promise<CallerBounds> {
  const [row] = await hideSql(
    db
      .select({ limits: apiKeys.limits })
      .from(apiKeys)
      .where(and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.id, principal.keyId)))
      .all(),
  );
  if (row === undefined) {
    throw new AppError("unauthenticated");
  }
  const key = { id: principal.keyId, limits: row.limits };
  return { expiresAt: principal.expiresAt, limits: readLimits(row.limits), key };
}

/** A new key's expiry within its maker's: theirs when nothing was said. Throws `limit_too_high` for one that was asked for and lies beyond. */
export function boundExpiry(
  isGiven: boolean,
  expiresAt: number | null,
  bounds: CallerBounds | undefined,
): number | null {
  const latest = bounds?.expiresAt ?? null;
  if (latest === null || (expiresAt !== null && expiresAt <= latest)) {
    return expiresAt;
  }
  if (isGiven) {
    const detail = `What you call with ends at ${new Date(latest).toISOString()}. Give no later time.`;
    throw new AppError("limit_too_high", { errors: [{ pointer: "/expires_at", detail }] });
  }
  return latest;
}

/** A new key's limits within its maker's: what is left out is theirs. Throws `limit_too_high` for one that is looser. */
export function boundLimits(wanted: KeyLimits, bounds: CallerBounds | undefined): KeyLimits {
  const limits = { ...bounds?.limits, ...wanted };
  refuseLooserLimits(limits, bounds?.limits ?? {}, "The key you call with is held to less");
  return limits;
}

/** Throws `limit_too_high`, naming each limit that lets more through than the one it is held against. */
export function refuseLooserLimits(limits: KeyLimits, against: KeyLimits, because: string): void {
  const errors = [
    ...(["rpm", "tpm", "concurrent"] as const).filter((name) => !isAtMost(limits[name], against[name])),
    ...(isAmong(limits.models, against.models) ? [] : ["models"]),
    ...(isAmong(limits.tools, against.tools?.flatMap(withTools(limits.tools))) ? [] : ["tools"]),
    ...(["day", "month"] as const)
      .filter((span) => !isAtMost(limits.budget_usd?.[span], against.budget_usd?.[span]))
      .map((span) => `budget_usd/${span}`),
  ].map((name): FieldError => ({ pointer: `/limits/${name}`, detail: `${because}. Give a limit within that.` }));
  if (errors.length > 0) {
    throw new AppError("limit_too_high", { errors });
  }
}

function isAtMost(limit: number | undefined, bound: number | undefined): boolean {
  return bound === undefined || (limit !== undefined && limit <= bound);
}

/** What a bound on tools lets through of those named: `provider/*` each of that provider's. */
function withTools(named: readonly string[] = []): (bound: string) => readonly string[] {
  return (bound) =>
    bound.endsWith("/*") ? [bound, ...named.filter((tool) => tool.startsWith(bound.slice(0, -1)))] : [bound];
}

function isAmong(names: readonly string[] | undefined, bound: readonly string[] | undefined): boolean {
  return bound === undefined || (names !== undefined && names.every((name) => bound.includes(name)));
}

/** Nobody changes or takes over a key that can do more than they. Throws `scope_too_high`. */
export function refuseHigherKey(row: ApiKeyRow, caller: KeyMaker): void {
  if (!readScopes(row.scopes).every((scope) => caller.grants.includes(scope))) {
    throw new AppError("scope_too_high", {
      detail: "This key can do more than you can. Only its maker, or who has all its scopes, can change or rotate it.",
    });
  }
}

/** Refuses the batch with `conflict` when the calling key's limits moved since they were read. */
export function guardBounds(db: Database, workspaceId: string, caller: KeyMaker): Statement[] {
  const key = caller.bounds?.key ?? null;
  if (key === null) {
    return [];
  }
  const isSame = sql`EXISTS (SELECT 1 FROM ${apiKeys}
    WHERE ${apiKeys.workspaceId} = ${workspaceId} AND ${apiKeys.id} = ${key.id} AND ${apiKeys.limits} = ${key.limits})`;
  return [guardThat(db, isSame, "conflict")];
}
