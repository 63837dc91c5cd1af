import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { invites } from "../../src/tenancy/model.js";
import { call } from "../support/client.js";
import { db, seedWorkspace } from "../support/seed.js";

describe("a workspace's settings", () => {
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
});
