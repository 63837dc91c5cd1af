/** A key changes by name and limits, and only downwards by scopes; and what is a member's own is theirs, and no more. */
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { sha256Hex } from "../../src/base/bytes.js";
import { commit, commitChange } from "../../src/base/database.js";
import { planRevokeKey } from "../../src/keys/keys.js";
import { apiKeys } from "../../src/keys/model.js";
import { planUpdateKey } from "../../src/keys/update.js";
import { members } from "../../src/tenancy/model.js";
import { call } from "../support/client.js";
import { db, seedMember, seedPool, seedWorkspace } from "../support/seed.js";
import { admitted, auditOf, callKey, chat, living, makeKey, rotate, rowOf, worth } from "./calls.js";

describe("a changed API key", () => {
  it("has its new name and limits, merged with what stood, and leaves one audit row", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await makeKey(workspace, { name: "old", limits: { rpm: 5, concurrent: 2, models: ["a"] } });
    const change = { name: "new", limits: { rpm: 7, models: null } };
    const changed = await callKey("PATCH", workspace, made.body.id, change);
    expect([changed.status, changed.body.name, changed.body.limits]).toEqual([200, "new", { rpm: 7, concurrent: 2 }]);
    const read = await callKey("GET", workspace, made.body.id);
    expect([read.body, read.headers.get("etag")]).toEqual([changed.body, changed.headers.get("etag")]);
    expect(changed.body).not.toHaveProperty("secret");
    const [, row] = await auditOf(workspace.id, made.body.id);
    expect([row?.action, JSON.parse(row?.before ?? "").name, JSON.parse(row?.after ?? "").limits]).toEqual([
      "api_key.updated",
      "old",
      { rpm: 7, concurrent: 2 },
    ]);
  });

  it("is under its new limits from the answer on", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const secret = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok-a", weight: 1 }]);
    const { body: list } = await call("GET", `/workspaces/${workspace.id}/api-keys`, { token: workspace.token });
    expect((await chat(secret)).status).toBe(200);
    await callKey("PATCH", workspace, list.data[0].id, { limits: { rpm: 1 } });
    expect([(await chat(secret)).status, (await chat(secret)).status]).toEqual([200, 429]);
    await callKey("PATCH", workspace, list.data[0].id, { limits: { models: ["other"] } });
    const digest = await sha256Hex(secret);
    expect(await admitted(workspace.id, digest)).toBe("model_not_allowed");
  });

  it("loses scopes and gains none, whoever asks", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes: ["models:invoke", "workspace:read", "keys:manage"] });
    const narrow = (...scopes: string[]) => callKey("PATCH", workspace, key.id, { scopes });
    expect((await narrow("workspace:read", "models:invoke")).body.scopes).toEqual(["models:invoke", "workspace:read"]);
    expect(await worth(workspace.id, key.secret)).toEqual(living);
    const refused = await narrow("models:invoke", "keys:manage");
    expect([refused.status, refused.body.code, refused.body.errors[0].pointer]).toEqual([
      403,
      "scope_too_high",
      "/scopes/1",
    ]);
    expect((await narrow()).status).toBe(422);
    await narrow("workspace:read");
    expect(await worth(workspace.id, key.secret)).toEqual(["scope_missing", 200]);
  });

  it("does not get a scope back from who read it before it was narrowed", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes: ["models:invoke", "workspace:read"] });
    const wanted = [["models:invoke"], ["models:invoke", "workspace:read"], ["models:invoke"], ["workspace:read"]];
    const answers = await Promise.all(wanted.map((scopes) => callKey("PATCH", workspace, key.id, { scopes })));
    const kept = answers.filter((answer) => answer.status === 200).length;
    expect(answers.every(({ status }) => [200, 403, 409].includes(status))).toBe(true);
    expect(kept).toBeGreaterThan(0);
    const scopes = JSON.parse((await rowOf(key.id)).scopes);
    expect(scopes.length).toBeLessThan(3);
    const rows = await auditOf(workspace.id, key.id);
    const steps = rows.slice(1).map((row) => [JSON.parse(row.before ?? "").scopes, JSON.parse(row.after ?? "").scopes]);
    for (const [before, after] of steps) {
      expect(after.length).toBeLessThan(before.length);
    }
  });

  it("stays as it is, without a trace, when nothing in it changes", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await makeKey(workspace, { scopes: ["models:invoke", "workspace:read"], limits: { rpm: 5 } });
    const same = {
      name: made.body.name,
      scopes: ["workspace:read", "models:invoke"],
      limits: { rpm: 5, models: null },
    };
    for (const body of [{}, same]) {
      const answer = await callKey("PATCH", workspace, made.body.id, body);
      expect([answer.status, answer.headers.get("etag")]).toEqual([200, made.headers.get("etag")]);
    }
    expect(await auditOf(workspace.id, made.body.id)).toHaveLength(1);
  });

  it("is not changed by who read an older state, by a taken name, or once it is revoked", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await makeKey(workspace);
    await makeKey(workspace, { name: "taken" });
    const tag = { "if-match": made.headers.get("etag") ?? "" };
    expect((await callKey("PATCH", workspace, made.body.id, { name: "first" }, tag)).status).toBe(200);
    const late = await callKey("PATCH", workspace, made.body.id, { name: "second" }, tag);
    expect([late.status, late.body.code]).toEqual([412, "precondition_failed"]);
    expect((await callKey("PATCH", workspace, made.body.id, { name: "taken" })).body.code).toBe("name_taken");
    const longer = await callKey("PATCH", workspace, made.body.id, { expires_at: null });
    expect([longer.status, longer.body.errors[0].pointer]).toEqual([422, "/expires_at"]);
    await callKey("DELETE", workspace, made.body.id);
    const dead = await callKey("PATCH", workspace, made.body.id, { name: "third" });
    expect([dead.status, dead.body.code]).toEqual([409, "key_not_active"]);
  });
});

describe("who changes or revokes an API key", () => {
  it("still may when it is written: one demoted, removed or without their own key by then changes nothing", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const { body: key } = await makeKey(workspace);
    const { body: calling } = await makeKey(workspace, { scopes: ["keys:manage", "models:invoke"] });
    const grants = ["models:invoke"] as const;
    const person = { memberId: admin.memberId, grants, isPerson: true, madeBy: null };
    const byKey = { ...person, memberId: key.made_by, isPerson: false };
    const isAdmin = eq(members.id, admin.memberId);
    const losses = [
      [person, "account", db.update(members).set({ role: "MEMBER" }).where(isAdmin)],
      [{ ...byKey, holderId: admin.memberId }, "key", db.update(members).set({ removedAt: 1 }).where(isAdmin)],
      [byKey, "key", db.update(apiKeys).set({ scopes: '["models:invoke"]' }).where(eq(apiKeys.id, calling.id))],
    ] as const;
    for (const [caller, type, loss] of losses) {
      const id = type === "key" ? calling.id : admin.id;
      const actor = { type, id, name: "a", requestId: "r", ip: null, opId: "o", at: Date.now() } as const;
      const plans = [
        await planUpdateKey(db, workspace.id, actor, key.id, caller, { name: "late" }, null),
        await planRevokeKey(db, workspace.id, actor, key.id, caller, null),
      ];
      const before = await rowOf(key.id);
      await commit(db, [loss]);
      for (const plan of plans) {
        await expect(commitChange<unknown>(db, plan)).rejects.toMatchObject({ code: "forbidden" });
      }
      expect(await rowOf(key.id)).toEqual(before);
    }
  });
});

describe("a key's limits", () => {
  const limits = { rpm: 5, models: ["a", "b"] };
  const looser = [
    [{ rpm: null }, "/limits/rpm"],
    [{ rpm: 6 }, "/limits/rpm"],
    [{ models: null }, "/limits/models"],
    [{ models: ["a", "c"] }, "/limits/models"],
  ] as const;

  it("are only tightened by a key, itself included, and by a token", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const scopes = ["keys:manage", "models:invoke"];
    const { body: key } = await makeKey(workspace, { scopes, limits });
    const token = await call("POST", "/me/tokens", { token: workspace.token, body: { name: "CI", scopes } });
    const { body: higher } = await makeKey(workspace, { scopes: ["vault:rotate"] });
    for (const secret of [key.secret, token.body.secret]) {
      const caller = { id: workspace.id, token: secret };
      for (const [change, pointer] of looser) {
        const refused = await callKey("PATCH", caller, key.id, { limits: change });
        expect([refused.status, refused.body.code, refused.body.errors?.[0].pointer]).toEqual([
          403,
          "limit_too_high",
          pointer,
        ]);
      }
      expect((await callKey("PATCH", caller, key.id, { name: `renamed ${secret.slice(-4)}` })).status).toBe(200);
      expect((await callKey("PATCH", caller, higher.id, { limits: { rpm: 1 } })).status).toBe(200);
      const loosened = await callKey("PATCH", caller, higher.id, { limits: { rpm: null } });
      expect([loosened.status, loosened.body.code]).toEqual([403, "limit_too_high"]);
    }
    const tighter = { rpm: 4, concurrent: 1, models: ["b"] };
    const changed = await callKey("PATCH", { id: workspace.id, token: key.secret }, key.id, { limits: tighter });
    expect([changed.status, changed.body.limits]).toEqual([200, tighter]);
  });

  it("that an admin set on a member's key stay: the member only tightens them", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const member = await seedMember(workspace.id, "MEMBER");
    const mine = { id: workspace.id, token: member.token };
    const { body: key } = await makeKey(mine);
    expect((await callKey("PATCH", workspace, key.id, { limits })).status).toBe(200);
    for (const [change] of looser) {
      const refused = await callKey("PATCH", mine, key.id, { limits: change });
      expect([refused.status, refused.body.code]).toEqual([403, "limit_too_high"]);
    }
    expect((await callKey("PATCH", mine, key.id, { limits: { rpm: 4 } })).body.limits).toEqual({ ...limits, rpm: 4 });
    expect((await callKey("PATCH", workspace, key.id, { limits: { rpm: null } })).status).toBe(200);
  });
});

describe("a member's own API keys", () => {
  it("call models and tools, nothing else, and are made, changed, rotated and revoked by themselves", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const member = await seedMember(workspace.id, "MEMBER");
    const mine = { id: workspace.id, token: member.token };
    const made = await makeKey(mine, { scopes: ["models:invoke", "tools:invoke"] });
    expect([made.status, made.body.made_by]).toEqual([201, member.memberId]);
    for (const scope of ["workspace:read", "keys:manage", "usage:read"]) {
      const refused = await makeKey(mine, { scopes: ["models:invoke", scope] });
      expect([refused.status, refused.body.code, refused.body.errors[0].pointer]).toEqual([
        403,
        "scope_too_high",
        "/scopes/1",
      ]);
    }
    expect((await callKey("PATCH", mine, made.body.id, { name: "renamed" })).body.name).toBe("renamed");
    const rotated = await rotate(mine, made.body.id);
    expect(rotated.status).toBe(200);
    expect(await admitted(workspace.id, await sha256Hex(rotated.body.secret))).toBe("model_not_found");
    expect((await callKey("DELETE", mine, made.body.id)).status).toBe(204);
    expect(await admitted(workspace.id, await sha256Hex(rotated.body.secret))).toBe("key_revoked");
  });

  it("are all that the member sees: another's is the 404 of one that is not there", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const [one, other] = [await seedMember(workspace.id, "MEMBER"), await seedMember(workspace.id, "MEMBER")];
    const mine = { id: workspace.id, token: one.token };
    const { body: own } = await makeKey(mine);
    const foreign = [(await makeKey(workspace)).body, (await makeKey({ ...mine, token: other.token })).body];
    const { body: list } = await call("GET", `/workspaces/${workspace.id}/api-keys`, { token: one.token });
    expect(list.data.map((key: { id: string }) => key.id)).toEqual([own.id]);
    const knock = async (id: string) => {
      const answers = [
        await callKey("GET", mine, id),
        await callKey("PATCH", mine, id, { name: "mine now" }),
        await rotate(mine, id),
        await callKey("DELETE", mine, id),
      ];
      return answers.map((answer) => `${answer.status} ${answer.text.replace(answer.body.request_id, "")}`);
    };
    const absent = await knock("key_none");
    expect(absent.every((answer) => answer.startsWith("404"))).toBe(true);
    for (const { id } of foreign) {
      const before = await rowOf(id);
      expect(await knock(id)).toEqual(absent);
      expect(await rowOf(id)).toEqual(before);
    }
    const all = await call("GET", `/workspaces/${workspace.id}/api-keys`, { token: workspace.token });
    expect(all.body.data).toHaveLength(3);
  });

  it("are not made where the workspace lets members make none; those that are there go on", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const member = await seedMember(workspace.id, "MEMBER");
    const mine = { id: workspace.id, token: member.token };
    const { body: key } = await makeKey(mine);
    const body = { settings: { key_policy: { member_keys: false } } };
    await call("PATCH", `/workspaces/${workspace.id}`, { token: workspace.token, body });
    const refused = await makeKey(mine);
    expect([refused.status, refused.body.code]).toEqual([403, "forbidden"]);
    expect((await rotate(mine, key.id)).status).toBe(200);
    expect((await makeKey(workspace)).status).toBe(201);
  });

  it("changes a part of a budget and leaves the other, and a key or token lifts neither", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await makeKey(workspace, { limits: { tpm: 1_000, budget_usd: { day: 2, month: 20.5 } } });
    expect(made.body.limits).toEqual({ tpm: 1_000, budget_usd: { day: 2, month: 20.5 } });
    const patch = async (limits: unknown, caller = workspace) =>
      await callKey("PATCH", caller, made.body.id, { limits });
    expect((await patch({ budget_usd: { day: 5 } })).body.limits.budget_usd).toEqual({ day: 5, month: 20.5 });
    expect((await patch({ budget_usd: { month: null } })).body.limits.budget_usd).toEqual({ day: 5 });
    const manager = await makeKey(workspace, { scopes: ["models:invoke", "keys:manage"] });
    const byKey = { ...workspace, token: manager.body.secret };
    const lifted = await patch({ tpm: null, budget_usd: { day: 6 } }, byKey);
    expect([lifted.status, lifted.body.code]).toEqual([403, "limit_too_high"]);
    expect(lifted.body.errors.map((error: { pointer: string }) => error.pointer)).toEqual([
      "/limits/tpm",
      "/limits/budget_usd/day",
    ]);
    expect((await patch({ budget_usd: { day: 1 } }, byKey)).body.limits.budget_usd).toEqual({ day: 1 });
    expect((await patch({ budget_usd: null })).body.limits).toEqual({ tpm: 1_000 });
    const rows = await auditOf(workspace.id, made.body.id);
    expect(rows.map((row) => row.action)).toEqual(["api_key.created", ...Array(4).fill("api_key.updated")]);
    for (const [budget, pointer] of [
      [{ day: 0 }, "/limits/budget_usd/day"],
      [{ month: 1e10 }, "/limits/budget_usd/month"],
      [{ week: 1 }, "/limits/budget_usd/week"],
    ] as const) {
      const refused = await patch({ budget_usd: budget });
      expect([refused.status, refused.body.errors[0].pointer]).toEqual([422, pointer]);
    }
  });
});
