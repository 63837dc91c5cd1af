import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { routerFor } from "../../src/routing/router-for.js";
import { readConfig } from "../../src/snapshot/build.js";
import { invites } from "../../src/tenancy/model.js";
import { call } from "../support/client.js";
import { db, seedWorkspace } from "../support/seed.js";

describe("a workspace's settings", () => {
  it("can be read when they hold a language and a time zone that are refused by now", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const old = { locale: `de-${"abcdefgh-".repeat(5)}x1`, timezone: "Mars/Olympus" };
    expect((await call("PATCH", `/workspaces/${id}`, { token, body: { settings: old } })).status).toBe(422);
    await env.DB.prepare("UPDATE workspaces SET settings = json_patch(settings, ?) WHERE id = ?")
      .bind(JSON.stringify(old), id)
      .run();
    const read = await call("GET", `/workspaces/${id}`, { token });
    expect([read.status, read.body.settings]).toMatchObject([200, old]);
    const changed = await call("PATCH", `/workspaces/${id}`, { token, body: { settings: { seat_limit: 9 } } });
    expect([changed.status, changed.body.settings]).toMatchObject([200, { ...old, seat_limit: 9 }]);
  });

  it("a change leaves what it does not name, inside the policies too", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const patch = (settings: unknown) => call("PATCH", `/workspaces/${id}`, { token, body: { settings } });
    expect((await patch({ invite_policy: { expiry_days: 3 } })).body.settings).toEqual({
      locale: "en-US",
      timezone: "UTC",
      region: "auto",
      seat_limit: 0,
      invite_policy: { expiry_days: 3 },
      key_policy: { max_days: 365, member_keys: true },
      audit_retention_days: null,
      audit_checkpoint_email: null,
      limits: { rpm: null, tpm: null, concurrent: null, budget_usd: { day: null, month: null } },
    });
    await patch({ key_policy: { member_keys: false } });
    await patch({ key_policy: { max_days: null } });
    const last = await patch({ locale: "zh-CN", region: "weur" });
    expect(last.body.settings).toMatchObject({
      locale: "zh-CN",
      region: "weur",
      invite_policy: { expiry_days: 3 },
      key_policy: { max_days: null, member_keys: false },
    });
    const read = await call("GET", `/workspaces/${id}`, { token });
    expect(read.body.settings).toEqual(last.body.settings);
  });

  it("what lies outside a policy's bounds is 422 at its pointer", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const cases = [
      [{ invite_policy: { expiry_days: 0 } }, "/settings/invite_policy/expiry_days"],
      [{ invite_policy: { expiry_days: 31 } }, "/settings/invite_policy/expiry_days"],
      [{ key_policy: { max_days: 0 } }, "/settings/key_policy/max_days"],
      [{ key_policy: { colour: 1 } }, "/settings/key_policy/colour"],
      [{ timezone: "Mars/Olympus" }, "/settings/timezone"],
      [{ region: "moon" }, "/settings/region"],
    ] as const;
    for (const [settings, pointer] of cases) {
      const refused = await call("PATCH", `/workspaces/${id}`, { token, body: { settings } });
      expect([refused.status, refused.body.errors?.[0]?.pointer]).toEqual([422, pointer]);
    }
  });

  it("an invite lives as long as the invite policy says", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const lifeOf = async (email: string) => {
      await call("POST", `/workspaces/${id}/members/invite`, { token, body: { emails: [email] } });
      const [row] = await db.select().from(invites).where(eq(invites.email, email)).all();
      return (row?.expiresAt ?? 0) - (row?.createdAt ?? 0);
    };
    expect(await lifeOf(`a-${id}@example.com`)).toBe(7 * 86_400_000);
    await call("PATCH", `/workspaces/${id}`, { token, body: { settings: { invite_policy: { expiry_days: 30 } } } });
    expect(await lifeOf(`b-${id}@example.com`)).toBe(30 * 86_400_000);
  });

  it("limits of the workspace change part by part, are told to its Routers, and stand in the audit log", async ({
    expect,
  }) => {
    const { id, token } = await seedWorkspace();
    const patch = async (limits: unknown, by = token) =>
      await call("PATCH", `/workspaces/${id}`, { token: by, body: { settings: { limits } } });
    const none = { rpm: null, tpm: null, concurrent: null, budget_usd: { day: null, month: null } };
    expect((await readConfig(db, id)).rows.limits).toBeUndefined();
    const first = await patch({ rpm: 60, budget_usd: { day: 0.5, month: 3 } });
    expect(first.body.settings.limits).toEqual({ ...none, rpm: 60, budget_usd: { day: 0.5, month: 3 } });
    const second = await patch({ tpm: 5_000, budget_usd: { day: null } });
    expect(second.body.settings.limits).toEqual({ ...none, rpm: 60, tpm: 5_000, budget_usd: { day: null, month: 3 } });
    const { address, rows } = await readConfig(db, id);
    expect(rows.limits).toEqual({ rpm: 60, tpm: 5_000, concurrent: null, budget: { day: null, month: 3_000_000 } });
    expect(await routerFor(env, id, "auto").configured()).toEqual({ epoch: address.epoch, version: address.version });
    await call("PATCH", `/workspaces/${id}`, { token, body: { name: `Other ${id}`, settings: { locale: "zh-CN" } } });
    expect((await readConfig(db, id)).address).toEqual(address);
    const log = await db.select().from(auditLog).where(eq(auditLog.workspaceId, id)).orderBy(auditLog.seq).all();
    const told = log.findLast(({ after }) => after?.includes('"tpm":5000') === true && !after.includes("zh-CN"));
    expect([
      told?.action,
      JSON.parse(told?.before ?? "").settings.limits,
      JSON.parse(told?.after ?? "").settings.limits,
    ]).toEqual(["workspace.updated", first.body.settings.limits, second.body.settings.limits]);
    expect((await patch({ rpm: 0 })).body.errors[0].pointer).toBe("/settings/limits/rpm");
    expect((await patch({ budget_usd: null, rpm: null, tpm: null })).body.settings.limits).toEqual(none);
  });

  it("limits are tightened by a key with workspace:manage, and loosened only by who is signed in", async ({
    expect,
  }) => {
    const { id, token } = await seedWorkspace();
    const made = await call("POST", `/workspaces/${id}/api-keys`, {
      token,
      body: { name: "manager", scopes: ["workspace:manage", "workspace:read"] },
    });
    const patch = async (limits: unknown, by: string) =>
      await call("PATCH", `/workspaces/${id}`, { token: by, body: { settings: { limits } } });
    await patch({ rpm: 60, budget_usd: { month: 3 } }, token);
    const lifted = await patch({ rpm: 61, budget_usd: null }, made.body.secret);
    expect([lifted.status, lifted.body.code]).toEqual([403, "limit_too_high"]);
    expect(lifted.body.errors.map((error: { pointer: string }) => error.pointer)).toEqual([
      "/settings/limits/rpm",
      "/settings/limits/budget_usd/month",
    ]);
    const tightened = await patch({ rpm: 59, tpm: 100, budget_usd: { day: 1 } }, made.body.secret);
    expect(tightened.body.settings.limits).toMatchObject({ rpm: 59, tpm: 100, budget_usd: { day: 1, month: 3 } });
    expect((await patch({ rpm: null }, token)).body.settings.limits.rpm).toBeNull();
  });
});
