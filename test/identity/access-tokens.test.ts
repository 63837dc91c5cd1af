import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import {
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  generateKeyPair,
  exportJWK,
  jwtVerify,
  SignJWT,
  UnsecuredJWT,
} from "jose";
import { describe, it } from "vitest";
import { parseKeyring } from "../../src/base/keyring.js";
import { requireSettings, type Settings } from "../../src/base/settings.js";
import { signAccessToken } from "../../src/identity/access-tokens.js";
import { users } from "../../src/identity/model.js";
import { keyPeriodMs, publicKeys, signingKey, verifyingKey } from "../../src/identity/signing-keys.js";
import { call, origin, send } from "../support/client.js";
import { db, seedAccount, seedWorkspace } from "../support/seed.js";

const settings: Settings = requireSettings(env);
const issuer = "https://issuer.upstream.test";

async function issue(session: string): Promise<string> {
  return (await call("GET", "/auth/token", { token: session })).body.access_token;
}

function status(token: string): Promise<number> {
  return call("GET", "/workspaces", { token }).then((answer) => answer.status);
}

/** A token signed by the service's own key, with claims and header of the test's choice. */
async function forge(session: string, claims: object, header: object = {}): Promise<string> {
  const good = await issue(session);
  const { kid, key } = await signingKey(settings.authSecret, Date.now());
  return await new SignJWT({ ...decodeJwt(good), ...claims })
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid, ...header })
    .sign(key);
}

describe("access tokens", () => {
  it("say who and which session, for five minutes, and check against the published keys", async ({ expect }) => {
    const me = await seedAccount();
    const answer = await call("GET", "/auth/token", { token: me.token });
    expect(answer.body).toMatchObject({ token_type: "Bearer", expires_in: 300 });
    const keys = (await call("GET", "/auth/jwks")).body;
    expect(keys.keys.length).toBe(3);
    for (const key of keys.keys) {
      expect(Object.keys(key).toSorted()).toEqual(["alg", "crv", "kid", "kty", "use", "x"]);
    }
    const { payload, protectedHeader } = await jwtVerify(answer.body.access_token, createLocalJWKSet(keys), {
      issuer: origin,
      audience: origin,
      typ: "at+jwt",
    });
    expect(protectedHeader.alg).toBe("EdDSA");
    expect(payload.sub).toBe(me.id);
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(300);
    expect(Object.keys(payload).toSorted()).toEqual(["aud", "exp", "iat", "iss", "jti", "nbf", "sid", "sub"]);
    expect(await status(answer.body.access_token)).toBe(200);
  });

  it("end with their session, and with the membership they were used for", async ({ expect }) => {
    const team = await seedWorkspace();
    const token = await issue(team.token);
    expect((await call("GET", `/workspaces/${team.id}`, { token })).status).toBe(200);
    await call("POST", "/auth/sign-out", { token: team.token });
    expect(await status(token)).toBe(401);
  });

  it("make neither another access token nor a personal token", async ({ expect }) => {
    const token = await issue((await seedAccount()).token);
    expect((await call("GET", "/auth/token", { token })).status).toBe(403);
    const body = { name: "Longer", scopes: ["workspace:read"] };
    expect((await call("POST", "/me/tokens", { token, body })).status).toBe(403);
  });

  it("are refused in every forged form", async ({ expect }) => {
    const { token: session, id } = await seedAccount();
    const other = await seedAccount();
    const good = await issue(session);
    const claims = decodeJwt(good);
    const { kid } = decodeProtectedHeader(good);
    const [head = "", body = "", signature = ""] = good.split(".");
    const now = Math.floor(Date.now() / 1000);
    const mine = await generateKeyPair("EdDSA", { extractable: true });
    const jwk = await exportJWK(mine.publicKey);
    const [shown] = (await call("GET", "/auth/jwks")).body.keys.filter((key: { kid: string }) => key.kid === kid);
    const sign = (header: object) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: kid ?? "", ...header })
        .sign(mine.privateKey);
    const hmac = (secret: string) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: "HS256", typ: "at+jwt", kid: kid ?? "" })
        .sign(new TextEncoder().encode(secret));
    const rsa = await generateKeyPair("RS256");
    const attacks: Record<string, string> = {
      "alg none": new UnsecuredJWT(claims).encode(),
      "alg none with our header": `${btoa(JSON.stringify({ alg: "none", typ: "at+jwt", kid })).replaceAll("=", "")}.${body}.`,
      "no signature": `${head}.${body}.`,
      "another's body": `${head}.${btoa(JSON.stringify({ ...claims, sub: other.id })).replaceAll("=", "")}.${signature}`,
      "HMAC under the public key": await hmac(shown.x),
      "HMAC under the public key as JSON": await hmac(JSON.stringify(shown)),
      "RS256 by a stranger": await new SignJWT(claims)
        .setProtectedHeader({ alg: "RS256", typ: "at+jwt", kid: kid ?? "" })
        .sign(rsa.privateKey),
      "a stranger's key under our kid": await sign({}),
      "embedded jwk": await sign({ jwk }),
      "jku elsewhere": await sign({ jku: "https://ok.upstream.test/keys", kid: "evil-1" }),
      "x5u elsewhere": await sign({ x5u: "https://ok.upstream.test/cert", kid: "evil-1" }),
      "kid that is a path": await forge(session, {}, { kid: "../../etc/passwd" }),
      "kid of no month near": await forge(session, {}, { kid: "t1-1" }),
      "no kid": await forge(session, {}, { kid: undefined }),
      "another typ": await forge(session, {}, { typ: "JWT" }),
      "no typ": await forge(session, {}, { typ: undefined }),
      "another issuer": await forge(session, { iss: "https://evil.example" }),
      "another audience": await forge(session, { aud: "https://evil.example" }),
      "no audience": await forge(session, { aud: undefined }),
      expired: await forge(session, { iat: now - 400, nbf: now - 400, exp: now - 100 }),
      "not yet valid": await forge(session, { nbf: now + 60 }),
      "made in the future": await forge(session, { iat: now + 60 }),
      "good for a year": await forge(session, { iat: now - 400, exp: now + 31_536_000 }),
      "no expiry": await forge(session, { exp: undefined }),
      "another's session": await forge(session, { sub: other.id }),
      "no session": await forge(session, { sid: undefined }),
      "a session that never was": await forge(session, { sid: "ses_01h455vb4pex5vsknk084sn02q" }),
      "a session as an object": await forge(session, { sid: { $ne: "" } }),
    };
    for (const [name, token] of Object.entries(attacks)) {
      expect([name, await status(token)]).toEqual([name, 401]);
    }
    expect(await status(good)).toBe(200);
    expect(await status(await forge(session, {}))).toBe(200);
    expect(claims.sub).toBe(id);
  });

  it("are signed by a new key each month; the last month's key still checks, the next one's is shown before", async ({
    expect,
  }) => {
    const ring = settings.authSecret;
    const now = 700 * keyPeriodMs + 5;
    const before = await signingKey(ring, now - keyPeriodMs);
    const current = await signingKey(ring, now);
    expect(before.kid).not.toBe(current.kid);
    const shown = (await publicKeys(ring, now)).map(({ kid }) => kid);
    expect(shown).toContain(before.kid);
    expect(shown).toContain((await signingKey(ring, now + keyPeriodMs)).kid);
    expect(await verifyingKey(ring, before.kid, now)).not.toBeNull();
    expect(await verifyingKey(ring, before.kid, now + keyPeriodMs)).toBeNull();
    const next = parseKeyring(
      env.AUTH_SECRET.replace('"keys":{', `"keys":{"t2":"${btoa("z".repeat(32)).replaceAll("=", "")}",`).replace(
        '"primary":"t1"',
        '"primary":"t2"',
      ),
    );
    const rotated = typeof next === "string" ? expect.fail(next) : next;
    expect((await signingKey(rotated, now)).kid).toMatch(/^t2-/);
    expect(await verifyingKey(rotated, current.kid, now)).not.toBeNull();
    expect((await publicKeys(rotated, now)).length).toBe(6);
  });

  it("get no stored answer of what only the session itself may do", async ({ expect }) => {
    const me = await seedAccount();
    const body = { name: "Longer", scopes: ["workspace:read"] };
    const headers = { "idempotency-key": crypto.randomUUID() };
    const made = await call("POST", "/me/tokens", { token: me.token, body, headers });
    expect((await call("POST", "/me/tokens", { token: me.token, body, headers })).text).toBe(made.text);
    const replayed = await call("POST", "/me/tokens", { token: await issue(me.token), body, headers });
    expect([replayed.status, replayed.body.code]).toEqual([403, "forbidden"]);
    expect(replayed.text).not.toContain(made.body.secret);
  });
});

const trusting = {
  ...env,
  TRUSTED_ISSUER: issuer,
  TRUSTED_AUDIENCE: "gatehouse-api",
  TRUSTED_JWKS: `${issuer}/jwks`,
};

async function outside(claims: object, more: object = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const body = {
    claims: {
      iss: issuer,
      aud: "gatehouse-api",
      sub: "x-1",
      iat: now,
      exp: now + 300,
      email_verified: true,
      ...claims,
    },
    ...more,
  };
  const answer = await fetch(`${issuer}/sign`, { method: "POST", body: JSON.stringify(body) });
  return (await answer.json<{ token: string }>()).token;
}

async function callTrusting(path: string, token: string, init: RequestInit = {}): Promise<Response> {
  const request = new Request(`${origin}${path}`, {
    ...init,
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
  });
  return await send(request, { env: trusting, context: createExecutionContext() });
}

/** As the first code, an invite's link or a provider proves an address. */
async function prove(email: string): Promise<void> {
  await db.update(users).set({ emailVerified: true }).where(eq(users.email, email));
}

describe("a trusted outside issuer", () => {
  it("vouches for who has an account here with that verified address, and for nobody else", async ({ expect }) => {
    const team = await seedWorkspace();
    await prove(team.owner.email);
    const token = await outside({ email: team.owner.email.toUpperCase() });
    const answer = await callTrusting(`/workspaces/${team.id}`, token);
    expect([answer.status, (await answer.json<{ role: string }>()).role]).toEqual([200, "OWNER"]);
    for (const claims of [
      { email: "nobody@example.net" },
      { email: team.owner.email, email_verified: false },
      { email: team.owner.email, email_verified: "true" },
      { email: undefined },
      { email: { toString: team.owner.email } },
    ]) {
      expect((await callTrusting("/workspaces", await outside(claims))).status).toBe(401);
    }
  });

  it("opens no account whose own address was never proven here, until it is", async ({ expect }) => {
    const { email } = await seedAccount();
    const token = await outside({ email });
    expect((await callTrusting("/workspaces", token)).status).toBe(401);
    await prove(email);
    expect((await callTrusting("/workspaces", token)).status).toBe(200);
  });

  it("gets no longer-lived token out of its own, and is nobody unless configured", async ({ expect }) => {
    const me = await seedAccount();
    await prove(me.email);
    const token = await outside({ email: me.email });
    expect((await callTrusting("/workspaces", token)).status).toBe(200);
    expect((await callTrusting("/auth/token", token)).status).toBe(403);
    const body = JSON.stringify({ name: "Longer", scopes: ["workspace:read"] });
    const made = await callTrusting("/me/tokens", token, {
      method: "POST",
      body,
      headers: { "content-type": "application/json" },
    });
    expect(made.status).toBe(403);
    expect(await status(token)).toBe(401);
  });

  it("is not taken at its word in any forged form", async ({ expect }) => {
    const { email } = await seedAccount();
    await prove(email);
    const now = Math.floor(Date.now() / 1000);
    const { jwk } = await fetch(`${issuer}/sign`, {
      method: "POST",
      body: JSON.stringify({ claims: {}, with: "stranger" }),
    }).then((answer) => answer.json<{ jwk: object }>());
    const attacks: Record<string, string> = {
      "alg none": new UnsecuredJWT(decodeJwt(await outside({ email }))).encode(),
      "HMAC under the public key": await outside({ email }, { with: "public-as-secret" }),
      "a stranger's key": await outside({ email }, { with: "stranger" }),
      "a stranger's key, embedded": await outside({ email }, { with: "stranger", header: { jwk } }),
      "keys elsewhere": await outside({ email }, { with: "stranger", header: { jku: `${issuer}/jwks` } }),
      "unknown kid": await outside({ email }, { header: { kid: "other" } }),
      "another typ": await outside({ email }, { header: { typ: "logout+jwt" } }),
      "another audience": await outside({ email, aud: "other" }),
      "no expiry": await outside({ email, exp: undefined }),
      expired: await outside({ email, exp: now - 1 }),
      "not yet valid": await outside({ email, nbf: now + 60 }),
      "our issuer under its key": await outside({ email, iss: origin, aud: origin }),
    };
    for (const [name, token] of Object.entries(attacks)) {
      expect([name, (await callTrusting("/workspaces", token)).status]).toEqual([name, 401]);
    }
    const session = (await seedAccount()).token;
    const mine = await signAccessToken(settings, { accountId: "usr_x", sessionId: "ses_x" }, Date.now());
    expect((await callTrusting("/workspaces", mine.reveal())).status).toBe(401);
    expect((await callTrusting("/workspaces", await issue(session))).status).toBe(200);
  });
});
