/** The API key as a caller of the control plane: checked without I/O first, then against its row, its workspace and its maker as they stand now. */
import { waitUntil } from "cloudflare:workers";
import { and, eq, gt, isNull, or } from "drizzle-orm";
import type { KeyPrincipal } from "../access/principal.js";
import { hideSql, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import { bearerToken, type Authenticator } from "../http/authenticate.js";
import { members, workspaces } from "../tenancy/model.js";
import { cutScopes, roleOf } from "./keys.js";
import { lastUsedStepMs, noteUses } from "./last-use.js";
import { apiKeys } from "./model.js";
import { parseKey, type ParsedKey } from "./token.js";

/** Recognises `Authorization: Bearer ghk_…`. A key that is unknown, revoked, expired, or whose maker or workspace is gone, is `unauthenticated`. */
export function keyAuthenticator(): Authenticator {
  return async (request, env, db) => {
    const token = bearerToken(request);
    if (token === null || !token.startsWith("ghk_")) {
      return null;
    }
    const parsed = await parseKey(token, requireSettings(env).tokenSecret);
    const principal = parsed === null ? null : await findPrincipal(db, parsed, Date.now());
    if (principal === null) {
      throw new AppError("unauthenticated", { detail: "This API key is unknown, revoked or expired." });
    }
    return principal;
  };
}

async function findPrincipal(db: Database, parsed: ParsedKey, now: number): Promise<KeyPrincipal | null> {
  const isSecret = or(
    eq(apiKeys.digest, parsed.digest),
    and(eq(apiKeys.previousDigest, parsed.digest), gt(apiKeys.previousUntil, now)),
  );
  const isLiving = and(isNull(apiKeys.revokedAt), isNull(members.removedAt), isNull(workspaces.deletedAt));
  const [found] = await hideSql(
    db
      .select({ key: apiKeys, role: members.role, ownerMemberId: workspaces.ownerMemberId })
      .from(apiKeys)
      .innerJoin(workspaces, eq(workspaces.id, apiKeys.workspaceId))
      .innerJoin(members, and(eq(members.workspaceId, apiKeys.workspaceId), eq(members.id, apiKeys.madeBy)))
      .where(and(eq(apiKeys.workspaceId, parsed.workspaceId), isSecret, isLiving))
      .all(),
  );
  if (found === undefined || (found.key.expiresAt !== null && found.key.expiresAt <= now)) {
    return null;
  }
  const { key } = found;
  if (key.lastUsedAt === null || key.lastUsedAt <= now - lastUsedStepMs) {
    waitUntil(noteUses(db, key.workspaceId, new Map([[key.id, now]])));
  }
  const isPresent = key.digest === parsed.digest;
  return {
    kind: "key",
    keyId: key.id,
    name: key.name,
    workspaceId: key.workspaceId,
    memberId: key.madeBy,
    holderId: (isPresent ? key.shownTo : key.previousShownTo) ?? key.madeBy,
    expiresAt: isPresent ? key.expiresAt : key.previousUntil,
    scopes: cutScopes(key.scopes, roleOf(key.madeBy, found.ownerMemberId, found.role)),
  };
}
