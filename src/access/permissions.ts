/** The one permission table: the same words are API-key scopes and what a role may do. */

/** Roles, highest first. */
export const roles = ["OWNER", "ADMIN", "MEMBER"] as const;
export type Role = (typeof roles)[number];

/** Every scope and the least role that has it. */
export const scopeTable = {
  "workspace:read": "MEMBER",
  "workspace:manage": "ADMIN",
  "members:read": "MEMBER",
  "members:manage": "ADMIN",
  "keys:manage": "ADMIN",
  "providers:read": "MEMBER",
  "providers:manage": "ADMIN",
  "pools:read": "MEMBER",
  "pools:manage": "ADMIN",
  "tools:read": "MEMBER",
  "tools:manage": "ADMIN",
  "tools:invoke": "MEMBER",
  "models:invoke": "MEMBER",
  "usage:read": "MEMBER",
  "audit:read": "ADMIN",
  "vault:rotate": "OWNER",
} as const satisfies Record<string, Role>;

export type Scope = keyof typeof scopeTable;

/** Every scope, in the table's order. */
export const scopes = Object.keys(scopeTable).filter(isScope);

/** Whether a word is a scope. */
export function isScope(word: string): word is Scope {
  return Object.hasOwn(scopeTable, word);
}

/** What a personal token can be given: scopes, which it has in every workspace of its maker as far as their role goes, and creating workspaces. */
export const tokenScopes = [...scopes, "workspaces:create"] as const;
export type TokenScope = Scope | "workspaces:create";

/** Whether a word is a scope of personal tokens. */
export function isTokenScope(word: string): word is TokenScope {
  return word === "workspaces:create" || isScope(word);
}

/** Whether `role` is at least `least`. */
export function isAtLeast(role: Role, least: Role): boolean {
  return roles.indexOf(role) <= roles.indexOf(least);
}

/** Whether a role has a scope. */
export function roleHas(role: Role, scope: Scope): boolean {
  return isAtLeast(role, scopeTable[scope]);
}
