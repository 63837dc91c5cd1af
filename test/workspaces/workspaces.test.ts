import { desc, eq } from "drizzle-orm";
import { describe, it } from "vitest";
import type { Actor } from "../../src/access/principal.js";
import { auditLog } from "../../src/audit/model.js";
import { commitChange } from "../../src/base/database.js";
import { newId } from "../../src/base/ids.js";
import { credentials } from "../../src/connections/model.js";
import { members, workspaces } from "../../src/tenancy/model.js";
import { findWorkspace, planUpdateWorkspace } from "../../src/workspaces/workspaces.js";
import { call } from "../support/client.js";
import { db, seedAccount, seedMember, seedWorkspace } from "../support/seed.js";

const strip = (text: string) => text.replace(/req_\w+/, "");
const sandbox = (secret: string) => ({ provider_name: "sandbox", credentials: { api_key: secret } });

describe("creating a workspace", () => {
  it("answers 201 with its Location, an ETag and settings filled with defaults", async ({ expect }) => {
    const { token } = await seedAccount();
    const made = await call("POST", "/workspaces", {
      token,
      body: { name: "Red Team", slug: "red-team", timezone: "Europe/Berlin" },
    });
    expect(made.status).toBe(201);
    expect(made.headers.get("location")).toBe(`/workspaces/${made.body.id}`);
    expect(made.body).toMatchObject({ name: "Red Team", slug: "red-team", role: "OWNER" });
    expect(made.body.settings).toEqual({
      locale: "en-US",
      timezone: "Europe/Berlin",
      region: "auto",
      seat_limit: 0,
      invite_policy: { expiry_days: 7 },
      key_policy: { max_days: 365, member_keys: true },
      audit_retention_days: null,
      audit_checkpoint_email: null,
      limits: { rpm: null, tpm: null, concurrent: null, budget_usd: { day: null, month: null } },
    });
    const read = await call("GET", made.headers.get("location") ?? "", { token });
    expect(read.body).toEqual(made.body);
    expect(read.headers.get("etag")).toBe(made.headers.get("etag"));
  });

  it("stores providers[] in the same batch: all of them, or nothing when one is refused", async ({ expect }) => {
    const { token } = await seedAccount();
    const refused = await call("POST", "/workspaces", {
      token,
      body: {
        name: "Halves",
        slug: "halves",
        providers: [sandbox("sk-sandbox-ok"), { ...sandbox("sk-sandbox-401"), name: "b" }],
      },
    });
    expect(refused.status).toBe(422);
    expect(refused.body.errors[0].pointer).toBe("/providers/1/credentials/api_key");
    expect(await db.$count(workspaces, eq(workspaces.slug, "halves"))).toBe(0);
    const made = await call("POST", "/workspaces", {
      token,
      body: {
        name: "Halves",
        slug: "halves",
        providers: [sandbox("sk-sandbox-ok"), { ...sandbox("sk-sandbox-ok-b"), name: "b" }],
      },
    });
    expect(made.status).toBe(201);
    expect(await db.$count(credentials, eq(credentials.workspaceId, made.body.id))).toBe(2);
    const rows = await db.select().from(auditLog).where(eq(auditLog.workspaceId, made.body.id)).all();
    expect(rows.map((row) => row.action).toSorted()).toEqual([
      "credential.created",
      "credential.created",
      "workspace.created",
    ]);
  });

  it("a provider that repeats another's name in the body is 422, says which, and leaves nothing", async ({
    expect,
  }) => {
    const { token } = await seedAccount();
    const body = { name: "Twins", slug: "twins", providers: [sandbox("sk-sandbox-ok"), sandbox("sk-sandbox-ok-2")] };
    const refused = await call("POST", "/workspaces", { token, body });
    const pointers = refused.body.errors.map((error: { pointer: string }) => error.pointer);
    expect([refused.status, pointers]).toEqual([422, ["/providers/1/name"]]);
    expect(await db.$count(workspaces, eq(workspaces.slug, "twins"))).toBe(0);
  });

  it("a taken slug or own name is workspace_exists; a slug made from a name steps aside", async ({ expect }) => {
    const ada = await seedAccount();
    const eve = await seedAccount();
    const first = await call("POST", "/workspaces", { token: ada.token, body: { name: "Blue", slug: "blue" } });
    expect(first.status).toBe(201);
    const slug = await call("POST", "/workspaces", { token: eve.token, body: { name: "Other", slug: "blue" } });
    expect([slug.status, slug.body.code]).toEqual([409, "workspace_exists"]);
    const name = await call("POST", "/workspaces", { token: ada.token, body: { name: "BLUE" } });
    expect([name.status, name.body.code]).toEqual([409, "workspace_exists"]);
    const aside = await call("POST", "/workspaces", { token: eve.token, body: { name: "Blue" } });
    expect(aside.status).toBe(201);
    expect(aside.body.slug).toMatch(/^blue-[0-9a-z]{6}$/);
  });

  it("two of one name at once make one: the other is workspace_exists", async ({ expect }) => {
    const { id, token } = await seedAccount();
    const make = () => call("POST", "/workspaces", { token, body: { name: "Race" } });
    const answers = await Promise.all([make(), make(), make()]);
    expect(answers.map(({ status }) => String(status)).toSorted()).toEqual(["201", "409", "409"]);
    expect(new Set(answers.map(({ body }) => body.code))).toEqual(new Set([undefined, "workspace_exists"]));
    expect(await db.$count(workspaces, eq(workspaces.createdBy, id))).toBe(1);
  });

  it("an own name is one of a workspace that is the caller's now, whoever made it", async ({ expect }) => {
    const made = await seedWorkspace();
    const heir = await seedMember(made.id, "ADMIN");
    const { name } = (await call("GET", `/workspaces/${made.id}`, { token: made.token })).body;
    await db.update(workspaces).set({ ownerMemberId: heir.memberId }).where(eq(workspaces.id, made.id)).run();
    const byHeir = await call("POST", "/workspaces", { token: heir.token, body: { name } });
    const byMaker = await call("POST", "/workspaces", { token: made.token, body: { name } });
    expect([byHeir.status, byMaker.status]).toEqual([409, 201]);
  });

  it("reserved words, bad slugs and unknown fields are 422 with their pointers", async ({ expect }) => {
    const { token } = await seedAccount();
    for (const slug of ["current", "members", "invites", "switch", "a", "-a", "A-b", "a--b", "x".repeat(49)]) {
      const refused = await call("POST", "/workspaces", { token, body: { name: "N", slug } });
      expect([slug, refused.status, refused.body.errors?.[0]?.pointer]).toEqual([slug, 422, "/slug"]);
    }
    const unknown = await call("POST", "/workspaces", { token, body: { name: "N", colour: "red" } });
    expect([unknown.status, unknown.body.errors[0].pointer]).toEqual([422, "/colour"]);
  });

  it("needs a signed-in person", async ({ expect }) => {
    const refused = await call("POST", "/workspaces", { body: { name: "N" } });
    expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm="gatehouse"']);
  });
});

describe("reading and renaming", () => {
  it("lists only the caller's, page by page, each once", async ({ expect }) => {
    const { token } = await seedAccount();
    for (const name of ["One", "Two", "Three"]) {
      await call("POST", "/workspaces", { token, body: { name } });
    }
    await seedWorkspace();
    const first = await call("GET", "/workspaces?limit=2", { token });
    const second = await call("GET", `/workspaces?limit=2&cursor=${first.body.next_cursor}`, { token });
    const names = [...first.body.data, ...second.body.data].map((row: { name: string }) => row.name);
    expect(names).toEqual(["Three", "Two", "One"]);
    expect(second.body.next_cursor).toBeNull();
    const bad = await call("GET", "/workspaces?cursor=nonsense", { token });
    expect([bad.status, bad.body.errors[0]]).toMatchObject([422, { in: "query", pointer: "/cursor" }]);
  });

  it("answers by id, slug and current; another's workspace is the same 404 as none", async ({ expect }) => {
    const mine = await seedWorkspace();
    const other = await seedWorkspace();
    for (const reference of [mine.id, mine.slug, "current"]) {
      const read = await call("GET", `/workspaces/${reference}`, { token: mine.token });
      expect([read.status, read.body?.id]).toEqual([200, mine.id]);
    }
    const foreign = await call("GET", `/workspaces/${other.id}`, { token: mine.token });
    const absent = await call("GET", "/workspaces/ws_01h455vb4pex5vsknk084sn02q", { token: mine.token });
    expect(foreign.status).toBe(404);
    expect(strip(foreign.text)).toBe(strip(absent.text));
    const chosen = await call("GET", "/workspaces/current", {
      token: mine.token,
      headers: { "x-workspace": other.id },
    });
    expect(chosen.status).toBe(404);
  });

  it("a rename moves the ETag, holds If-Match, and writes one audit row; a repeat writes none", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const before = await call("GET", `/workspaces/${id}`, { token });
    const etag = before.headers.get("etag") ?? "";
    const renamed = await call("PATCH", `/workspaces/${id}`, {
      token,
      body: { name: "New name" },
      headers: { "if-match": etag },
    });
    expect([renamed.status, renamed.body.name]).toEqual([200, "New name"]);
    expect(renamed.headers.get("etag")).not.toBe(etag);
    const stale = await call("PATCH", `/workspaces/${id}`, {
      token,
      body: { name: "Lost update" },
      headers: { "if-match": etag },
    });
    expect([stale.status, stale.body.code]).toEqual([412, "precondition_failed"]);
    const repeat = await call("PATCH", `/workspaces/${id}`, { token, body: { name: "New name" } });
    expect([repeat.status, repeat.headers.get("etag")]).toEqual([200, renamed.headers.get("etag")]);
    const rows = await db.select().from(auditLog).where(eq(auditLog.workspaceId, id)).orderBy(desc(auditLog.seq)).all();
    expect(rows.map((row) => row.action)).toEqual(["workspace.updated", "workspace.created"]);
    expect(JSON.parse(rows[0]?.after ?? "null")).toMatchObject({ name: "New name" });
    const read = await call("GET", `/workspaces/${id}`, {
      token,
      headers: { "if-none-match": renamed.headers.get("etag") ?? "" },
    });
    expect(read.status).toBe(304);
  });

  it("a rename tells nobody what else the one who made the workspace, or its owner, has", async ({ expect }) => {
    const shared = await seedWorkspace();
    const admin = await seedMember(shared.id, "ADMIN");
    const hidden = await call("POST", "/workspaces", { token: shared.token, body: { name: "Layoffs" } });
    expect(hidden.status).toBe(201);
    const rename = (name: string) => call("PATCH", `/workspaces/${shared.id}`, { token: admin.token, body: { name } });
    expect([(await rename("Layoffs")).status, (await rename("Picnic")).status]).toEqual([200, 200]);
  });

  it("a MEMBER may read but not rename; an ADMIN may", async ({ expect }) => {
    const { id } = await seedWorkspace();
    const member = await seedMember(id, "MEMBER");
    const admin = await seedMember(id, "ADMIN");
    expect((await call("GET", `/workspaces/${id}`, { token: member.token })).body.role).toBe("MEMBER");
    const refused = await call("PATCH", `/workspaces/${id}`, { token: member.token, body: { name: "No" } });
    expect([refused.status, refused.body.code]).toEqual([403, "forbidden"]);
    const allowed = await call("PATCH", `/workspaces/${id}`, {
      token: admin.token,
      body: { slug: `s-${id.slice(-10)}` },
    });
    expect([allowed.status, allowed.body.role]).toEqual([200, "ADMIN"]);
  });

  it("a change by somebody who is no admin any more when it is committed changes nothing", async ({ expect }) => {
    const { id, slug } = await seedWorkspace();
    const admin = await seedMember(id, "ADMIN");
    const { memberId } = admin;
    const place = { id, slug, role: "ADMIN", memberId, ownerMemberId: "mem_owner", lastActiveAt: null } as const;
    const seen = await findWorkspace(db, place);
    const actor: Actor = {
      type: "account",
      id: admin.id,
      name: "Admin",
      requestId: "req_test",
      ip: null,
      opId: newId("operation"),
      at: Date.now(),
    };
    const change = planUpdateWorkspace(db, seen, actor, memberId, { name: "Too late" }, null);
    await db.update(members).set({ role: "MEMBER" }).where(eq(members.id, memberId)).run();
    await expect(commitChange(db, change)).rejects.toMatchObject({ code: "forbidden" });
    expect(await db.$count(workspaces, eq(workspaces.name, "Too late"))).toBe(0);
  });
});
