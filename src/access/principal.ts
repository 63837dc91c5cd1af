/** Who calls: a signed-in person, a personal token of one, or an API key. */
import { isAtLeast, roleHas, type Role, type Scope, type TokenScope } from "./permissions.js";

export interface SessionPrincipal {
  readonly kind: "session";
  readonly accountId: string;
  readonly name: string;
  readonly email: string;
  /** Null when an outside issuer vouches for the person: there is no session of ours. */
  readonly sessionId: string | null;
  /** How it came. `jwt`: an access token of ours for a session; `issuer`: one of the trusted outside issuer. */
  readonly via: "token" | "cookie" | "jwt" | "issuer";
}

/** A session of ours that was shown itself. */
export type OwnSession = SessionPrincipal & { readonly sessionId: string };

/** A token that a person made for automation: that person, cut to its scopes. Their role is read anew and still bounds it. */
export interface TokenPrincipal {
  readonly kind: "token";
  readonly tokenId: string;
  readonly tokenName: string;
  readonly accountId: string;
  /** The person's. */
  readonly name: string;
  readonly email: string;
  readonly scopes: readonly TokenScope[];
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

export interface KeyPrincipal {
  readonly kind: "key";
  readonly keyId: string;
  readonly name: string;
  readonly workspaceId: string;
  /** The member who made it. */
  readonly memberId: string;
  /** The member who was shown the secret that it comes with: the maker, or who rotated it last. */
  readonly holderId: string;
  /** When the secret that it comes with ends, epoch milliseconds; null for never. */
  readonly expiresAt: number | null;
  /** Already cut to what its maker's present role has. */
  readonly scopes: readonly Scope[];
}

export type Principal = SessionPrincipal | TokenPrincipal | KeyPrincipal;

/** The caller in the path's workspace: a member with a role, or one of its keys. */
export interface WorkspaceAccess {
  readonly id: string;
  readonly slug: string;
  /** Null for an API key. */
  readonly role: Role | null;
  /** The caller's member row; the maker's for an API key. */
  readonly memberId: string;
  readonly ownerMemberId: string;
  /** When the member was last seen, epoch milliseconds, to some minutes; null for never and for an API key. */
  readonly lastActiveAt: number | null;
}

/** Who did something, from where and when: what a verb needs to write its audit row. */
export interface Actor {
  readonly type: "account" | "key" | "system" | "setup";
  readonly id: string;
  readonly name: string;
  readonly requestId: string;
  readonly ip: string | null;
  /** One for every row that this deed touches. */
  readonly opId: string;
  /** Epoch milliseconds; the one `now` of the request. */
  readonly at: number;
}

/** What an endpoint demands. There is no default: a route without one does not compile. */
export type Permission =
  | { readonly kind: "public" }
  /** Any signed-in person; API keys are refused, and personal tokens but for those with the scope that `tokens` names. `own`: only by the session itself. */
  | { readonly kind: "session"; readonly tokens?: TokenScope; readonly own?: boolean }
  /** A scope in the path's workspace. `keys: false` for rows that never accept a key; `least` for rows above the scope's own role; `self` names the path parameter by which a signed-in person may do it to their own membership, whatever their role. */
  | {
      readonly kind: "workspace";
      readonly scope: Scope;
      readonly keys: boolean;
      readonly least?: Role;
      /** Every member may, for what is their own: the handler sees to that. */
      readonly own?: boolean;
      readonly self?: string;
    };

/** Whether the session itself was shown: an access token's five minutes must not turn into more. */
export function isOwnSession(session: SessionPrincipal): session is OwnSession {
  return session.sessionId !== null && session.via !== "jwt" && session.via !== "issuer";
}

/** Whether a role in the workspace meets a workspace permission. */
export function roleMeets(role: Role, permission: Extract<Permission, { kind: "workspace" }>): boolean {
  const isHigh = permission.least === undefined || isAtLeast(role, permission.least);
  return isHigh && (permission.own === true || roleHas(role, permission.scope));
}

/** Whether a key of the workspace meets a workspace permission. */
export function keyMeets(key: KeyPrincipal, permission: Extract<Permission, { kind: "workspace" }>): boolean {
  return permission.keys && key.scopes.includes(permission.scope);
}

/** Whether a personal token meets a workspace permission, its maker's role there given. What no key may do, no token may. */
export function tokenMeets(
  token: TokenPrincipal,
  role: Role | null,
  permission: Extract<Permission, { kind: "workspace" }>,
): boolean {
  return permission.keys && token.scopes.includes(permission.scope) && role !== null && roleMeets(role, permission);
}

/** A stable name of the caller, for idempotency and limits. */
export function principalName(principal: Principal | null): string {
  if (principal === null) {
    return "anyone";
  }
  switch (principal.kind) {
    case "session":
      return principal.accountId;
    case "token":
      return principal.tokenId;
    case "key":
      return principal.keyId;
  }
}
