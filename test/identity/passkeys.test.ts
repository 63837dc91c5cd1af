import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { requireSettings } from "../../src/base/settings.js";
import { passkeys, sessions } from "../../src/identity/model.js";
import { challengeMs, isChallenge, mintChallenge } from "../../src/identity/passkey.js";
import { newAuthenticator, type Authenticator, type CeremonyOptions, type Lie } from "../support/authenticator.js";
import { call, origin, type Answer } from "../support/client.js";
import { db, seedAccount, type SeededAccount } from "../support/seed.js";

const { authSecret } = requireSettings(env);

async function options(path: string, token?: string): Promise<CeremonyOptions> {
  return (await call("POST", path, token === undefined ? {} : { token })).body;
}

async function add(person: SeededAccount, key: Authenticator, lie: Lie = {}): Promise<Answer> {
  const asked = await options("/me/passkeys/options", person.token);
  const body = { name: "Laptop", response: await key.create(asked, origin, lie) };
  return await call("POST", "/me/passkeys", { token: person.token, body });
}

async function signIn(key: Authenticator, lie: Lie = {}): Promise<Answer> {
  const response = await key.get(await options("/auth/passkey/options"), origin, lie);
  return await call("POST", "/auth/passkey/verify", { body: { response } });
}

describe("passkeys", () => {
  it("sign in who added them, again and again, and write both down", async ({ expect }) => {
    const me = await seedAccount();
    const key = await newAuthenticator();
    const added = await add(me, key);
    expect([added.status, added.headers.get("location")]).toEqual([201, `/me/passkeys/${added.body.id}`]);
    for (const _ of [1, 2]) {
      const signedIn = await signIn(key);
      expect([signedIn.status, signedIn.body.account?.id]).toEqual([200, me.id]);
      expect((await call("GET", "/me", { token: signedIn.body.session_token })).body.id).toBe(me.id);
    }
    const told = await db.select().from(auditLog).where(eq(auditLog.actorId, me.id));
    const actions = told.map(({ action }) => action);
    expect(actions.filter((action) => action === "passkey.added").length).toBe(1);
    expect(actions.filter((action) => action === "session.created").length).toBe(3);
    const list = (await call("GET", "/me/passkeys", { token: me.token })).body.data;
    expect(list.map(({ id, name }: { id: string; name: string }) => [id, name])).toEqual([[added.body.id, "Laptop"]]);
    expect(list[0].last_used_at).not.toBeNull();
  });

  it("can come as a cookie that scripts cannot read", async ({ expect }) => {
    const me = await seedAccount();
    const key = await newAuthenticator();
    await add(me, key);
    const response = await key.get(await options("/auth/passkey/options"), origin);
    const signedIn = await call("POST", "/auth/passkey/verify", { body: { response, cookie: true } });
    expect(signedIn.body.session_token).toBeNull();
    const cookie = signedIn.headers.get("set-cookie") ?? "";
    expect(cookie).toContain("; HttpOnly; SameSite=Lax");
    expect((await call("GET", "/me", { headers: { cookie: cookie.split(";")[0] ?? "" } })).body.id).toBe(me.id);
  });

  it("open nothing by an answer that is wrong in any part", async ({ expect }) => {
    const me = await seedAccount();
    const other = await seedAccount();
    const key = await newAuthenticator();
    await add(me, key);
    const before = await db.$count(sessions);
    const lies: Record<string, Lie> = {
      "another site": { origin: "https://evil.example" },
      "another service's key": { rpId: "evil.example" },
      "another ceremony": { type: "webauthn.create" },
      "nobody there": { flags: 4 },
      "nobody verified": { flags: 1 },
      "another's account": { userHandle: btoa(other.id).replaceAll("=", "") },
      "no account": { userHandle: "" },
    };
    for (const [name, lie] of Object.entries(lies)) {
      const refused = await signIn(key, lie);
      expect([name, refused.status, refused.body.code]).toEqual([name, 401, "code_refused"]);
    }
    expect((await signIn(await newAuthenticator())).status).toBe(401);
    const asked = await options("/auth/passkey/options");
    const stolen = {
      ...(await (await newAuthenticator()).get(asked, origin, { userHandle: btoa(me.id).replaceAll("=", "") })),
      id: key.id,
      rawId: key.id,
    };
    expect((await call("POST", "/auth/passkey/verify", { body: { response: stolen } })).status).toBe(401);
    expect(await db.$count(sessions)).toBe(before);
  });

  it("answer a challenge once, also when twenty bring the same answer at once", async ({ expect }) => {
    const me = await seedAccount();
    const key = await newAuthenticator();
    await add(me, key);
    // An authenticator that does not count: the challenge alone tells a repeat.
    const response = await key.get(await options("/auth/passkey/options"), origin, { counter: 0 });
    const tries = Array.from({ length: 20 }, () => call("POST", "/auth/passkey/verify", { body: { response } }));
    const statuses = (await Promise.all(tries)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200).length).toBe(1);
    expect(statuses.filter((status) => status === 401).length).toBe(19);
  });

  it("show a copy: a counter that does not grow is refused", async ({ expect }) => {
    const me = await seedAccount();
    const key = await newAuthenticator();
    await add(me, key);
    expect((await signIn(key, { counter: 7 })).status).toBe(200);
    for (const counter of [7, 6, 0]) {
      expect((await signIn(key, { counter })).status).toBe(401);
    }
    expect((await signIn(key, { counter: 8 })).status).toBe(200);
    const copies = (await Promise.all([1, 2, 3, 4, 5, 6].map(() => signIn(key, { counter: 9 })))).map(
      ({ status }) => status,
    );
    expect(copies.filter((status) => status === 200).length).toBe(1);
  });

  it("are added only under a session, for that account, from our own pages, and once", async ({ expect }) => {
    const me = await seedAccount();
    const other = await seedAccount();
    const key = await newAuthenticator();
    for (const lie of [
      { origin: "https://evil.example" },
      { rpId: "evil.example" },
      { flags: 0x41 },
      { type: "webauthn.get" },
    ]) {
      expect((await add(me, key, lie)).status).toBe(401);
    }
    const theirs = await options("/me/passkeys/options", other.token);
    const response = await key.create(theirs, origin);
    const swapped = await call("POST", "/me/passkeys", { token: me.token, body: { name: "X", response } });
    expect(swapped.status).toBe(401);
    const anybody = await key.create({ ...(await options("/auth/passkey/options")), rp: { id: "127.0.0.1" } }, origin);
    expect(
      (await call("POST", "/me/passkeys", { token: me.token, body: { name: "X", response: anybody } })).status,
    ).toBe(401);
    expect((await add(me, key)).status).toBe(201);
    expect((await add(other, key)).body.code).toBe("conflict");
    const jwt = (await call("GET", "/auth/token", { token: me.token })).body.access_token;
    expect((await call("POST", "/me/passkeys/options", { token: jwt })).status).toBe(403);
    expect(await db.$count(passkeys, eq(passkeys.userId, other.id))).toBe(0);
  });

  it("sign nobody in once removed, and only their owner removes them", async ({ expect }) => {
    const me = await seedAccount();
    const other = await seedAccount();
    const key = await newAuthenticator();
    const { id } = (await add(me, key)).body;
    expect((await call("DELETE", `/me/passkeys/${id}`, { token: other.token })).status).toBe(404);
    expect((await signIn(key)).status).toBe(200);
    expect((await call("DELETE", `/me/passkeys/${id}`, { token: me.token })).status).toBe(204);
    expect((await signIn(key)).status).toBe(401);
    expect((await call("DELETE", `/me/passkeys/${id}`, { token: me.token })).status).toBe(404);
  });

  it("are asked for by challenges that hold for one ceremony and five minutes", async ({ expect }) => {
    const now = Date.now();
    const challenge = await mintChallenge(authSecret, "sign_in", now);
    expect(await isChallenge(authSecret, "sign_in", challenge, now + challengeMs - 1)).toBe(true);
    expect(await isChallenge(authSecret, "sign_in", challenge, now + challengeMs)).toBe(false);
    expect(await isChallenge(authSecret, "add|usr_x", challenge, now)).toBe(false);
    for (const at of [0, 50, 60, 95]) {
      const changed = `${challenge.slice(0, at)}${challenge[at] === "A" ? "B" : "A"}${challenge.slice(at + 1)}`;
      expect(await isChallenge(authSecret, "sign_in", changed, now)).toBe(false);
    }
  });
});
