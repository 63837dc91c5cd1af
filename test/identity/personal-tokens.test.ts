import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { endpoints } from "../../src/app.js";
import { auditLog } from "../../src/audit/model.js";
import { personalTokens } from "../../src/identity/model.js";
import { tokensPerAccount } from "../../src/identity/personal-tokens.js";
import { call, type Answer } from "../support/client.js";
import { db, seedAccount, seedMember, seedWorkspace } from "../support/seed.js";

async function makeToken(session: string, scopes: readonly string[], more: object = {}): Promise<Answer> {
  return await call("POST", "/me/tokens", {
    token: session,
    body: { name: `T ${crypto.randomUUID()}`, scopes, ...more },
  });
}

function create(token: string): Promise<Answer> {
  return call("POST", "/workspaces", { token, body: { name: `W ${crypto.randomUUID()}` } });
}

function list(token: string): Promise<Answer> {
  return call("GET", "/workspaces", { token });
}

describe("personal tokens", () => {
  it("are shown once, stored as a digest, listed without their secret", async ({ expect }) => {
    const me = await seedAccount();
    const made = await makeToken(me.token, ["workspace:read"], { name: "CI" });
    expect([made.status, made.headers.get("location")]).toEqual([201, `/me/tokens/${made.body.id}`]);
    expect(made.body.secret).toMatch(/^ghp_t1_[0-9a-z]{68}$/);
    expect(Date.parse(made.body.expires_at) - Date.parse(made.body.created_at)).toBe(90 * 86_400_000);
    const listed = await call("GET", "/me/tokens", { token: me.token });
    const { secret, ...shown } = made.body;
    expect(listed.body.data).toEqual([shown]);
    const [row] = await db.select().from(personalTokens).where(eq(personalTokens.id, made.body.id));
    expect(JSON.stringify(row)).not.toContain(secret.slice(7, 59));
    const told = await db.select().from(auditLog).where(eq(auditLog.action, "personal_token.created"));
    expect(told.some(({ actorId, targets }) => actorId === me.id && targets.includes(made.body.id))).toBe(true);
    expect(JSON.stringify(told)).not.toContain(secret.slice(7));
  });

  it("live 90 days at most and must end in the future; names are taken while they live", async ({ expect }) => {
    const me = await seedAccount();
    for (const days of [91, -1]) {
      const refused = await makeToken(me.token, ["workspace:read"], {
        expires_at: new Date(Date.now() + days * 86_400_000).toISOString(),
      });
      expect([refused.status, refused.body.errors[0].pointer]).toEqual([422, "/expires_at"]);
    }
    expect((await makeToken(me.token, ["everything"])).status).toBe(422);
    const first = await makeToken(me.token, ["workspace:read"], { name: "Twice" });
    expect((await makeToken(me.token, ["workspace:read"], { name: "Twice" })).body.code).toBe("name_taken");
    await call("DELETE", `/me/tokens/${first.body.id}`, { token: me.token });
    expect((await makeToken(me.token, ["workspace:read"], { name: "Twice" })).status).toBe(201);
  });

  it("are fifty at most, expired ones counted; one that is revoked makes room", async ({ expect }) => {
    const me = await seedAccount();
    const { body: first } = await makeToken(me.token, ["workspace:read"]);
    const rows = await db.select().from(personalTokens).where(eq(personalTokens.id, first.id));
    for (const row of rows) {
      for (let i = 2; i < tokensPerAccount; i += 1) {
        const id = `${row.id}${i}`;
        await db.insert(personalTokens).values({ ...row, id, name: `T ${i}`, digest: id, expiresAt: 1 });
      }
    }
    const both = await Promise.all([makeToken(me.token, ["workspace:read"]), makeToken(me.token, ["workspace:read"])]);
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409]);
    expect((await makeToken(me.token, ["workspace:read"])).body.code).toBe("limit_reached");
    await call("DELETE", `/me/tokens/${first.id}`, { token: me.token });
    expect((await makeToken(me.token, ["workspace:read"])).status).toBe(201);
  });

  it("act as their maker within their scopes, and write down that it was a token", async ({ expect }) => {
    const team = await seedWorkspace();
    const reader = (await makeToken(team.token, ["workspace:read"])).body.secret;
    expect((await call("GET", `/workspaces/${team.id}`, { token: reader })).status).toBe(200);
    expect((await call("GET", "/workspaces", { token: reader })).body.data.length).toBe(1);
    const refused = await call("PATCH", `/workspaces/${team.id}`, { token: reader, body: { name: "No" } });
    expect([refused.status, refused.body.code]).toEqual([403, "forbidden"]);
    const manager = (await makeToken(team.token, ["workspace:manage"], { name: "Renamer" })).body.secret;
    expect((await call("PATCH", `/workspaces/${team.id}`, { token: manager, body: { name: "Yes" } })).status).toBe(200);
    expect((await call("GET", "/workspaces", { token: manager })).status).toBe(403);
    const [row] = await db.select().from(auditLog).where(eq(auditLog.action, "workspace.updated"));
    expect(row).toMatchObject({ actorType: "account", actorId: team.owner.id });
    expect(row?.actorName).toMatch(/\(token Renamer\)$/);
  });

  it("reach no further than their maker's role is now", async ({ expect }) => {
    const team = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    const token = (await makeToken(admin.token, ["workspace:manage", "workspace:read"])).body.secret;
    const rename = (name: string) => call("PATCH", `/workspaces/${team.id}`, { token, body: { name } });
    expect((await rename("While admin")).status).toBe(200);
    await env.DB.prepare("UPDATE members SET role = 'MEMBER' WHERE id = ?").bind(admin.memberId).run();
    expect((await rename("As member")).status).toBe(403);
    await env.DB.prepare("UPDATE members SET removed_at = 1 WHERE id = ?").bind(admin.memberId).run();
    expect((await call("GET", `/workspaces/${team.id}`, { token })).status).toBe(404);
  });

  it("hand on to an API key nothing but their own scopes", async ({ expect }) => {
    const team = await seedWorkspace();
    const token = (await makeToken(team.token, ["keys:manage", "models:invoke"])).body.secret;
    const make = (scope: string) =>
      call("POST", `/workspaces/${team.id}/api-keys`, { token, body: { name: scope, scopes: [scope] } });
    expect((await make("models:invoke")).status).toBe(201);
    const refused = await make("members:manage");
    expect([refused.status, refused.body.code]).toEqual([403, "scope_too_high"]);
  });

  it("create workspaces only with workspaces:create", async ({ expect }) => {
    const me = await seedAccount();
    const creator = (await makeToken(me.token, ["workspaces:create"])).body.secret;
    const other = (await makeToken(me.token, ["workspace:manage"])).body.secret;
    expect((await create(other)).status).toBe(403);
    const made = await create(creator);
    expect([made.status, made.body.role]).toEqual([201, "OWNER"]);
    expect((await call("GET", `/workspaces/${made.body.id}`, { token: creator })).status).toBe(403);
  });

  it("are refused where only a session is taken", async ({ expect }) => {
    const team = await seedWorkspace();
    const all = ["workspaces:create", "workspace:read", "workspace:manage", "members:manage", "keys:manage"];
    const token = (await makeToken(team.token, all)).body.secret;
    const closed = endpoints.filter(
      ({ spec }) => spec.permission.kind === "session" && spec.permission.tokens === undefined,
    );
    expect(closed.length).toBeGreaterThan(6);
    for (const { spec } of closed) {
      const path = spec.path.replaceAll(/\{\w+\}/g, "x");
      const answer = await call(spec.method.toUpperCase(), path, {
        token,
        ...(spec.body === undefined ? {} : { body: {} }),
      });
      expect([spec.operation, answer.status]).toEqual([spec.operation, 403]);
    }
    expect((await call("GET", "/auth/sessions", { token: team.token })).status).toBe(200);
  });

  it("are refused once revoked, expired or changed in any character; nobody else can revoke them", async ({
    expect,
  }) => {
    const me = await seedAccount();
    const stranger = await seedAccount();
    const { id, secret } = (await makeToken(me.token, ["workspace:read"])).body;
    expect((await list(secret)).status).toBe(200);
    for (const at of [3, 5, 20, 70, secret.length - 1]) {
      const changed = `${secret.slice(0, at)}${secret[at] === "0" ? "1" : "0"}${secret.slice(at + 1)}`;
      expect((await list(changed)).status).toBe(401);
    }
    expect((await call("DELETE", `/me/tokens/${id}`, { token: stranger.token })).status).toBe(404);
    expect((await list(secret)).status).toBe(200);
    expect((await call("DELETE", `/me/tokens/${id}`, { token: me.token })).status).toBe(204);
    expect((await list(secret)).status).toBe(401);
    await expect(
      env.DB.prepare("UPDATE personal_tokens SET revoked_at = NULL WHERE id = ?").bind(id).run(),
    ).rejects.toThrow();
    const brief = (await makeToken(me.token, ["workspace:read"])).body;
    await env.DB.prepare("UPDATE personal_tokens SET expires_at = ? WHERE id = ?")
      .bind(Date.now() - 1, brief.id)
      .run();
    expect((await list(brief.secret)).status).toBe(401);
    const shown = await call("GET", "/me/tokens", { token: me.token });
    expect(shown.body.data.map((row: { status: string }) => row.status)).toEqual(["expired"]);
  });

  it("is answered sealed to a retry with the same Idempotency-Key, and made once", async ({ expect }) => {
    const me = await seedAccount();
    const options = {
      token: me.token,
      body: { name: "Once", scopes: ["workspace:read"] },
      headers: { "idempotency-key": crypto.randomUUID() },
    };
    const first = await call("POST", "/me/tokens", options);
    const again = await call("POST", "/me/tokens", options);
    expect([first.status, again.status, again.body.secret]).toEqual([201, 201, first.body.secret]);
    const stored = await env.DB.prepare("SELECT * FROM idempotency").all();
    expect(JSON.stringify(stored.results)).not.toContain(first.body.secret.slice(7, 59));
  });
});

describe("WORKSPACE_CREATORS", () => {
  it("is owners by default: who owns no workspace creates none, who owns one may", async ({ expect }) => {
    const { guardCreator } = await import("../../src/workspaces/creators.js");
    const { readSettings } = await import("../../src/base/settings.js");
    const reading = readSettings({ ...env, WORKSPACE_CREATORS: "" });
    const settings = "settings" in reading ? reading.settings : expect.fail("no settings");
    expect(settings.signIn.workspaceCreators).toBe("owners");
    const team = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    expect((await guardCreator(db, settings, team.owner.id)).length).toBe(1);
    await expect(guardCreator(db, settings, admin.id)).rejects.toMatchObject({ code: "forbidden" });
    const gone = await call("DELETE", `/workspaces/${team.id}`, { token: team.token, body: { slug: team.slug } });
    expect([gone.status, (await guardCreator(db, settings, team.owner.id)).length]).toEqual([202, 1]);
  });
});
