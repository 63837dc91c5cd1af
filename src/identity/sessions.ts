/** Sessions in better-auth's rows and signature, read without loading it: a token counts only with its HMAC under AUTH_SECRET, which no row holds. */
import { and, eq, gt, type SQL } from "drizzle-orm";
import type { SessionPrincipal } from "../access/principal.js";
import { equalBytes, hmacSha256, randomBytes, toBase32, toBase64Url, utf8 } from "../base/bytes.js";
import { hideSql, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import { Secret } from "../base/secret.js";
import { requireSettings } from "../base/settings.js";
import { bearerToken, type Authenticator } from "../http/authenticate.js";
import { readSessionCookie, refuseForeignWrite } from "./cookie.js";
import { sessions, users } from "./model.js";

/** How long a session lives from its start. */
export const sessionMs = 7 * 24 * 3_600_000;

/** A session about to be written: the row's statement and the signed token to hand out once. */
export interface PlannedSession {
  readonly statement: Statement;
  readonly token: Secret;
  readonly sessionId: string;
}

/** Plans a session for an account; put the statement into the batch that signs the person in. */
export async function planSession(
  authSecret: Keyring,
  db: Database,
  accountId: string,
  from: { readonly ip: string | null; readonly userAgent: string | null; readonly requestId: string | null },
  now: number,
): Promise<PlannedSession> {
  const token = toBase32(randomBytes(32));
  const sessionId = newId("session");
  const at = new Date(now).toISOString();
  const statement = db.insert(sessions).values({
    id: sessionId,
    token,
    userId: accountId,
    createdAt: at,
    updatedAt: at,
    expiresAt: new Date(now + sessionMs).toISOString(),
    ipAddress: from.ip,
    userAgent: from.userAgent?.slice(0, 300) ?? null,
    requestId: from.requestId,
  });
  const signature = await sign(authSecret, authSecret.primary, token);
  return { statement, sessionId, token: new Secret(`${token}.${signature}`) };
}

/**
 * Recognises session tokens sent as bearer, or in the session cookie when there is no `Authorization`. Throws
 * `unauthenticated` for one that is forged, unknown or expired, `origin_not_allowed` for a write that a cookie bears here
 * from another site.
 */
export const sessionAuthenticator: Authenticator = async (request, env, db) => {
  const { authSecret, publicUrl, allowedOrigins } = requireSettings(env);
  const bearer = bearerToken(request);
  const text = bearer ?? readSessionCookie(request, publicUrl);
  const parts = /^([A-Za-z0-9]{32,64})\.([A-Za-z0-9+/]{43}=)$/.exec(text ?? "");
  if (parts === null) {
    return null;
  }
  const [, token = "", signature = ""] = parts;
  if (!(await isSigned(authSecret, token, signature))) {
    throw new AppError("unauthenticated");
  }
  const principal = await readSession(db, eq(sessions.token, token), bearer === null ? "cookie" : "token", Date.now());
  if (bearer === null) {
    refuseForeignWrite(request, publicUrl, allowedOrigins);
  }
  return principal;
};

/** The session's row with its person, read anew for every request. Throws `unauthenticated` when it is gone or over. */
export async function readSession(
  db: Database,
  isThis: SQL,
  via: SessionPrincipal["via"],
  now: number,
): Promise<SessionPrincipal> {
  const isLive = and(isThis, gt(sessions.expiresAt, new Date(now).toISOString()));
  const [row] = await hideSql(
    db
      .select({ sessionId: sessions.id, accountId: users.id, name: users.name, email: users.email })
      .from(sessions)
      .innerJoin(users, eq(users.id, sessions.userId))
      .where(isLive)
      .all(),
  );
  if (row === undefined) {
    throw new AppError("unauthenticated", { detail: "This session has ended. Sign in again." });
  }
  return { kind: "session", via, ...row };
}

/** The secret as better-auth takes it: the keyring entry's base64url text. */
export function signingSecret(authSecret: Keyring, id: string): string | null {
  const key = authSecret.get(id);
  return key === undefined ? null : toBase64Url(key);
}

async function sign(authSecret: Keyring, id: string, token: string): Promise<string> {
  const secret = signingSecret(authSecret, id);
  if (secret === null) {
    throw new AppError("internal", { cause: new Error("AUTH_SECRET has no such entry") });
  }
  const mac = await hmacSha256(utf8(secret), utf8(token));
  return btoa(String.fromCharCode(...mac));
}

async function isSigned(authSecret: Keyring, token: string, signature: string): Promise<boolean> {
  for (const id of authSecret.ids) {
    if (equalBytes(utf8(await sign(authSecret, id, token)), utf8(signature))) {
      return true;
    }
  }
  return false;
}
