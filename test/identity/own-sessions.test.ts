import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { commit } from "../../src/base/database.js";
import { requireSettings } from "../../src/base/settings.js";
import { sessions } from "../../src/identity/model.js";
import { planSession } from "../../src/identity/sessions.js";
import { call, origin } from "../support/client.js";
import { db, seedAccount } from "../support/seed.js";

async function anotherSession(accountId: string): Promise<{ id: string; token: string }> {
  const from = { ip: "192.0.2.7", userAgent: "another", requestId: null };
  const made = await planSession(requireSettings(env).authSecret, db, accountId, from, Date.now());
  await commit(db, [made.statement]);
  return { id: made.sessionId, token: made.token.reveal() };
}

function cookie(token: string): Record<string, string> {
  return { cookie: `other=1; gatehouse.session_token=${encodeURIComponent(token)}` };
}

describe("one's own sessions", () => {
  it("are listed by id, with the current one marked and no token in sight, and page by page", async ({ expect }) => {
    const me = await seedAccount();
    const other = await anotherSession(me.id);
    await seedAccount();
    const list = await call("GET", "/auth/sessions", { token: me.token });
    expect(list.body.data.map((row: { current: boolean }) => row.current)).toEqual([false, true]);
    expect(list.body.data[0]).toMatchObject({ id: other.id, ip: "192.0.2.7", user_agent: "another" });
    for (const token of [me.token, other.token]) {
      expect(list.text).not.toContain(token.split(".")[0]);
    }
    const first = await call("GET", "/auth/sessions?limit=1", { token: me.token });
    const second = await call("GET", `/auth/sessions?limit=1&cursor=${first.body.next_cursor}`, { token: me.token });
    expect([...first.body.data, ...second.body.data]).toEqual(list.body.data);
    expect(second.body.next_cursor).toBeNull();
  });

  it("end one by one, from the answer on, and only one's own", async ({ expect }) => {
    const me = await seedAccount();
    const stranger = await seedAccount();
    const other = await anotherSession(me.id);
    expect((await call("DELETE", `/auth/sessions/${other.id}`, { token: stranger.token })).status).toBe(404);
    expect((await call("GET", "/auth/sessions", { token: other.token })).status).toBe(200);
    const ended = await call("DELETE", `/auth/sessions/${other.id}`, { token: me.token });
    expect(ended.status).toBe(204);
    expect((await call("GET", "/auth/sessions", { token: other.token })).status).toBe(401);
    expect((await call("DELETE", `/auth/sessions/${other.id}`, { token: me.token })).status).toBe(404);
    const told = await db.select().from(auditLog).where(eq(auditLog.action, "session.revoked"));
    const row = told.find(({ targets }) => targets.includes(other.id));
    expect(row).toMatchObject({ actorId: me.id, requestId: ended.headers.get("x-request-id") });
    expect(told.length).toBe(1);
  });

  it("end all at once, with an audit row for each, and the current one stays when asked to", async ({ expect }) => {
    const me = await seedAccount();
    const stranger = await seedAccount();
    const others = [await anotherSession(me.id), await anotherSession(me.id)];
    expect((await call("DELETE", "/auth/sessions?keep_current=true", { token: me.token })).status).toBe(204);
    for (const { token } of others) {
      expect((await call("GET", "/auth/sessions", { token })).status).toBe(401);
    }
    expect((await call("GET", "/auth/sessions", { token: me.token })).body.data.length).toBe(1);
    expect((await call("DELETE", "/auth/sessions", { token: me.token })).status).toBe(204);
    expect((await call("GET", "/auth/sessions", { token: me.token })).status).toBe(401);
    const told = await db.select().from(auditLog).where(eq(auditLog.actorId, me.id));
    expect(told.filter(({ action }) => action === "session.revoked").length).toBe(3);
    expect((await call("GET", "/auth/sessions", { token: stranger.token })).status).toBe(200);
  });

  it("are left by signing out, which takes the cookie away too", async ({ expect }) => {
    const me = await seedAccount();
    const out = await call("POST", "/auth/sign-out", { headers: { ...cookie(me.token), origin } });
    expect(out.status).toBe(204);
    expect(out.headers.get("set-cookie")).toBe("gatehouse.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
    expect(await db.$count(sessions, eq(sessions.userId, me.id))).toBe(0);
  });
});

describe("a session in a cookie", () => {
  it("reads without an Origin, and writes only from our own pages", async ({ expect }) => {
    const me = await seedAccount();
    const other = await anotherSession(me.id);
    const borne = cookie(me.token);
    expect((await call("GET", "/auth/sessions", { headers: borne })).status).toBe(200);
    for (const foreign of [
      {},
      { origin: "https://evil.example" },
      { origin: "null" },
      { origin: `${origin}.evil.example` },
    ]) {
      const refused = await call("DELETE", `/auth/sessions/${other.id}`, { headers: { ...borne, ...foreign } });
      expect([refused.status, refused.body.code]).toEqual([403, "origin_not_allowed"]);
    }
    expect((await call("DELETE", `/auth/sessions/${other.id}`, { headers: { ...borne, origin } })).status).toBe(204);
  });

  it("counts only with its signature, and not beside an Authorization header", async ({ expect }) => {
    const me = await seedAccount();
    const bare = me.token.split(".")[0] ?? "";
    const forged = `${bare}.${btoa("x".repeat(32))}`;
    for (const token of [bare, forged, `${me.token}x`, "%"]) {
      expect((await call("GET", "/auth/sessions", { headers: cookie(token) })).status).toBe(401);
    }
    const both = await call("GET", "/auth/sessions", { token: "nonsense", headers: cookie(me.token) });
    expect(both.status).toBe(401);
  });
});
