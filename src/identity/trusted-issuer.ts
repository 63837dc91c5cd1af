/** Access tokens of one outside issuer that the operator trusts. They name people by a verified address; whoever has no account here stays outside. */
import { createRemoteJWKSet, customFetch, jwtVerify, type JWTPayload } from "jose";
import type { SessionPrincipal } from "../access/principal.js";
import type { Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { fetchOutbound } from "../base/outbound.js";
import type { Settings } from "../base/settings.js";
import type { TrustedIssuer } from "../base/sign-in-settings.js";
import { EmailAddress } from "./model.js";
import { findAccountByEmail } from "./sign-up.js";

/** Signatures by a private key only: with a shared secret in the list, a public key could be used as one. */
const algorithms = ["EdDSA", "ES256", "ES384", "PS256", "RS256"];

const fetchMs = 5_000;

type KeySet = ReturnType<typeof createRemoteJWKSet>;
const keySets = new WeakMap<Settings, KeySet>();

/** The account whose address the token names, proven there and here, or null: a bad token, an address not proven, or nobody here. */
export async function findByOutsideToken(
  db: Database,
  settings: Settings,
  trusted: TrustedIssuer,
  token: string,
  now: number,
): Promise<SessionPrincipal | null> {
  const claims = await verify(settings, trusted, token, now);
  if (claims === null || claims["email_verified"] !== true) {
    return null;
  }
  const email = EmailAddress.safeParse(claims["email"]);
  const account = email.success ? await findAccountByEmail(db, email.data) : undefined;
  // Set-up takes an address at its word: whoever typed it need not be whom the issuer means by it.
  if (account === undefined || !account.emailVerified) {
    return null;
  }
  const { id, name } = account;
  return { kind: "session", accountId: id, name, email: account.email, sessionId: null, via: "issuer" };
}

async function verify(
  settings: Settings,
  trusted: TrustedIssuer,
  token: string,
  now: number,
): Promise<JWTPayload | null> {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keySetOf(settings, trusted), {
      algorithms,
      issuer: trusted.issuer,
      audience: trusted.audience,
      requiredClaims: ["exp", "iat", "sub", "email"],
      currentDate: new Date(now),
    });
    // RFC 9068 names access tokens at+jwt; many issuers still write JWT, or nothing.
    const type = (protectedHeader.typ ?? "jwt").toLowerCase().replace(/^application\//, "");
    return type === "at+jwt" || type === "jwt" ? payload : null;
  } catch (error) {
    log("info", "outside_token_refused", { cause: describeError(error) });
    return null;
  }
}

/** Only the configured address is ever asked for keys: `jku`, `jwk` and `x5u` of a token's header lead nowhere. */
function keySetOf(settings: Settings, trusted: TrustedIssuer): KeySet {
  const known = keySets.get(settings);
  if (known !== undefined) {
    return known;
  }
  const rules = { allow: settings.outboundAllow.join(","), ownHosts: [new URL(settings.publicUrl).host] };
  const keys = createRemoteJWKSet(new URL(trusted.jwksUrl), {
    [customFetch]: async (url, init) =>
      await fetchOutbound(new Request(url, { headers: init.headers }), {
        ...rules,
        signal: init.signal,
        timeoutMs: fetchMs,
      }),
  });
  keySets.set(settings, keys);
  return keys;
}
