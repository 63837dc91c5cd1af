/** A key's whole life by HTTP: made once with its secret, never more than its maker, listed, and dead from the answer on. */
import { env } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import { and, eq } from "drizzle-orm";
import { afterEach, describe, it, vi } from "vitest";
import { commit, commitChange } from "../../src/base/database.js";
import { planCreateKey } from "../../src/keys/keys.js";
import { apiKeys } from "../../src/keys/model.js";
import { keysPerMember, keysPerWorkspace } from "../../src/keys/policy.js";
import { routerFor } from "../../src/routing/router-for.js";
import { sweepUnapplied } from "../../src/snapshot/publish.js";
import { members, workspaces } from "../../src/tenancy/model.js";
import { requireSettings } from "../../src/base/settings.js";
import { call } from "../support/client.js";
import { breakRouter } from "../support/router.js";
import { db, seedMember, seedWorkspace } from "../support/seed.js";
import { admitted, auditOf, callKey, day, makeKey, rotate } from "./calls.js";

function listWith(secret: string) {
  return call("GET", "/workspaces/current/api-keys", { token: secret });
}

/** Adds so many copies of a key. */
async function fill(keyId: string, count: number): Promise<void> {
  const columns = "prefix, last_four, region, made_by, created_at, scopes, limits, revision";
  await env.DB.prepare(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
     INSERT INTO api_keys (id, workspace_id, name, digest, ${columns})
     SELECT id || i, workspace_id, id || i, id || i, ${columns} FROM api_keys, n WHERE id = ?1`,
  )
    .bind(keyId, count)
    .run();
}

async function setPolicy(workspace: { id: string; token: string }, policy: Record<string, unknown>): Promise<void> {
  const body = { settings: { key_policy: policy } };
  const answer = await call("PATCH", `/workspaces/${workspace.id}`, { token: workspace.token, body });
  if (answer.status !== 200) {
    throw new Error(`policy: ${answer.status} ${answer.text}`);
  }
}

function inDays(days: number): string {
  return new Date(Date.now() + days * day).toISOString();
}

async function digestOf(keyId: string): Promise<string> {
  const [row] = await db.select({ digest: apiKeys.digest }).from(apiKeys).where(eq(apiKeys.id, keyId)).all();
  return row?.digest ?? "";
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a new API key", () => {
  it("is shown once, with its place, and works from then on", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await makeKey(workspace, { name: "ci", scopes: ["models:invoke", "workspace:read"] });
    expect(made.status).toBe(201);
    expect(made.headers.get("location")).toBe(`/workspaces/${workspace.id}/api-keys/${made.body.id}`);
    expect(made.body).toMatchObject({
      name: "ci",
      scopes: ["models:invoke", "workspace:read"],
      limits: {},
      region: "auto",
      status: "active",
      revoked_at: null,
      last_used_at: null,
    });
    expect(made.body.secret).toMatch(/^ghk_t1_auto_[0-9a-z]{26}_[0-9a-z]{68}$/);
    expect(made.body.secret.startsWith(made.body.prefix)).toBe(true);
    expect(made.body.last_four).toBe(made.body.secret.slice(-4));

    const current = await call("GET", "/workspaces/current", { token: made.body.secret });
    expect([current.status, current.body.id]).toEqual([200, workspace.id]);
    expect(await admitted(workspace.id, await digestOf(made.body.id))).toBe("model_not_found");

    const { secret, ...shown } = made.body;
    const read = await call("GET", made.headers.get("location") ?? "", { token: workspace.token });
    expect(read.body).toEqual({ ...shown, last_used_at: read.body.last_used_at });
    expect(read.text).not.toContain(secret);
  });

  it("expires in 90 days, at a given time, or never where the workspace sets no maximum", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: usual } = await makeKey(workspace);
    expect(Date.parse(usual.expires_at) - Date.parse(usual.created_at)).toBe(90 * day);
    const past = await makeKey(workspace, { expires_at: new Date(Date.now() - 1).toISOString() });
    expect([past.status, past.body.errors[0].pointer]).toEqual([422, "/expires_at"]);
    await setPolicy(workspace, { max_days: null });
    const { body: given } = await makeKey(workspace, { expires_at: "2126-01-01T00:00:00+02:00" });
    expect(given.expires_at).toBe("2125-12-31T22:00:00.000Z");
    expect((await makeKey(workspace, { expires_at: null })).body.expires_at).toBeNull();
  });

  it("lives no longer than the workspace's policy lets it, a year when nothing is said", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const asked = async (expiresAt: string | null) => {
      const { status, body } = await makeKey(workspace, { expires_at: expiresAt });
      return [status, body.errors?.[0].pointer];
    };
    expect(await asked(inDays(364.9))).toEqual([201, undefined]);
    expect(await asked(inDays(365.1))).toEqual([422, "/expires_at"]);
    expect(await asked(null)).toEqual([422, "/expires_at"]);
    await setPolicy(workspace, { max_days: 7 });
    const { body: usual } = await makeKey(workspace);
    expect(Date.parse(usual.expires_at) - Date.parse(usual.created_at)).toBe(7 * day);
    expect(await asked(inDays(8))).toEqual([422, "/expires_at"]);
  });

  it("is for the workspace's region unless another is given, and lives in that Router", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await commit(db, [db.update(workspaces).set({ region: "weur" }).where(eq(workspaces.id, workspace.id))]);
    const { body: own } = await makeKey(workspace);
    const { body: far } = await makeKey(workspace, { region: "apac" });
    expect([own.region, far.region]).toEqual(["weur", "apac"]);
    expect(far.secret).toMatch(/^ghk_t1_apac_/);
    expect(await admitted(workspace.id, await digestOf(far.id), "apac")).toBe("model_not_found");
    expect(await admitted(workspace.id, await digestOf(own.id), "weur")).toBe("model_not_found");
  });

  it("cannot have a scope that its maker's role lacks", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const refused = await makeKey({ ...workspace, token: admin.token }, { scopes: ["audit:read", "vault:rotate"] });
    expect([refused.status, refused.body.code]).toEqual([403, "scope_too_high"]);
    expect(refused.body.errors).toMatchObject([{ pointer: "/scopes/1" }]);
    expect((await makeKey({ ...workspace, token: admin.token }, { scopes: ["audit:read"] })).status).toBe(201);
    expect((await makeKey(workspace, { scopes: ["vault:rotate"] })).status).toBe(201);
  });

  it("made by a key cannot have more than that key, and belongs to the same member", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: parent } = await makeKey(workspace, { scopes: ["keys:manage", "models:invoke"] });
    const byKey = { id: workspace.id, token: parent.secret };
    expect((await makeKey(byKey, { scopes: ["pools:read"] })).body.code).toBe("scope_too_high");
    const child = await makeKey(byKey, { scopes: ["models:invoke"] });
    expect([child.status, child.body.made_by]).toEqual([201, parent.made_by]);
    expect(await auditOf(workspace.id, child.body.id)).toMatchObject([{ actorType: "key", actorId: parent.id }]);
  });

  it("made by a key lives no longer and is held to no less than the secret it was made with", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await setPolicy(workspace, { max_days: null });
    const limits = { rpm: 5, concurrent: 2, models: ["a", "b"], tools: ["github/*"] };
    const end = new Date(Date.now() + day).toISOString();
    const scopes = ["keys:manage", "models:invoke", "workspace:read"];
    const { body: parent } = await makeKey(workspace, { scopes, limits, expires_at: end });
    const byKey = { id: workspace.id, token: parent.secret };
    const plain = await makeKey(byKey);
    expect([plain.status, plain.body.expires_at, plain.body.limits]).toEqual([201, end, limits]);
    const less = {
      expires_at: new Date(Date.now() + day / 2).toISOString(),
      limits: { rpm: 4, models: ["b"], tools: ["github/list"] },
    };
    const narrow = await makeKey(byKey, less);
    expect([narrow.status, narrow.body.limits]).toEqual([201, { ...limits, ...less.limits }]);
    const beyond = [
      [{ expires_at: null }, "/expires_at"],
      [{ expires_at: new Date(Date.now() + 2 * day).toISOString() }, "/expires_at"],
      [{ limits: { rpm: 6 } }, "/limits/rpm"],
      [{ limits: { concurrent: 3 } }, "/limits/concurrent"],
      [{ limits: { models: ["a", "c"] } }, "/limits/models"],
      [{ limits: { tools: ["gitlab/list"] } }, "/limits/tools"],
    ] as const;
    for (const [body, pointer] of beyond) {
      const refused = await makeKey(byKey, body);
      expect([refused.status, refused.body.code, refused.body.errors?.[0].pointer]).toEqual([
        403,
        "limit_too_high",
        pointer,
      ]);
    }
    const { body: rotated } = await rotate(workspace, parent.id, 3600);
    expect((await makeKey(byKey)).body.expires_at).toBe(rotated.previous_secret.expires_at);
    const itself = await rotate(byKey, parent.id);
    expect([itself.status, itself.body.code]).toEqual([403, "forbidden"]);
  });

  it("made by a personal token lives no longer than the token", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await setPolicy(workspace, { max_days: null });
    const end = new Date(Date.now() + day).toISOString();
    const { body: token } = await call("POST", "/me/tokens", {
      token: workspace.token,
      body: { name: "CI", scopes: ["keys:manage", "models:invoke"], expires_at: end },
    });
    const byToken = { id: workspace.id, token: token.secret };
    expect((await makeKey(byToken)).body.expires_at).toBe(end);
    const refused = await makeKey(byToken, { expires_at: null });
    expect([refused.status, refused.body.code]).toEqual([403, "limit_too_high"]);
  });

  it("is not made by a key without keys:manage", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes: ["workspace:manage"] });
    const byKey = { id: workspace.id, token: key.secret };
    expect((await makeKey(byKey)).status).toBe(403);
    expect((await listWith(key.secret)).status).toBe(403);
  });

  it("is not made under a policy that was read before it changed", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const member = await seedMember(workspace.id, "MEMBER");
    const actor = {
      type: "account",
      id: member.id,
      name: "m",
      requestId: "r",
      ip: null,
      opId: "o",
      at: Date.now(),
    } as const;
    const maker = { memberId: member.memberId, grants: ["models:invoke"] as const };
    const input = { name: "late", scopes: ["models:invoke" as const] };
    const late = await planCreateKey(db, workspace.id, actor, requireSettings(env).tokenSecret, maker, input);
    await setPolicy(workspace, { member_keys: false });
    await expect(commitChange(db, late)).rejects.toMatchObject({ code: "conflict" });
  });

  it("is not left behind by a maker who lost their place between the check and the change", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const { body: parent } = await makeKey(workspace, { scopes: ["keys:manage"] });
    const actor = {
      type: "account",
      id: admin.id,
      name: "a",
      requestId: "r",
      ip: null,
      opId: "o",
      at: Date.now(),
    } as const;
    const { tokenSecret } = requireSettings(env);
    const input = { name: "late", scopes: ["models:invoke" as const] };
    const maker = { memberId: admin.memberId, grants: ["models:invoke"] as const };
    const late = await planCreateKey(db, workspace.id, actor, tokenSecret, maker, input);
    await commit(db, [db.update(members).set({ removedAt: 1 }).where(eq(members.id, admin.memberId))]);
    await expect(commitChange(db, late)).rejects.toMatchObject({ code: "forbidden" });

    const byKey = { ...actor, type: "key", id: parent.id } as const;
    const orphan = await planCreateKey(
      db,
      workspace.id,
      byKey,
      tokenSecret,
      { ...maker, memberId: parent.made_by },
      input,
    );
    await call("DELETE", `/workspaces/${workspace.id}/api-keys/${parent.id}`, { token: workspace.token });
    await expect(commitChange(db, orphan)).rejects.toMatchObject({ code: "forbidden" });
    expect(await db.$count(apiKeys, and(eq(apiKeys.workspaceId, workspace.id), eq(apiKeys.name, "late")))).toBe(0);
  });

  it("has the limits that it is given", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const kept = await makeKey(workspace, { limits: { rpm: 5, concurrent: 2, models: ["gpt"] } });
    expect(kept.body.limits).toEqual({ rpm: 5, concurrent: 2, models: ["gpt"] });
  });

  it("that is malformed is 422 with a pointer for each field", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const refused = await makeKey(workspace, {
      name: "",
      scopes: ["nope"],
      limits: { rpm: 0 },
      region: "moon",
      colour: 1,
    });
    expect(refused.status).toBe(422);
    expect(refused.body.errors.map((error: { pointer: string }) => error.pointer).toSorted()).toEqual([
      "/colour",
      "/limits/rpm",
      "/name",
      "/region",
      "/scopes/0",
    ]);
    expect((await makeKey(workspace, { scopes: [] })).body.errors[0].pointer).toBe("/scopes");
  });

  it("is the last one when a workspace has 1,000, or a MEMBER 50; one that is revoked makes room", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const member = await seedMember(workspace.id, "MEMBER");
    const mine = { id: workspace.id, token: member.token };
    const { body: own } = await makeKey(mine);
    await fill(own.id, keysPerMember - 2);
    const both = await Promise.all([makeKey(mine), makeKey(mine), makeKey(mine)]);
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409, 409]);
    const full = await makeKey(mine);
    expect([full.status, full.body.code]).toEqual([409, "limit_reached"]);
    await callKey("DELETE", mine, own.id);
    expect((await makeKey(mine)).status).toBe(201);

    const { body: first } = await makeKey(workspace);
    await fill(first.id, keysPerWorkspace - keysPerMember - 2);
    expect((await makeKey(workspace)).status).toBe(201);
    expect((await makeKey(workspace)).body.code).toBe("limit_reached");
  });

  it("takes no living key's name, one of twenty at the same moment wins, and a revoked one gives its name back", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const answers = await Promise.all(Array.from({ length: 20 }, () => makeKey(workspace, { name: "one" })));
    const made = answers.filter((answer) => answer.status === 201);
    expect(made).toHaveLength(1);
    for (const answer of answers.filter((one) => one.status !== 201)) {
      expect([answer.status, answer.body.code]).toEqual([409, "name_taken"]);
    }
    const path = `/workspaces/${workspace.id}/api-keys/${made[0]?.body.id}`;
    expect((await call("DELETE", path, { token: workspace.token })).status).toBe(204);
    expect((await makeKey(workspace, { name: "one" })).status).toBe(201);
    expect((await makeKey(await seedWorkspace(), { name: "one" })).status).toBe(201);
  });

  it("is made once by a retry with its Idempotency-Key, and shown again in full", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const body = { name: "retried" };
    const headers = { "idempotency-key": "key-1" };
    const [first, second] = [await makeKey(workspace, body, headers), await makeKey(workspace, body, headers)];
    expect([first.status, second.status, second.headers.get("idempotency-replayed")]).toEqual([201, 201, "true"]);
    expect(second.body).toEqual(first.body);
    expect(second.headers.get("location")).toBe(first.headers.get("location"));
    expect(await db.$count(apiKeys, eq(apiKeys.workspaceId, workspace.id))).toBe(1);
    expect(await auditOf(workspace.id, first.body.id)).toHaveLength(1);
  });
});

describe("the list of API keys", () => {
  it("is newest first, page by page, stable while keys come and go, revoked ones included", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const ids: string[] = [];
    for (let count = 0; count < 5; count += 1) {
      ids.unshift((await makeKey(workspace)).body.id);
    }
    const list = async (query: string) =>
      (await call("GET", `/workspaces/${workspace.id}/api-keys${query}`, { token: workspace.token })).body;
    const first = await list("?limit=2");
    await makeKey(workspace);
    await call("DELETE", `/workspaces/${workspace.id}/api-keys/${ids[1]}`, { token: workspace.token });
    const second = await list(`?limit=2&cursor=${first.next_cursor}`);
    const third = await list(`?limit=2&cursor=${second.next_cursor}`);
    const pages = [first, second, third].map((page) => page.data.map((key: { id: string }) => key.id));
    expect(pages).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)]);
    expect(third.next_cursor).toBeNull();
    expect((await list("")).data.map((key: { status: string }) => key.status)).toEqual([
      "active",
      "active",
      "revoked",
      "active",
      "active",
      "active",
    ]);
    const bad = await call("GET", `/workspaces/${workspace.id}/api-keys?cursor=x&limit=1`, { token: workspace.token });
    expect(bad.status).toBe(422);
  });

  it("says expired when a key's time is over", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace);
    await commit(db, [
      db
        .update(apiKeys)
        .set({ expiresAt: Date.now() - 1 })
        .where(eq(apiKeys.id, key.id)),
    ]);
    const read = await call("GET", `/workspaces/${workspace.id}/api-keys/${key.id}`, { token: workspace.token });
    expect(read.body.status).toBe("expired");
  });

  it("has each key under an ETag that moves with its status, not only with its changes", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace);
    const path = `/workspaces/${workspace.id}/api-keys/${key.id}`;
    const tag = (await call("GET", path, { token: workspace.token })).headers.get("etag") ?? "";
    const again = { token: workspace.token, headers: { "if-none-match": tag } };
    expect((await call("GET", path, again)).status).toBe(304);
    await commit(db, [
      db
        .update(apiKeys)
        .set({ expiresAt: Date.now() - 1 })
        .where(eq(apiKeys.id, key.id)),
    ]);
    expect((await call("GET", path, again)).status).toBe(200);
  });
});

describe("a revoked API key", () => {
  it("is refused from the answer on, by the control plane and by the Router, and stays listed", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes: ["models:invoke", "workspace:read"] });
    const path = `/workspaces/${workspace.id}/api-keys/${key.id}`;
    const revoked = await call("DELETE", path, { token: workspace.token });
    expect([revoked.status, revoked.text]).toEqual([204, ""]);
    expect((await call("GET", "/workspaces/current", { token: key.secret })).status).toBe(401);
    expect(await admitted(workspace.id, await digestOf(key.id))).toBe("key_revoked");
    const read = await call("GET", path, { token: workspace.token });
    expect([read.status, read.body.status]).toEqual([200, "revoked"]);
    expect(Math.abs(Date.parse(read.body.revoked_at) - Date.now())).toBeLessThan(60_000);
  });

  it("is revoked again without a trace", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace);
    const path = `/workspaces/${workspace.id}/api-keys/${key.id}`;
    await call("DELETE", path, { token: workspace.token });
    const before = (await call("GET", path, { token: workspace.token })).text;
    expect((await call("DELETE", path, { token: workspace.token })).status).toBe(204);
    expect((await call("GET", path, { token: workspace.token })).text).toBe(before);
    expect((await auditOf(workspace.id, key.id)).map((row) => row.action)).toEqual([
      "api_key.created",
      "api_key.revoked",
    ]);
  });

  it("is not revoked by who read an older state, unless it is so already", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace);
    const path = `/workspaces/${workspace.id}/api-keys/${key.id}`;
    const remove = (tag: string) => call("DELETE", path, { token: workspace.token, headers: { "if-match": tag } });
    expect((await remove('"7"')).body.code).toBe("precondition_failed");
    expect((await call("GET", path, { token: workspace.token })).body.status).toBe("active");
    const tag = (await call("GET", path, { token: workspace.token })).headers.get("etag") ?? "";
    expect((await remove(tag)).status).toBe(204);
    expect((await remove(tag)).status).toBe(204);
  });

  it("of another workspace, or of none, is the same 404", async ({ expect }) => {
    const [mine, theirs] = [await seedWorkspace(), await seedWorkspace()];
    const { body: foreign } = await makeKey(theirs);
    for (const method of ["GET", "DELETE"]) {
      const texts = await Promise.all(
        [foreign.id, "key_none"].map(async (id) => {
          const answer = await call(method, `/workspaces/${mine.id}/api-keys/${id}`, { token: mine.token });
          expect(answer.status).toBe(404);
          return answer.text.replace(answer.body.request_id, "");
        }),
      );
      expect(texts[0]).toBe(texts[1]);
    }
  });

  it("is 503 and revoking while its Router can't be told, and a repeat or the sweep makes it true", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes: ["models:invoke"] });
    const { body: other } = await makeKey(workspace, { scopes: ["models:invoke"] });
    const path = `/workspaces/${workspace.id}/api-keys/${key.id}`;
    const status = async (id: string): Promise<string> =>
      (await call("GET", `/workspaces/${workspace.id}/api-keys/${id}`, { token: workspace.token })).body.status;
    await breakRouter(workspace.id);
    const answer = await call("DELETE", path, { token: workspace.token });
    expect([answer.status, answer.body.code, answer.headers.get("retry-after")]).toEqual([503, "publish_pending", "1"]);
    expect(await status(key.id)).toBe("revoking");
    expect((await call("DELETE", path, { token: workspace.token })).status).toBe(503);
    vi.restoreAllMocks();
    expect((await call("DELETE", path, { token: workspace.token })).status).toBe(204);
    expect([await status(key.id), await admitted(workspace.id, await digestOf(key.id))]).toEqual([
      "revoked",
      "key_revoked",
    ]);

    await breakRouter(workspace.id);
    const otherPath = `/workspaces/${workspace.id}/api-keys/${other.id}`;
    expect((await call("DELETE", otherPath, { token: workspace.token })).status).toBe(503);
    vi.restoreAllMocks();
    expect((await sweepUnapplied(env, routerFor, 1000)).pending).toBe(0);
    expect([await status(other.id), await admitted(workspace.id, await digestOf(other.id))]).toEqual([
      "revoked",
      "key_revoked",
    ]);
  });
});

describe("an API key as a caller", () => {
  it("has its scopes cut to its maker's present role, and dies with its maker, its time and its workspace", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const scopes = ["keys:manage", "workspace:read"];
    const { body: key } = await makeKey({ ...workspace, token: admin.token }, { scopes });
    const { body: second } = await makeKey(workspace, { scopes });
    expect((await listWith(key.secret)).status).toBe(200);

    const isAdmin = eq(members.id, admin.memberId);
    await commit(db, [db.update(members).set({ role: "MEMBER" }).where(isAdmin)]);
    expect((await listWith(key.secret)).status).toBe(403);
    expect((await call("GET", "/workspaces/current", { token: key.secret })).status).toBe(200);
    await commit(db, [db.update(members).set({ role: "ADMIN", removedAt: Date.now() }).where(isAdmin)]);
    expect((await listWith(key.secret)).status).toBe(401);

    await commit(db, [db.update(apiKeys).set({ expiresAt: Date.now() }).where(eq(apiKeys.id, second.id))]);
    expect((await listWith(second.secret)).status).toBe(401);
    const { body: third } = await makeKey(workspace, { scopes });
    expect((await listWith(third.secret)).status).toBe(200);
    await commit(db, [db.update(workspaces).set({ deletedAt: Date.now() }).where(eq(workspaces.id, workspace.id))]);
    expect((await listWith(third.secret)).status).toBe(401);
  });

  it("is 401 with a challenge when it is cut, changed or of a purged row, without a query for what we never made", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes: ["workspace:read"] });
    const flipped = key.secret.slice(0, -1) + (key.secret.endsWith("0") ? "1" : "0");
    for (const token of [key.secret.slice(0, -1), flipped, "ghk_", "ghk_t1_auto_x_y"]) {
      const refused = await call("GET", "/workspaces/current", { token });
      expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm="gatehouse"']);
    }
    await commit(db, [db.delete(apiKeys).where(eq(apiKeys.id, key.id))]);
    expect((await call("GET", "/workspaces/current", { token: key.secret })).status).toBe(401);
  });

  it("leaves the time of its last use, at most once a minute", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes: ["workspace:read"] });
    const lastUsed = async (): Promise<number | null> => {
      const [row] = await db.select({ at: apiKeys.lastUsedAt }).from(apiKeys).where(eq(apiKeys.id, key.id)).all();
      return row?.at ?? null;
    };
    const use = () => call("GET", "/workspaces/current", { token: key.secret });
    const patience = { timeout: 10_000, interval: 50 };
    expect(await lastUsed()).toBeNull();
    await use();
    await vi.waitFor(async () => expect(await lastUsed()).not.toBeNull(), patience);
    const recent = Date.now() - 30_000;
    await commit(db, [db.update(apiKeys).set({ lastUsedAt: recent }).where(eq(apiKeys.id, key.id))]);
    await use();
    await scheduler.wait(100);
    expect(await lastUsed()).toBe(recent);
    await commit(db, [
      db
        .update(apiKeys)
        .set({ lastUsedAt: recent - 60_000 })
        .where(eq(apiKeys.id, key.id)),
    ]);
    await use();
    await vi.waitFor(async () => expect(await lastUsed()).toBeGreaterThan(recent), patience);
  });
});

describe("a key's secret", () => {
  it("stands in no later answer, log line, audit row, or dump of D1, KV and Router", async ({ expect }) => {
    const lines: string[] = [];
    for (const level of ["info", "warn", "error", "log"] as const) {
      vi.spyOn(console, level).mockImplementation(
        (...words: unknown[]) => void lines.push(words.map(String).join(" ")),
      );
    }
    const workspace = await seedWorkspace();
    const made = await makeKey(
      workspace,
      { name: "canary", scopes: ["workspace:read", "keys:manage"] },
      { "idempotency-key": "c" },
    );
    const { secret, id, prefix } = made.body;
    const random = secret.slice(prefix.length);
    const path = `/workspaces/${workspace.id}/api-keys/${id}`;
    const answers = [
      await call("GET", path, { token: workspace.token }),
      await call("GET", `/workspaces/${workspace.id}/api-keys`, { token: secret }),
      await makeKey({ id: workspace.id, token: secret }, { scopes: ["vault:rotate"] }),
      await makeKey(workspace, { name: "canary" }),
      await call("GET", "/workspaces/current", { token: `${secret}x` }),
      await call("DELETE", path, { token: workspace.token }),
      await call("GET", "/workspaces/current", { token: secret }),
    ];
    const texts = [...lines, ...answers.map((answer) => answer.text + JSON.stringify([...answer.headers]))];
    const tables = await env.DB.prepare(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
    ).all<{ name: string }>();
    for (const { name } of tables.results) {
      texts.push(JSON.stringify((await env.DB.prepare(`SELECT * FROM "${name}"`).all()).results));
    }
    for (const { name } of (await env.CONFIG.list({ prefix: `config/1/${workspace.id}/` })).keys) {
      texts.push((await env.CONFIG.get(name)) ?? "");
    }
    await runInDurableObject(routerFor(env, workspace.id, "auto"), (_router, state) => {
      const own = state.storage.sql.exec<{ name: string }>(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
      );
      for (const { name } of own.toArray()) {
        texts.push(JSON.stringify(state.storage.sql.exec(`SELECT * FROM "${name}"`).toArray()));
      }
    });
    const all = texts.join("\n");
    expect(all).toContain(await digestOf(id));
    expect(all).toContain(prefix);
    expect(all).not.toContain(random);
    expect(all).not.toContain(btoa(secret).slice(0, 40));
    expect((await auditOf(workspace.id, id)).length).toBe(2);
  });
});
