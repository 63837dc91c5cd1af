/** The permission gate that every declared endpoint stands behind. */
import { isOwnSession, keyMeets, roleMeets, tokenMeets } from "../access/principal.js";
import type { Permission, Principal, WorkspaceAccess } from "../access/principal.js";
import { AppError } from "../base/errors.js";
import type { HttpContext } from "./context.js";

/** What an API key or a token hears where only a session is let through. */
export const personsOnly = "Only a signed-in person may do this, not an API key or a token.";

/** What an access token hears where the session itself is needed. */
export const ownSessionOnly = "Use your session for this, not an access token.";

/** The permission gate. Throws `unauthenticated` or `forbidden`. */
export function admitCaller(permission: Permission, context: HttpContext): void {
  const principal = context.get("principal");
  if (permission.kind === "public") {
    return;
  }
  if (principal === null) {
    throw new AppError("unauthenticated");
  }
  if (permission.kind === "session") {
    admitPerson(permission, principal);
    return;
  }
  const access = context.get("access");
  if (access === undefined) {
    throw new AppError("not_found");
  }
  const own = permission.self === undefined ? undefined : context.req.param(permission.self);
  const isSelf = principal.kind === "session" && (own === "me" || own === access.memberId);
  if (!isSelf && !isAllowed(principal, access, permission)) {
    const need = permission.least === undefined ? permission.scope : `${permission.scope}, ${permission.least}`;
    throw new AppError("forbidden", { detail: `This needs ${need}.` });
  }
}

function admitPerson(permission: Extract<Permission, { kind: "session" }>, principal: Principal): void {
  if (principal.kind === "session") {
    if (permission.own === true && !isOwnSession(principal)) {
      throw new AppError("forbidden", { detail: ownSessionOnly });
    }
    return;
  }
  const { tokens } = permission;
  if (principal.kind === "key" || tokens === undefined) {
    throw new AppError("forbidden", { detail: personsOnly });
  }
  if (!principal.scopes.includes(tokens)) {
    throw new AppError("forbidden", { detail: `This needs a personal token with ${tokens}.` });
  }
}

function isAllowed(
  principal: Principal,
  access: WorkspaceAccess,
  permission: Extract<Permission, { kind: "workspace" }>,
): boolean {
  switch (principal.kind) {
    case "key":
      return keyMeets(principal, permission);
    case "token":
      return tokenMeets(principal, access.role, permission);
    case "session":
      return access.role !== null && roleMeets(access.role, permission);
  }
}
