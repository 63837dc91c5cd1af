/** Personal tokens as deeds: made once with their secret, listed, revoked for good; and as callers, cut to their scopes. */
import { waitUntil } from "cloudflare:workers";
import { and, desc, eq, gt, isNull, lt, lte, or, sql } from "drizzle-orm";
import type { Actor, TokenPrincipal } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, hideSql, type Change, type Database } from "../base/database.js";
import { AppError, invalidField } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import { describeError, log } from "../base/log.js";
import type { Secret } from "../base/secret.js";
import { requireSettings } from "../base/settings.js";
import { bearerToken, type Authenticator } from "../http/authenticate.js";
import type { Position } from "../http/page.js";
import { personalTokens, readTokenScopes, users, type CreatePersonalToken, type PersonalTokenRow } from "./model.js";
import { digestToken, mintToken, tokenPrefix } from "./personal-token.js";

/** The longest a token may live, and how long it does when nothing is said. */
const tokenLifeMs = 90 * 24 * 3_600_000;

/** Tokens of one person; an expired one counts until it is revoked, as it is listed. */
export const tokensPerAccount = 50;

/** `last_used_at` moves at most this often. */
const lastUsedStepMs = 60_000;

/** Plans a new token. Throws `validation_failed` for an expiry that is not ahead, or over 90 days; may fail with `name_taken` or `limit_reached`. */
export async function planCreateToken(
  db: Database,
  tokenSecret: Keyring,
  actor: Actor,
  accountId: string,
  input: CreatePersonalToken,
): Promise<Change<{ readonly row: PersonalTokenRow; readonly secret: Secret }>> {
  const minted = await mintToken(tokenSecret);
  const row: PersonalTokenRow = {
    id: newId("personalToken"),
    userId: accountId,
    name: input.name,
    digest: minted.digest,
    lastFour: minted.lastFour,
    scopes: JSON.stringify([...new Set(input.scopes)]),
    expiresAt: readExpiry(input.expires_at, actor.at),
    revokedAt: null,
    createdAt: actor.at,
    lastUsedAt: null,
  };
  const told = auditRow(db, actor, {
    workspaceId: null,
    action: "personal_token.created",
    targets: [{ type: "personal_token", id: row.id }],
    after: { name: row.name, scopes: input.scopes, expires_at: new Date(row.expiresAt).toISOString() },
  });
  const hasRoom = sql`(SELECT count(*) FROM ${personalTokens}
    WHERE ${personalTokens.userId} = ${accountId} AND ${personalTokens.revokedAt} IS NULL) < ${tokensPerAccount}`;
  return {
    statements: [guardThat(db, hasRoom, "limit_reached"), db.insert(personalTokens).values(row), told],
    value: { row, secret: minted.secret },
    conflicts: { "personal_tokens.name": "name_taken" },
  };
}

function readExpiry(given: string | undefined, now: number): number {
  const latest = now + tokenLifeMs;
  const expiresAt = given === undefined ? latest : Date.parse(given);
  if (expiresAt <= now) {
    throw invalidField("/expires_at", "Give a time that is still ahead.");
  }
  if (expiresAt > latest) {
    throw invalidField("/expires_at", "A personal token lives at most 90 days.");
  }
  return expiresAt;
}

/** A person's tokens that were not revoked, newest first, one more than `limit`. Expired ones stay listed until they are revoked. */
export async function listTokens(
  db: Database,
  accountId: string,
  page: { readonly limit: number; readonly after: Position | null },
): Promise<PersonalTokenRow[]> {
  const { createdAt, id } = personalTokens;
  const isAfter =
    page.after === null
      ? undefined
      : or(lt(createdAt, page.after.time), and(eq(createdAt, page.after.time), lt(id, page.after.id)));
  return await hideSql(
    db
      .select()
      .from(personalTokens)
      .where(and(eq(personalTokens.userId, accountId), isNull(personalTokens.revokedAt), isAfter))
      .orderBy(desc(createdAt), desc(id))
      .limit(page.limit + 1)
      .all(),
  );
}

/** Plans a revocation. `not_found` when the token is not the person's, or revoked already. */
export function planRevokeToken(db: Database, actor: Actor, accountId: string, tokenId: string): Change<undefined> {
  const isLiving = and(
    eq(personalTokens.userId, accountId),
    eq(personalTokens.id, tokenId),
    isNull(personalTokens.revokedAt),
  );
  const told = auditRow(db, actor, {
    workspaceId: null,
    action: "personal_token.revoked",
    targets: [{ type: "personal_token", id: tokenId }],
  });
  const revoke = db.update(personalTokens).set({ revokedAt: actor.at }).where(isLiving);
  return { statements: [revoke, guardChanged(db, "not_found"), told], value: undefined };
}

/** Recognises `Authorization: Bearer ghp_…`. Throws `unauthenticated` for one that is unknown, revoked or expired. */
export const personalTokenAuthenticator: Authenticator = async (request, env, db) => {
  const token = bearerToken(request);
  if (token === null || !token.startsWith(tokenPrefix)) {
    return null;
  }
  const digest = await digestToken(token, requireSettings(env).tokenSecret);
  const principal = digest === null ? null : await findPrincipal(db, digest, Date.now());
  if (principal === null) {
    throw new AppError("unauthenticated", { detail: "This personal token is unknown, revoked or expired." });
  }
  return principal;
};

async function findPrincipal(db: Database, digest: string, now: number): Promise<TokenPrincipal | null> {
  const isLiving = and(
    eq(personalTokens.digest, digest),
    isNull(personalTokens.revokedAt),
    gt(personalTokens.expiresAt, now),
  );
  const [found] = await hideSql(
    db
      .select({ token: personalTokens, name: users.name, email: users.email })
      .from(personalTokens)
      .innerJoin(users, eq(users.id, personalTokens.userId))
      .where(isLiving)
      .all(),
  );
  if (found === undefined) {
    return null;
  }
  const { token, name, email } = found;
  if (token.lastUsedAt === null || token.lastUsedAt <= now - lastUsedStepMs) {
    waitUntil(noteUse(db, token.id, now));
  }
  const scopes = readTokenScopes(token.scopes);
  const { id: tokenId, name: tokenName, userId: accountId, expiresAt } = token;
  return { kind: "token", tokenId, tokenName, accountId, name, email, scopes, expiresAt };
}

/** Off the request's path: nobody waits for it, and a failure costs a time in a list. */
async function noteUse(db: Database, tokenId: string, now: number): Promise<void> {
  const isDue = or(isNull(personalTokens.lastUsedAt), lte(personalTokens.lastUsedAt, now - lastUsedStepMs));
  try {
    await hideSql(
      db
        .update(personalTokens)
        .set({ lastUsedAt: now })
        .where(and(eq(personalTokens.id, tokenId), isDue))
        .run(),
    );
  } catch (error) {
    log("warn", "token_use_not_noted", { token_id: tokenId, cause: describeError(error) });
  }
}
