/** Access tokens: five-minute JWTs that say who, never what. Each names its session, whose row is read all the same. RFC 9068 in form. */
import { decodeJwt, jwtVerify, SignJWT } from "jose";
import { and, eq } from "drizzle-orm";
import type { SessionPrincipal } from "../access/principal.js";
import type { Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { Secret } from "../base/secret.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { bearerToken, type Authenticator } from "../http/authenticate.js";
import { sessions } from "./model.js";
import { readSession } from "./sessions.js";
import { signingKey, verifyingKey } from "./signing-keys.js";
import { findByOutsideToken } from "./trusted-issuer.js";

/** How long an access token is good. */
export const accessTokenSeconds = 300;

/** Signs an access token for a session. `now` is epoch milliseconds. */
export async function signAccessToken(
  settings: Settings,
  session: { readonly accountId: string; readonly sessionId: string },
  now: number,
): Promise<Secret> {
  const { kid, key } = await signingKey(settings.authSecret, now);
  const at = Math.floor(now / 1000);
  const token = await new SignJWT({ sid: session.sessionId })
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid })
    .setIssuer(settings.publicUrl)
    .setAudience(settings.publicUrl)
    .setSubject(session.accountId)
    .setJti(newId("operation"))
    .setIssuedAt(at)
    .setNotBefore(at)
    .setExpirationTime(at + accessTokenSeconds)
    .sign(key);
  return new Secret(token);
}

/** Recognises JWTs sent as bearer: our own, or the trusted outside issuer's. Any that does not hold in every part is `unauthenticated`. */
export const accessTokenAuthenticator: Authenticator = async (request, env, db) => {
  const token = bearerToken(request);
  if (token === null || !/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)) {
    return null;
  }
  const settings = requireSettings(env);
  const now = Date.now();
  const { trusted } = settings.signIn;
  // What the token says of itself only chooses the rules; under either nothing unsigned counts.
  const principal =
    trusted !== null && issuerOf(token) === trusted.issuer
      ? await findByOutsideToken(db, settings, trusted, token, now)
      : await findByOwnToken(db, settings, token, now);
  if (principal === null) {
    throw new AppError("unauthenticated", { detail: "This access token is not good, or no longer." });
  }
  return principal;
};

async function findByOwnToken(
  db: Database,
  settings: Settings,
  token: string,
  now: number,
): Promise<SessionPrincipal | null> {
  const claims = await verifyOwn(settings, token, now);
  const { sub, sid } = claims ?? {};
  if (typeof sub !== "string" || typeof sid !== "string") {
    return null;
  }
  const isThis = and(eq(sessions.id, sid), eq(sessions.userId, sub));
  return isThis === undefined ? null : await readSession(db, isThis, "jwt", now);
}

async function verifyOwn(settings: Settings, token: string, now: number) {
  try {
    const { payload } = await jwtVerify(
      token,
      async ({ kid }) => {
        const key = kid === undefined ? null : await verifyingKey(settings.authSecret, kid, now);
        if (key === null) {
          throw new TypeError("no such key");
        }
        return key;
      },
      {
        algorithms: ["EdDSA"],
        typ: "at+jwt",
        issuer: settings.publicUrl,
        audience: settings.publicUrl,
        requiredClaims: ["exp", "nbf", "sub", "sid", "jti"],
        maxTokenAge: accessTokenSeconds,
        currentDate: new Date(now),
      },
    );
    return payload;
  } catch {
    return null;
  }
}

function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}
