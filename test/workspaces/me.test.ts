import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { call } from "../support/client.js";
import { db, seedAccount, seedMember, seedWorkspace } from "../support/seed.js";

describe("one's own account", () => {
  it("shows its memberships with the role it has now, and nobody else's", async ({ expect }) => {
    const team = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    const mine = await call("GET", "/me", { token: admin.token });
    expect(mine.body).toMatchObject({ id: admin.id, email: admin.email, email_verified: false, locale: null });
    expect(mine.body.memberships).toMatchObject([
      { member_id: admin.memberId, role: "ADMIN", workspace: { id: team.id, slug: team.slug } },
    ]);
    const owner = await call("GET", "/me", { token: team.token });
    expect(owner.body.memberships.map((row: { role: string }) => row.role)).toEqual(["OWNER"]);
    expect((await call("GET", "/me", { token: (await seedAccount()).token })).body.memberships).toEqual([]);
  });

  it("changes name, locale and time zone, with one audit row; the same again changes nothing", async ({ expect }) => {
    const me = await seedAccount();
    const body = { name: "Ada Lovelace", locale: "zh-CN", timezone: "Asia/Shanghai" };
    const first = await call("PATCH", "/me", { token: me.token, body });
    expect([first.status, first.body.name, first.body.locale]).toEqual([200, "Ada Lovelace", "zh-CN"]);
    const again = await call("PATCH", "/me", { token: me.token, body });
    expect([again.status, again.headers.get("etag")]).toEqual([200, first.headers.get("etag")]);
    const read = await call("GET", "/me", { token: me.token });
    expect([read.text, read.headers.get("etag")]).toEqual([first.text, first.headers.get("etag")]);
    const rows = await db.select().from(auditLog).where(eq(auditLog.actorId, me.id));
    expect(rows.filter(({ action }) => action === "account.updated").length).toBe(1);
    const cleared = await call("PATCH", "/me", { token: me.token, body: { timezone: null } });
    expect([cleared.body.timezone, cleared.body.locale]).toEqual([null, "zh-CN"]);
  });

  it("refuses a change over what somebody else changed since, and names wrong fields", async ({ expect }) => {
    const me = await seedAccount();
    const seen = (await call("GET", "/me", { token: me.token })).headers.get("etag") ?? "";
    const headers = { "if-match": seen };
    const both = ["A", "B"].map((name) => call("PATCH", "/me", { token: me.token, headers, body: { name } }));
    const statuses = (await Promise.all(both)).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 412]);
    const wrong = await call("PATCH", "/me", {
      token: me.token,
      body: { timezone: "Mars", locale: "?", email: "x@y.zz" },
    });
    expect(wrong.body.errors.map((error: { pointer: string }) => error.pointer).toSorted()).toEqual([
      "/email",
      "/locale",
      "/timezone",
    ]);
    expect((await call("GET", "/me", { token: me.token, headers: { "if-none-match": seen } })).status).toBe(200);
    const now = (await call("GET", "/me", { token: me.token })).headers.get("etag") ?? "";
    expect((await call("GET", "/me", { token: me.token, headers: { "if-none-match": now } })).status).toBe(304);
  });
});
