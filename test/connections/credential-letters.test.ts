/** Admins hear of a credential that needs them: once for each time, in their own language, and only as long as it is true. */
import { env } from "cloudflare:workers";
import { and, eq, sql } from "drizzle-orm";
import { describe, it, vi } from "vitest";
import { commit } from "../../src/base/database.js";
import { confirmCredential, sweepRefused, type CredentialDoubt } from "../../src/connections/confirm.js";
import { writeCredentialExpiring, writeCredentialState } from "../../src/connections/credential-letters.js";
import { sweepExpiringCredentials } from "../../src/connections/credential-reminders.js";
import { noteCredentialUses } from "../../src/connections/last-use.js";
import { credentials } from "../../src/connections/model.js";
import { users } from "../../src/identity/model.js";
import { outbox } from "../../src/mail/model.js";
import { members, workspaces } from "../../src/tenancy/model.js";
import { call } from "../support/client.js";
import { db, seedKey, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { addCredential, auditOf, publishNow, sandboxCredential, sandboxInstance, unique } from "./seed.js";

const day = 24 * 3_600_000;

/** In the order in which they were written. */
async function lettersOf(credentialId: string) {
  const query = db.select().from(outbox).where(eq(outbox.subjectId, credentialId));
  const rows = await query.orderBy(sql`rowid`).all();
  return rows.map(({ kind, recipient, version, state }) => ({ kind, recipient, version, state }));
}

async function moodyCredential(workspace: SeededWorkspace) {
  const tag = unique(`letters-${workspace.id.slice(-6)}`);
  const fields = { api_key: "k-0123456789", base_url: `https://ok.upstream.test/${tag}/v1` };
  const { body } = await addCredential(workspace, "openai_compatible", fields);
  const behave = (as: string) => fetch(`https://inspect.upstream.test/behave?tag=${tag}&as=${as}`, { method: "POST" });
  return { id: body.id as string, behave };
}

async function set(id: string, columns: Partial<typeof credentials.$inferInsert>): Promise<void> {
  await commit(db, [db.update(credentials).set(columns).where(eq(credentials.id, id))]);
}

async function rowOf(id: string) {
  const [row] = await db.select().from(credentials).where(eq(credentials.id, id)).all();
  if (row === undefined) {
    throw new Error("no such credential");
  }
  return row;
}

function confirm(workspace: SeededWorkspace, id: string, kind: CredentialDoubt["kind"]): Promise<void> {
  return confirmCredential(env, workspace.id, id, { kind, issuedAt: Date.now() + 1 }, () => publishNow(workspace));
}

describe("a credential that calls can no longer use", () => {
  it("is told of to the owner and the admins who stand, once, however many calls say so", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    await seedMember(workspace.id, "MEMBER");
    const leaver = await seedMember(workspace.id, "ADMIN");
    await commit(db, [db.update(members).set({ removedAt: 1 }).where(eq(members.id, leaver.memberId))]);
    const { id, behave } = await moodyCredential(workspace);
    await behave("status-401");
    await Promise.all(Array.from({ length: 5 }, () => confirm(workspace, id, "refused")));
    const letter = { kind: "credential_state", version: 1, state: "queued" };
    const letters = [admin.email, workspace.owner.email].map((recipient) => ({ ...letter, recipient }));
    expect(new Set(await lettersOf(id))).toEqual(new Set(letters));
    const [row] = await db.select().from(outbox).where(eq(outbox.subjectId, id)).all();
    expect(row?.id).toMatch(/^mail_[0-7][0-9a-hjkmnp-tv-z]{25}$/);
    expect((await auditOf(id)).map(({ action }) => action)).toEqual(["credential.created", "credential.refused"]);
  });

  it("is not told of each time that it tries again by itself, but anew after somebody mended it", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, behave } = await moodyCredential(workspace);
    await behave("refuses-calls");
    await confirm(workspace, id, "refused");
    expect((await rowOf(id)).status).toBe("invalid");
    for (let round = 0; round < 2; round += 1) {
      await sweepRefused(env, () => Promise.resolve(), Date.now() + day, 1000);
      expect((await rowOf(id)).status).toBe("unverified");
      await confirm(workspace, id, "refused");
      expect((await rowOf(id)).status).toBe("invalid");
    }
    expect(await lettersOf(id)).toHaveLength(1);
    await behave("ok");
    const path = `/workspaces/${workspace.id}/credentials/${id}`;
    expect((await call("POST", `${path}/validate`, { token: workspace.token })).body.status).toBe("active");
    await behave("status-401");
    await confirm(workspace, id, "refused");
    expect(await lettersOf(id)).toHaveLength(2);
  });

  it("is exhausted when calls are refused for want of money: still in use, looked at again, and told of once", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, behave } = await moodyCredential(workspace);
    await confirm(workspace, id, "exhausted");
    await confirm(workspace, id, "exhausted");
    const row = await rowOf(id);
    // Its list of models is shown all the same: that proves the key, not the money.
    expect([row.status, row.isValid, row.refusals]).toEqual(["exhausted", true, 1]);
    expect(await lettersOf(id)).toMatchObject([{ kind: "credential_state", version: 2 }]);
    expect((await auditOf(id)).map(({ action }) => action)).toEqual(["credential.created", "credential.exhausted"]);
    const early = Date.now() + 5 * 3_600_000;
    await sweepRefused(env, () => Promise.resolve(), early, 1000);
    expect((await rowOf(id)).status).toBe("exhausted");
    const later = Date.now() + 7 * 3_600_000;
    await behave("no-quota");
    await sweepRefused(env, () => Promise.resolve(), later, 1000);
    expect(await rowOf(id)).toMatchObject({ status: "exhausted", isValid: true });
    expect((await rowOf(id)).retryAt).not.toBeNull();
    await behave("ok");
    await sweepRefused(env, () => Promise.resolve(), later, 1000);
    expect(await rowOf(id)).toMatchObject({ status: "active", retryAt: null });
    await confirm(workspace, id, "exhausted");
    expect(await lettersOf(id)).toHaveLength(1);
    await behave("status-401");
    await sweepRefused(env, () => Promise.resolve(), later, 1000);
    expect((await rowOf(id)).status).toBe("invalid");
    expect((await lettersOf(id)).map(({ version }) => version)).toEqual([2, 1]);
  });

  it("is looked at again, too, when it was exhausted as it was entered or validated, and is told of when calls meet it anew", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, behave } = await moodyCredential(workspace);
    const validate = async () => {
      const path = `/workspaces/${workspace.id}/credentials/${id}/validate`;
      return (await call("POST", path, { token: workspace.token })).body.status;
    };
    const later = Date.now() + 7 * 3_600_000;
    for (const [mood, status] of [
      ["no-quota", "exhausted"],
      // It proves nothing, so it stands as it stood.
      ["status-500", "exhausted"],
    ] as const) {
      await behave(mood);
      expect(await validate()).toBe(status);
      await sweepRefused(env, () => Promise.resolve(), later - 2 * 3_600_000, 1000);
      expect(await rowOf(id)).toMatchObject({ status: "exhausted" });
    }
    await behave("ok");
    await sweepRefused(env, () => Promise.resolve(), later, 1000);
    expect(await rowOf(id)).toMatchObject({ status: "active", retryAt: null });
    expect(await lettersOf(id)).toEqual([]);
    await confirm(workspace, id, "exhausted");
    expect(await lettersOf(id)).toMatchObject([{ kind: "credential_state", version: 2 }]);
  });

  it("is exhausted by the very call that a provider refuses so, through the gateway", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    const ids = [await sandboxCredential(workspace, "quota"), await sandboxCredential(workspace, "ok")];
    const instances = ids.map((id, n) => sandboxInstance(id, { alias: `i${n}` }));
    await call("POST", `/workspaces/${workspace.id}/pools`, { token, body: { name: "chat", instances } });
    const { secret } = await seedKey(workspace);
    for (let n = 0; n < 2; n += 1) {
      const body = { model: "chat", messages: [{ role: "user", content: "hi" }] };
      expect((await call("POST", "/v1/chat/completions", { token: secret, body })).status).toBe(200);
    }
    const path = `/workspaces/${workspace.id}/credentials/${ids[0]}`;
    await vi.waitFor(async () => expect((await call("GET", path, { token })).body.status).toBe("exhausted"), {
      timeout: 5000,
      interval: 100,
    });
    expect(await lettersOf(ids[0] ?? "")).toMatchObject([{ version: 2, recipient: workspace.owner.email }]);
  });

  it("that does not open is told of once, whoever finds it", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const ids = [await sandboxCredential(workspace), await sandboxCredential(workspace)];
    const [found = "", called = ""] = ids;
    await env.DB.prepare("UPDATE credentials SET secret_version = 7 WHERE id IN (?, ?)").bind(found, called).run();
    const path = `/workspaces/${workspace.id}/credentials/${found}/validate`;
    await call("POST", path, { token: workspace.token });
    await call("POST", path, { token: workspace.token });
    await confirm(workspace, called, "undecryptable");
    await confirm(workspace, called, "undecryptable");
    for (const id of ids) {
      expect(await lettersOf(id)).toMatchObject([{ kind: "credential_state", version: 3 }]);
    }
  });

  it("has a letter in its reader's language, with no word of the secret, that is dropped once it is not so", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    await commit(db, [db.update(users).set({ locale: "zh-CN" }).where(eq(users.id, admin.id))]);
    const { id } = await moodyCredential(workspace);
    const { name, masked } = await rowOf(id);
    const subject = { workspaceId: workspace.id, subjectId: id, version: 1, recipient: workspace.owner.email };
    const statuses = ["invalid", "exhausted", "undecryptable"] as const;
    for (const [index, status] of statuses.entries()) {
      await set(id, { status });
      for (const [recipient, words] of [
        [workspace.owner.email, ["Credential", "credit", "opened", "refused"]],
        [admin.email, ["凭据"]],
      ] as const) {
        const written = await writeCredentialState(env, db, { ...subject, version: index + 1, recipient });
        const text = written?.letter.text ?? "";
        expect([written?.isCurrent, written?.letter.to, text.includes(name)]).toEqual([true, recipient, true]);
        expect(words.some((word) => text.includes(word))).toBe(true);
        expect(text).not.toContain(masked);
      }
      const other = await writeCredentialState(env, db, { ...subject, version: ((index + 1) % 3) + 1 });
      expect(other?.isCurrent).toBe(false);
    }
    expect(await writeCredentialState(env, db, { ...subject, version: 4 })).toBeNull();
    await commit(db, [db.update(members).set({ role: "MEMBER" }).where(eq(members.id, admin.memberId))]);
    expect(await writeCredentialState(env, db, { ...subject, version: 3, recipient: admin.email })).toBeNull();
    const dev = await call("GET", "/dev/outbox");
    expect(dev.status).toBe(200);
  });
});

describe("a credential whose date comes near", () => {
  it("is told of 14 and 3 days ahead and on the day, once each, however many sweeps run at once", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const { id } = await moodyCredential(workspace);
    const path = `/workspaces/${workspace.id}/credentials/${id}`;
    const now = Date.now();
    const expires = new Date(now + 20 * day).toISOString();
    expect((await call("PATCH", path, { token: workspace.token, body: { expires_at: expires } })).status).toBe(200);
    const sweep = async (days: number) => {
      await Promise.all(Array.from({ length: 5 }, () => sweepExpiringCredentials(db, now + days * day)));
      const letters = await lettersOf(id);
      return letters.filter(({ recipient }) => recipient === admin.email).map(({ version }) => version);
    };
    expect(await sweep(5)).toEqual([]);
    expect(await sweep(6.1)).toEqual([14]);
    expect(await sweep(16)).toEqual([14]);
    expect(await sweep(17.1)).toEqual([14, 3]);
    expect(await sweep(20.1)).toEqual([14, 3, 0]);
    expect(await sweep(26)).toEqual([14, 3, 0]);
    expect(await lettersOf(id)).toHaveLength(6);
    // Neither the revision nor what is in force has to do with it.
    expect((await rowOf(id)).revision).toBe(2);
  });

  it("is told of by the latest reminder only when earlier ones were missed, and by none whose time was over when the date was entered", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const now = Date.now();
    const { id: missed } = await moodyCredential(workspace);
    await set(missed, { expiresAt: now + 2 * day, expiryWarnedAt: now - 30 * day });
    const { id: entered } = await moodyCredential(workspace);
    const body = { expires_at: new Date(now + 10 * day).toISOString() };
    await call("PATCH", `/workspaces/${workspace.id}/credentials/${entered}`, { token: workspace.token, body });
    await sweepExpiringCredentials(db, Date.now());
    expect((await lettersOf(missed)).map(({ version }) => version)).toEqual([3]);
    expect(await lettersOf(entered)).toEqual([]);
    await sweepExpiringCredentials(db, now + 7.5 * day);
    expect((await lettersOf(entered)).map(({ version }) => version)).toEqual([3]);
  });

  it("is not told of when it is disabled, long past, or its workspace is deleted", async ({ expect }) => {
    const [workspace, closed] = [await seedWorkspace(), await seedWorkspace()];
    const now = Date.now();
    const soon = { expiresAt: now + day, expiryWarnedAt: null };
    const { id: disabled } = await moodyCredential(workspace);
    await set(disabled, { ...soon, status: "disabled" });
    const { id: past } = await moodyCredential(workspace);
    await set(past, { expiresAt: now - 8 * day, expiryWarnedAt: null });
    const { id: gone } = await moodyCredential(closed);
    await set(gone, soon);
    await commit(db, [db.update(workspaces).set({ deletedAt: now }).where(eq(workspaces.id, closed.id))]);
    await sweepExpiringCredentials(db, now);
    for (const id of [disabled, past, gone]) {
      expect(await lettersOf(id)).toEqual([]);
    }
  });

  it("has a letter that names it and its day, and is dropped when the day moved", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id } = await moodyCredential(workspace);
    const expiresAt = Date.now() + 13 * day;
    await set(id, { expiresAt });
    const subject = { workspaceId: workspace.id, subjectId: id, version: 14, recipient: workspace.owner.email };
    const written = await writeCredentialExpiring(env, db, subject);
    expect(written?.isCurrent).toBe(true);
    expect(written?.letter.subject).toContain((await rowOf(id)).name);
    expect(written?.letter.text).toContain("expires on");
    expect((await writeCredentialExpiring(env, db, { ...subject, version: 3 }))?.isCurrent).toBe(false);
    await set(id, { expiresAt: Date.now() - 1 });
    const over = await writeCredentialExpiring(env, db, { ...subject, version: 0 });
    expect([over?.isCurrent, over?.letter.text.includes("expired on")]).toEqual([true, true]);
    await set(id, { expiresAt: null });
    expect(await writeCredentialExpiring(env, db, subject)).toBeNull();
  });
});

describe("the last use of a credential", () => {
  it("shows calls through the gateway off their path, moves neither ETag revision nor version, and once a minute", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    const ids = [await sandboxCredential(workspace, "500"), await sandboxCredential(workspace, "ok")];
    const unusedId = await sandboxCredential(workspace);
    const instances = ids.map((id, n) => sandboxInstance(id, { alias: `i${n}` }));
    await call("POST", `/workspaces/${workspace.id}/pools`, { token, body: { name: "chat", instances } });
    const { secret } = await seedKey(workspace);
    const [workspaceRow] = await db.select().from(workspaces).where(eq(workspaces.id, workspace.id)).all();
    const startedAt = Date.now();
    for (let n = 0; n < 2; n += 1) {
      const body = { model: "chat", messages: [{ role: "user", content: "hi" }] };
      expect((await call("POST", "/v1/chat/completions", { token: secret, body })).status).toBe(200);
    }
    const used = async (id: string): Promise<string | null> =>
      (await call("GET", `/workspaces/${workspace.id}/credentials/${id}`, { token })).body.last_used_at;
    for (const id of ids) {
      await vi.waitFor(async () => expect(await used(id)).not.toBeNull(), { timeout: 5000, interval: 100 });
      expect(Date.parse((await used(id)) ?? "")).toBeGreaterThanOrEqual(startedAt);
      expect((await rowOf(id)).revision).toBe(1);
    }
    expect(await used(unusedId)).toBeNull();
    const tag = (await call("GET", `/workspaces/${workspace.id}/credentials/${ids[1]}`, { token })).headers.get("etag");
    expect(tag).toMatch(/^"1\.1\.\d+"$/);
    const [after] = await db.select().from(workspaces).where(eq(workspaces.id, workspace.id)).all();
    expect(after?.configVersion).toBe(workspaceRow?.configVersion);
    const at = (await rowOf(ids[1] ?? "")).lastUsedAt ?? 0;
    await noteCredentialUses(db, workspace.id, new Map([[ids[1] ?? "", at + 59_999]]));
    expect((await rowOf(ids[1] ?? "")).lastUsedAt).toBe(at);
    await noteCredentialUses(db, workspace.id, new Map([[ids[1] ?? "", at + 60_000]]));
    expect((await rowOf(ids[1] ?? "")).lastUsedAt).toBe(at + 60_000);
    const other = await seedWorkspace();
    await noteCredentialUses(db, other.id, new Map([[unusedId, at]]));
    const foreign = and(eq(credentials.id, unusedId), eq(credentials.workspaceId, workspace.id));
    expect((await db.select().from(credentials).where(foreign).all())[0]?.lastUsedAt).toBeNull();
  });
});
