import { and, eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { newId } from "../../src/base/ids.js";
import { members } from "../../src/tenancy/model.js";
import { call } from "../support/client.js";
import { db, seedAccount, seedMember, seedWorkspace } from "../support/seed.js";

const currentOf = async (token: string, headers: Record<string, string> = {}): Promise<string> =>
  (await call("GET", "/workspaces/current", { token, headers })).body.id;

describe("switching", () => {
  it("makes a workspace what `current` means, until the person switches again or names another", async ({ expect }) => {
    const first = await seedWorkspace();
    const second = await seedWorkspace();
    await db.insert(members).values({
      id: newId("member"),
      workspaceId: second.id,
      userId: first.owner.id,
      role: "MEMBER",
      createdAt: Date.now() + 1,
    });
    expect(await currentOf(first.token)).toBe(second.id);
    const switched = await call("POST", `/workspaces/${first.slug}/switch`, { token: first.token });
    expect([switched.status, switched.body.id, switched.body.role]).toEqual([200, first.id, "OWNER"]);
    expect(await currentOf(first.token)).toBe(first.id);
    expect(await currentOf(first.token, { "x-workspace": second.slug })).toBe(second.id);
    await call("POST", `/workspaces/${second.id}/switch`, { token: first.token });
    expect(await currentOf(first.token)).toBe(second.id);
    expect(await currentOf(second.token)).toBe(second.id);
  });

  it("falls back to the one joined last where the person belongs no more", async ({ expect }) => {
    const home = await seedWorkspace();
    const other = await seedWorkspace();
    const memberId = newId("member");
    await db
      .insert(members)
      .values({ id: memberId, workspaceId: other.id, userId: home.owner.id, role: "MEMBER", createdAt: 1 });
    await call("POST", `/workspaces/${other.id}/switch`, { token: home.token });
    expect(await currentOf(home.token)).toBe(other.id);
    await db.update(members).set({ removedAt: Date.now() }).where(eq(members.id, memberId));
    expect(await currentOf(home.token)).toBe(home.id);
  });

  it("is written down once for each switch, outside the workspace's own log", async ({ expect }) => {
    const { id, token, owner } = await seedWorkspace();
    await call("POST", `/workspaces/${id}/switch`, { token });
    await call("POST", `/workspaces/${id}/switch`, { token });
    const mine = and(eq(auditLog.actorId, owner.id), eq(auditLog.action, "workspace.switched"));
    const rows = await db.select().from(auditLog).where(mine).all();
    expect(rows.map((row) => [row.workspaceId, JSON.parse(row.targets)])).toEqual([
      [null, [{ type: "workspace", id }]],
    ]);
  });

  it("is for members' sessions only: a key is refused, a stranger meets nothing", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const member = await seedMember(id, "MEMBER");
    const stranger = await seedAccount();
    const body = { name: "All", scopes: ["workspace:read", "workspace:manage"] };
    const key = (await call("POST", `/workspaces/${id}/api-keys`, { token, body })).body.secret;
    const statusOf = async (bearer: string) =>
      (await call("POST", `/workspaces/${id}/switch`, { token: bearer })).status;
    expect([await statusOf(member.token), await statusOf(key), await statusOf(stranger.token)]).toEqual([
      200, 403, 404,
    ]);
  });
});
