import { and, eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { workspaces } from "../../src/tenancy/model.js";
import { call } from "../support/client.js";
import { db, seedMember, seedPool, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

const day = 86_400_000;
const strip = (text: string) => text.replace(/req_\w+/, "");
const chat = (key: string) =>
  call("POST", "/v1/chat/completions", {
    token: key,
    body: { model: "chat", messages: [{ role: "user", content: "Hello" }] },
  });
const remove = (workspace: SeededWorkspace, options: { token?: string; headers?: Record<string, string> } = {}) =>
  call("DELETE", `/workspaces/${workspace.id}`, { token: workspace.token, body: { slug: workspace.slug }, ...options });
const restore = (workspace: SeededWorkspace, token = workspace.token) =>
  call("POST", `/workspaces/${workspace.id}/restore`, { token });
const deletedAt = (id: string, at: number) =>
  db.update(workspaces).set({ deletedAt: at }).where(eq(workspaces.id, id)).run();

async function told(id: string, action: string): Promise<number> {
  return await db.$count(auditLog, and(eq(auditLog.workspaceId, id), eq(auditLog.action, action)));
}

describe("deleting a workspace", () => {
  it("stops every key and every session's use before the answer, and says until when it can be restored", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const key = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
    expect((await chat(key)).status).toBe(200);
    const answer = await remove(workspace);
    expect(answer.status).toBe(202);
    const { deleted_at: at, restore_until: until } = answer.body;
    expect(Date.parse(until) - Date.parse(at)).toBe(30 * day);
    expect([answer.body.purged_at, answer.body.purged_final_at]).toEqual([null, null]);
    expect((await chat(key)).status).toBe(401);
    expect((await call("GET", "/v1/models", { token: key })).status).toBe(401);
    expect((await call("GET", "/workspaces/current", { token: key })).status).toBe(401);
    const absent = await call("GET", "/workspaces/ws_01h455vb4pex5vsknk084sn02q", { token: workspace.token });
    for (const token of [workspace.token, admin.token]) {
      const read = await call("GET", `/workspaces/${workspace.id}`, { token });
      expect([read.status, strip(read.text)]).toEqual([404, strip(absent.text)]);
      expect((await call("GET", "/workspaces", { token })).body.data).toEqual([]);
    }
    expect(await told(workspace.id, "workspace.deleted")).toBe(1);
  });

  it("stays visible to its owner alone in the list of deleted ones, and keeps its slug", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const answer = await remove(workspace);
    const listed = await call("GET", "/workspaces?state=deleted", { token: workspace.token });
    expect(listed.body.data).toMatchObject([{ id: workspace.id, role: "OWNER", deletion: answer.body }]);
    expect((await call("GET", "/workspaces?state=deleted", { token: admin.token })).body.data).toEqual([]);
    const body = { name: "Another", slug: workspace.slug };
    const taken = await call("POST", "/workspaces", { token: admin.token, body });
    expect([taken.status, taken.body.code]).toEqual([409, "workspace_exists"]);
  });

  it("needs the slug repeated, the owner's own session and, where sent, a true If-Match", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, token } = workspace;
    const admin = await seedMember(id, "ADMIN");
    const body = { name: "Manager", scopes: ["workspace:manage"] };
    const key = (await call("POST", `/workspaces/${id}/api-keys`, { token, body })).body.secret;
    for (const slug of ["", id, `${workspace.slug}x`, workspace.slug.toUpperCase()]) {
      const wrong = await call("DELETE", `/workspaces/${id}`, { token, body: { slug } });
      expect([wrong.status, wrong.body.errors?.[0]?.pointer]).toEqual([422, "/slug"]);
    }
    for (const bearer of [admin.token, key]) {
      expect((await remove(workspace, { token: bearer })).status).toBe(403);
    }
    const stale = await remove(workspace, { headers: { "if-match": '"99"' } });
    expect([stale.status, stale.body.code]).toEqual([412, "precondition_failed"]);
    expect(await told(id, "workspace.deleted")).toBe(0);
    expect((await call("GET", `/workspaces/${id}`, { token })).status).toBe(200);
  });

  it("asked for again it answers the same and tells it once", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const headers = { "idempotency-key": "delete-it" };
    const first = await remove(workspace, { headers });
    const again = await remove(workspace, { headers });
    const anew = await remove(workspace);
    expect([again.status, again.headers.get("idempotency-replayed"), again.body]).toEqual([202, "true", first.body]);
    expect([anew.status, anew.body]).toEqual([202, first.body]);
    expect(await told(workspace.id, "workspace.deleted")).toBe(1);
  });
});

describe("restoring a workspace", () => {
  it("brings it back with its keys at once, but no key that was revoked", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const key = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
    const body = { name: "Dead", scopes: ["models:invoke"] };
    const path = `/workspaces/${workspace.id}/api-keys`;
    const dead = (await call("POST", path, { token: workspace.token, body })).body;
    await call("DELETE", `${path}/${dead.id}`, { token: workspace.token });
    const before = await call("GET", `/workspaces/${workspace.id}`, { token: workspace.token });
    await remove(workspace);
    // The refusals of a deleted workspace must not be remembered past its return.
    expect([(await chat(key)).status, (await chat(key)).status]).toEqual([401, 401]);
    const restored = await restore(workspace);
    expect([restored.status, restored.body.deletion]).toEqual([200, null]);
    expect([(await chat(key)).status, (await chat(dead.secret)).status]).toEqual([200, 401]);
    const after = await call("GET", `/workspaces/${workspace.id}`, { token: workspace.token });
    expect(after.body).toEqual({ ...before.body, updated_at: after.body.updated_at });
    expect(after.headers.get("etag")).toBe(restored.headers.get("etag"));
    expect((await restore(workspace)).status).toBe(200);
    expect(await told(workspace.id, "workspace.restored")).toBe(1);
  });

  it("is its owner's only; for everybody else it isn't there", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const stranger = await seedWorkspace();
    await remove(workspace);
    const absent = await call("POST", "/workspaces/ws_01h455vb4pex5vsknk084sn02q/restore", { token: admin.token });
    for (const { token } of [admin, stranger]) {
      const refused = await restore(workspace, token);
      expect([refused.status, strip(refused.text)]).toEqual([404, strip(absent.text)]);
    }
    const others = ["switch", "api-keys", "export", "members"];
    for (const path of others) {
      const method = path === "switch" ? "POST" : "GET";
      const hidden = await call(method, `/workspaces/${workspace.id}/${path}`, { token: workspace.token });
      expect([path, hidden.status]).toEqual([path, 404]);
    }
    expect((await restore(workspace)).status).toBe(200);
  });

  it("ends after 30 days: then it is gone", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await remove(workspace);
    await deletedAt(workspace.id, Date.now() - 30 * day);
    const late = await restore(workspace);
    expect([late.status, late.body.code]).toEqual([410, "gone"]);
    await deletedAt(workspace.id, Date.now() - 30 * day + 60_000);
    expect((await restore(workspace)).status).toBe(200);
  });

  it("steps aside for a workspace of the same name that its owner has made meanwhile", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { name } = (await call("GET", `/workspaces/${workspace.id}`, { token: workspace.token })).body;
    await remove(workspace);
    const other = await call("POST", "/workspaces", { token: workspace.token, body: { name } });
    expect(other.status).toBe(201);
    const refused = await restore(workspace);
    expect([refused.status, refused.body.code]).toEqual([409, "workspace_exists"]);
    await call("PATCH", `/workspaces/${other.body.id}`, { token: workspace.token, body: { name: "Renamed" } });
    expect((await restore(workspace)).status).toBe(200);
  });

  it("a storm of deletions and restorations ends in one state that record and Router share", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const key = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
    const storm = Array.from({ length: 12 }, (_, turn) => (turn % 2 === 0 ? remove(workspace) : restore(workspace)));
    const statuses = (await Promise.all(storm)).map(({ status }) => status);
    expect(statuses.filter((status) => ![200, 202, 409].includes(status))).toEqual([]);
    const [row] = await db.select().from(workspaces).where(eq(workspaces.id, workspace.id)).all();
    expect((await chat(key)).status).toBe(row?.deletedAt === null ? 200 : 401);
    const moves = (await told(workspace.id, "workspace.deleted")) - (await told(workspace.id, "workspace.restored"));
    expect(moves).toBe(row?.deletedAt === null ? 0 : 1);
  });
});
