import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { and, asc, eq, sql } from "drizzle-orm";
import { describe, it } from "vitest";
import { openInstance } from "../../src/snapshot/read.js";
import { routerFor } from "../../src/routing/router-for.js";
import { readConfig } from "../../src/snapshot/build.js";
import { implicitInstanceId } from "../../src/snapshot/implicit.js";
import { models } from "../../src/models/model.js";
import { workspaces } from "../../src/tenancy/model.js";
import { auditLog } from "../../src/audit/model.js";
import { auditOf as auditLines, sandboxCredential, sandboxInstance } from "../connections/seed.js";
import { call, type Answer } from "../support/client.js";
import { db, seedKey, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

const madeUp = { input_usd_per_mtok: "1", output_usd_per_mtok: "4", cached_input_usd_per_mtok: "0.1" };

function pathOf(workspace: SeededWorkspace, model?: string, provider = "sandbox"): string {
  const list = `/workspaces/${workspace.id}/model-providers/${provider}/models`;
  return model === undefined ? list : `${list}/${encodeURIComponent(model)}`;
}

function add(workspace: SeededWorkspace, model: string, more: object = {}, provider = "sandbox"): Promise<Answer> {
  const body = { model, type: "llm", ...more };
  return call("POST", pathOf(workspace, undefined, provider), { token: workspace.token, body });
}

function patch(workspace: SeededWorkspace, model: string, body: object, headers: Record<string, string> = {}) {
  return call("PATCH", pathOf(workspace, model), { token: workspace.token, body, headers });
}

async function names(workspace: SeededWorkspace, query: string, provider = "sandbox"): Promise<string[]> {
  const answer = await call("GET", `${pathOf(workspace, undefined, provider)}?${query}`, workspace);
  return answer.body.data.map((one: { model: string }) => one.model);
}

/** The audit rows about one target of a workspace, oldest first. */
async function auditOf(workspace: SeededWorkspace, type: string, id: string) {
  const isAbout = and(eq(auditLog.workspaceId, workspace.id), eq(auditLog.targets, JSON.stringify([{ type, id }])));
  const rows = await db.select().from(auditLog).where(isAbout).orderBy(asc(auditLog.seq)).all();
  return rows.map(({ action, before, after }) => ({
    action,
    before: JSON.parse(before ?? "null"),
    after: JSON.parse(after ?? "null"),
  }));
}

async function versionOf(workspace: SeededWorkspace): Promise<number> {
  const query = db
    .select({ version: workspaces.configVersion })
    .from(workspaces)
    .where(eq(workspaces.id, workspace.id));
  return (await query.all())[0]?.version ?? -1;
}

function chat(key: string, model: string): Promise<Answer> {
  const body = { model, messages: [{ role: "user", content: "hello" }] };
  return call("POST", "/v1/chat/completions", { token: key, body });
}

async function listed(key: string): Promise<[string, string][]> {
  const answer = await call("GET", "/v1/models", { token: key });
  return answer.body.data.map((one: { id: string; owned_by: string }) => [one.id, one.owned_by]);
}

describe("a provider's models", () => {
  it("are the catalogue's until somebody says otherwise, and come back field by field with null", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const predefined = {
      provider_name: "sandbox",
      model: "sandbox-chat",
      type: "llm",
      price: madeUp,
      price_source: "catalogue",
      enabled: true,
      custom: false,
      credential_ids: null,
      updated_at: null,
    };
    const list = await call("GET", pathOf(workspace), workspace);
    expect([list.status, list.body.next_cursor]).toEqual([200, null]);
    const shown = list.body.data.find((one: { model: string }) => one.model === "sandbox-chat");
    expect(shown).toMatchObject(predefined);
    const read = await call("GET", pathOf(workspace, "sandbox-chat"), workspace);
    expect([read.status, read.body]).toEqual([200, shown]);
    const cached = { token: workspace.token, headers: { "if-none-match": read.headers.get("etag") ?? "" } };
    expect((await call("GET", pathOf(workspace, "sandbox-chat"), cached)).status).toBe(304);

    const price = { input_usd_per_mtok: "0.15", output_usd_per_mtok: "0.6" };
    const changed = await patch(workspace, "sandbox-chat", { price, title: "Ours", context_window: 4096 });
    const own = { price: { ...price, cached_input_usd_per_mtok: null }, price_source: "workspace" };
    expect([changed.status, changed.body]).toEqual([
      200,
      { ...shown, ...own, title: "Ours", context_window: 4096, updated_at: changed.body.updated_at },
    ]);
    expect(changed.headers.get("etag")).not.toBe(read.headers.get("etag"));
    const before = await versionOf(workspace);

    const back = await patch(workspace, "sandbox-chat", { price: null, title: null, context_window: null });
    expect(back.body).toEqual({ ...shown, updated_at: back.body.updated_at });
    // A pool may go by cost; titles are nothing that a call needs to know.
    expect(await versionOf(workspace)).toBe(before + 1);
    await patch(workspace, "sandbox-chat", { title: "Once more" });
    await patch(workspace, "sandbox-chat", { title: null });
    expect(await versionOf(workspace)).toBe(before + 1);
    const [first, second] = await auditOf(workspace, "model", "sandbox/sandbox-chat");
    expect([first, second]).toMatchObject([
      { action: "model.updated", before: { title: shown.title, price: madeUp }, after: { title: "Ours", ...own } },
      { action: "model.updated", before: { title: "Ours" }, after: { price_source: "catalogue" } },
    ]);
    const same = await patch(workspace, "sandbox-chat", { enabled: true, title: null });
    const now = await call("GET", pathOf(workspace, "sandbox-chat"), workspace);
    expect([same.status, same.headers.get("etag")]).toEqual([200, now.headers.get("etag")]);
    expect(await auditOf(workspace, "model", "sandbox/sandbox-chat")).toHaveLength(4);
  });

  it("can be the workspace's own, under any name that a path can carry", async ({ expect }) => {
    const workspace = await seedWorkspace();
    for (const model of ["ft:@cf/Llama-4%20Scout#1?", "a".repeat(128)]) {
      const made = await add(workspace, model, { title: "Own", max_output: 10, enabled: false });
      expect([model, made.status, made.body.custom, made.body.enabled]).toEqual([model, 201, true, false]);
      const place = made.headers.get("location") ?? "";
      const read = await call("GET", place, workspace);
      expect([read.status, read.body, read.headers.get("etag")]).toEqual([200, made.body, made.headers.get("etag")]);
      expect((await add(workspace, model)).body.code).toBe("name_taken");
      const changed = await call("PATCH", place, {
        token: workspace.token,
        body: { type: "embedding", enabled: true },
      });
      expect(changed.body).toMatchObject({ type: "embedding", enabled: true, title: "Own", max_output: 10 });
      expect((await call("DELETE", place, workspace)).status).toBe(204);
      expect((await call("GET", place, workspace)).status).toBe(404);
      const log = await auditOf(workspace, "model", `sandbox/${model}`);
      expect(log.map((line) => line.action)).toEqual(["model.created", "model.updated", "model.deleted"]);
      const again = await add(workspace, model);
      const stale = { token: workspace.token, headers: { "if-match": read.headers.get("etag") ?? "" } };
      expect([again.status, (await call("DELETE", place, stale)).status]).toEqual([201, 412]);
    }
  });

  it("are refused field by field when they cannot be", async ({ expect }) => {
    const [workspace, other] = [await seedWorkspace(), await seedWorkspace()];
    const foreign = await sandboxCredential(other);
    const cases: [object, string][] = [
      [{ model: "" }, "/model"],
      [{ model: "with space" }, "/model"],
      [{ model: 'quo"te' }, "/model"],
      [{ model: ".." }, "/model"],
      [{ model: "a".repeat(129) }, "/model"],
      [{ type: "chat" }, "/type"],
      [{ price: { input_usd_per_mtok: 2.5 } }, "/price/input_usd_per_mtok"],
      [{ price: { input_usd_per_mtok: "1e3" } }, "/price/input_usd_per_mtok"],
      [{ price: { output_usd_per_mtok: "-1" } }, "/price/output_usd_per_mtok"],
      [{ price: { per_call: "1" } }, "/price/per_call"],
      [{ context_window: 0 }, "/context_window"],
      [{ context_window: 1.5 }, "/context_window"],
      [{ credential_ids: [] }, "/credential_ids"],
      [{ credential_ids: [foreign] }, "/credential_ids/0"],
      [{ nonsense: 1 }, "/nonsense"],
    ];
    for (const [more, pointer] of cases) {
      const answer = await add(workspace, "fine", more);
      expect([more, answer.status, answer.body.errors?.[0]?.pointer]).toEqual([more, 422, pointer]);
    }
    const known = await add(workspace, "sandbox-chat");
    expect([known.status, known.body.code]).toEqual([409, "name_taken"]);
    const deleted = await call("DELETE", pathOf(workspace, "sandbox-chat"), workspace);
    expect([deleted.status, deleted.body.code]).toEqual([409, "model_predefined"]);
    const typed = await patch(workspace, "sandbox-chat", { type: "image" });
    expect([typed.status, typed.body.errors[0].pointer]).toEqual([422, "/type"]);
    for (const gone of [pathOf(workspace, "nobody"), pathOf(workspace, "sandbox-chat", "nobody")]) {
      expect((await call("GET", gone, workspace)).status).toBe(404);
      expect((await call("PATCH", gone, { token: workspace.token, body: {} })).status).toBe(404);
    }
    expect(await db.$count(models, eq(models.workspaceId, workspace.id))).toBe(0);
  });

  it("are listed by name, page by page, and by type, state and origin", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const provider = "openai_compatible";
    const made = ["m/3", "m/1", "Z", "m/2", "é".normalize("NFD").slice(0, 1)];
    for (const [index, model] of made.entries()) {
      await add(workspace, model, { type: index % 2 === 0 ? "llm" : "embedding", enabled: index !== 0 }, provider);
    }
    const path = pathOf(workspace, undefined, provider);
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const page: Answer = await call("GET", `${path}?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`, workspace);
      seen.push(...page.body.data.map((one: { model: string }) => one.model));
      cursor = page.body.next_cursor;
    }
    expect(seen).toEqual(["Z", "e", "m/1", "m/2", "m/3"]);
    expect(await names(workspace, "type=embedding", provider)).toEqual(["m/1", "m/2"]);
    expect(await names(workspace, "enabled=false", provider)).toEqual(["m/3"]);
    expect(await names(workspace, "enabled=true&type=llm&custom=true", provider)).toEqual(["Z", "e"]);
    expect(await names(workspace, "custom=false", provider)).toEqual([]);
    expect(await names(workspace, "custom=false")).toContain("sandbox-chat");
    expect((await call("GET", `${path}?enabled=yes`, workspace)).body.errors[0]).toMatchObject({ pointer: "/enabled" });
  });

  it("change only as they were read", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const etag = async (): Promise<string> =>
      (await call("GET", pathOf(workspace, "sandbox-chat"), workspace)).headers.get("etag") ?? "";
    const untouched = await etag();
    expect((await patch(workspace, "sandbox-chat", { title: "a" }, { "if-match": untouched })).status).toBe(200);
    expect((await patch(workspace, "sandbox-chat", { title: "b" }, { "if-match": untouched })).status).toBe(412);
    expect((await patch(workspace, "sandbox-chat", { title: "c" }, { "if-match": await etag() })).body.title).toBe("c");
    const fresh = await seedWorkspace();
    const both = await Promise.all(["x", "y"].map((title) => patch(fresh, "sandbox-chat", { title })));
    const good = both.filter(({ status }) => status === 200);
    expect(good.length).toBeGreaterThan(0);
    expect(both.every(({ status, body }) => status === 200 || body.code === "conflict")).toBe(true);
    expect(await auditOf(fresh, "model", "sandbox/sandbox-chat")).toHaveLength(good.length);
    const fields = {
      title: "t",
      context_window: 7,
      max_output: 8,
      enabled: false,
      price: { input_usd_per_mtok: "1", output_usd_per_mtok: "2", cached_input_usd_per_mtok: null },
    };
    const many = await Promise.all(
      Object.entries(fields).map(([name, value]) => patch(fresh, "sandbox-chat", { [name]: value })),
    );
    const now = (await call("GET", pathOf(fresh, "sandbox-chat"), fresh)).body;
    for (const [index, [name, value]] of Object.entries(fields).entries()) {
      // Whoever was told that it holds is right, and nobody's change is lost to another's.
      expect([name, many[index]?.status === 409 || JSON.stringify(now[name]) === JSON.stringify(value)]).toEqual([
        name,
        true,
      ]);
    }
    expect(many.some(({ status }) => status === 200)).toBe(true);
    const key = { "idempotency-key": "one" };
    const [first, again] = [
      await call("POST", pathOf(fresh), { token: fresh.token, headers: key, body: { model: "own", type: "llm" } }),
      await call("POST", pathOf(fresh), { token: fresh.token, headers: key, body: { model: "own", type: "llm" } }),
    ];
    expect([first.status, again.status, again.headers.get("idempotency-replayed"), again.body]).toEqual([
      201,
      201,
      "true",
      first.body,
    ]);
  });

  it("are a thousand of the workspace's own at most", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await db
      .insert(models)
      .select(
        sql`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
          SELECT ${workspace.id}, 'openai_compatible', 'm' || i, 1, 'llm', NULL, NULL, NULL, NULL, 1, NULL, 1, 1, 1 FROM n`,
      )
      .run();
    expect((await add(workspace, "one-more", {}, "openai_compatible")).body.code).toBe("limit_reached");
    expect((await add(workspace, "one-more")).status).toBe(409);
    expect((await patch(workspace, "sandbox-chat", { title: "Still ours to change" })).status).toBe(200);
  });
});

describe("a model called by its own name", () => {
  it("is there with its provider's first credential, and gone with its last one", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { secret: key } = await seedKey(workspace);
    const missing = await chat(key, "sandbox-chat");
    expect([missing.status, missing.body.error.code]).toEqual([404, "model_not_found"]);
    expect(await listed(key)).toEqual([]);

    const ids = [await sandboxCredential(workspace, "ok-a"), await sandboxCredential(workspace, "ok-b")];
    const used = new Map<string, number>();
    for (let round = 0; round < 6; round += 1) {
      const answer = await chat(key, "sandbox-chat");
      expect([answer.status, answer.body.model]).toEqual([200, "sandbox-chat"]);
      const alias = answer.headers.get("x-gatehouse-instance") ?? "";
      used.set(alias, (used.get(alias) ?? 0) + 1);
    }
    const aliases = ids.map((id) => `sandbox-sandbox-chat-${id.slice(-6)}`);
    expect(Object.fromEntries(used)).toEqual(Object.fromEntries(aliases.map((alias) => [alias, 3])));
    expect(await listed(key)).toContainEqual(["sandbox-chat", "sandbox"]);
    expect((await call("GET", "/v1/models/sandbox-chat", { token: key })).body.owned_by).toBe("sandbox");

    for (const id of ids) {
      expect((await chat(key, "sandbox-chat")).status).toBe(200);
      expect((await call("DELETE", `/workspaces/${workspace.id}/credentials/${id}`, workspace)).status).toBe(204);
    }
    const gone = await chat(key, "sandbox-chat");
    expect([gone.status, gone.body.error.code]).toEqual([404, "model_not_found"]);
    expect((await call("GET", "/v1/models/sandbox-chat", { token: key })).status).toBe(404);
  });

  it("goes round a credential that fails, and a pool of the name takes over with what is known of it", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const bad = await sandboxCredential(workspace, "500");
    const good = await sandboxCredential(workspace);
    const { secret: key } = await seedKey(workspace);
    const first = await Promise.all(Array.from({ length: 4 }, () => chat(key, "sandbox-chat")));
    expect(first.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(first.some(({ headers }) => headers.get("x-gatehouse-attempts") === "2")).toBe(true);
    const stateOf = (pool: string) =>
      call("GET", `/workspaces/${workspace.id}/pools/${encodeURIComponent(pool)}/state`, workspace);
    const live = await stateOf("model:sandbox/sandbox-chat");
    const byId = Object.fromEntries(live.body.instances.map((one: { id: string }) => [one.id, one]));
    expect(byId).toMatchObject({
      [`model:${bad}/sandbox-chat`]: { status: "cooling" },
      [`model:${good}/sandbox-chat`]: { status: "ready", failures: 0 },
    });
    const ofModel = `/workspaces/${workspace.id}/pools/${encodeURIComponent("model:sandbox/sandbox-chat")}`;
    const imagined = await call("POST", `${ofModel}/dry-run`, { token: workspace.token, body: { requests: 2 } });
    expect(imagined.body).toMatchObject({
      steps: [{ instance_id: `model:${good}/sandbox-chat` }, { instance_id: `model:${good}/sandbox-chat` }],
      excluded: [{ instance_id: `model:${bad}/sandbox-chat` }],
    });
    const clear = (instance: string) =>
      call("POST", `${ofModel}/instances/${encodeURIComponent(instance)}/clear-cooldown`, workspace);
    expect((await clear(`model:${bad}/sandbox-chat`)).status).toBe(200);
    expect((await clear("nobody")).status).toBe(404);
    const cleared = await stateOf("model:sandbox/sandbox-chat");
    expect(cleared.body.instances.map((one: { status: string }) => one.status)).toEqual(["ready", "ready"]);
    const [deed] = (await auditLines(`model:${bad}/sandbox-chat`)).map(({ action, after }) => ({ action, after }));
    expect(deed).toMatchObject({ action: "pool.instance_cooldown_cleared", after: { credential_id: bad } });
    // It fails and cools again: the next two of it and its like meet both credentials.
    await Promise.all([chat(key, "sandbox-chat"), chat(key, "sandbox-chat")]);
    for (const pool of ["model:sandbox/nobody", "model:openai/sandbox-chat", "model:", "nobody"]) {
      expect([pool, (await stateOf(pool)).status]).toEqual([pool, 404]);
      const path = `/workspaces/${workspace.id}/pools/${encodeURIComponent(pool)}/dry-run`;
      expect((await call("POST", path, { token: workspace.token, body: {} })).status).toBe(404);
    }

    const instances = [sandboxInstance(bad, { alias: "bad" }), sandboxInstance(good, { alias: "good" })];
    const making = call("POST", `/workspaces/${workspace.id}/pools`, {
      token: workspace.token,
      body: { name: "sandbox-chat", instances },
    });
    const meanwhile = await Promise.all(Array.from({ length: 8 }, () => chat(key, "sandbox-chat")));
    const { body: pool, status } = await making;
    expect([status, ...meanwhile.map((answer) => answer.status)]).toEqual([201, ...Array(8).fill(200)]);
    const after = await chat(key, "sandbox-chat");
    expect([after.status, after.headers.get("x-gatehouse-instance")]).toEqual([200, "good"]);
    const state = await call("GET", `/workspaces/${workspace.id}/pools/${pool.id}/state`, workspace);
    expect(state.body.instances[0]).toMatchObject({ alias: "bad", status: "cooling" });
    expect((await call("DELETE", `/workspaces/${workspace.id}/pools/${pool.id}`, workspace)).status).toBe(204);
    expect((await chat(key, "sandbox-chat")).headers.get("x-gatehouse-instance")).toContain(good.slice(-6));
  });

  it("stops when it is disabled, by its name and in every pool, and goes on when it is enabled", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const credential = await sandboxCredential(workspace);
    const { secret: key } = await seedKey(workspace);
    await call("POST", `/workspaces/${workspace.id}/pools`, {
      token: workspace.token,
      body: { name: "chat", instances: [sandboxInstance(credential)] },
    });
    const statuses = async (): Promise<number[]> => [
      (await chat(key, "sandbox-chat")).status,
      (await chat(key, "chat")).status,
    ];
    expect(await statuses()).toEqual([200, 200]);
    expect((await patch(workspace, "sandbox-chat", { enabled: false })).body.enabled).toBe(false);
    expect(await statuses()).toEqual([404, 503]);
    expect((await listed(key)).map(([id]) => id)).not.toContain("sandbox-chat");
    const state = await call("GET", `/workspaces/${workspace.id}/pools/chat/state`, workspace);
    expect(state.body.instances[0].status).toBe("drained");
    expect((await patch(workspace, "sandbox-chat", { enabled: true })).status).toBe(200);
    expect(await statuses()).toEqual([200, 200]);
  });

  it("of the workspace's own is called as it is named, with the credentials that have it", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const [one, two] = [await sandboxCredential(workspace), await sandboxCredential(workspace)];
    const { secret: key } = await seedKey(workspace);
    await add(workspace, "own/model:1", { credential_ids: [two, two] });
    const answer = await chat(key, "own/model:1");
    // The sandbox knows no such model: it says so, by the name that it was asked for.
    expect([answer.status, answer.headers.get("x-gatehouse-attempts")]).toEqual([502, "1"]);
    expect(answer.headers.get("x-gatehouse-instance")).toBe(`sandbox-own/model:1-${two.slice(-6)}`);
    expect(await listed(key)).toContainEqual(["own/model:1", "sandbox"]);
    expect((await call("GET", pathOf(workspace, "own/model:1"), workspace)).body.credential_ids).toEqual([two]);
    await call("DELETE", `/workspaces/${workspace.id}/credentials/${two}`, workspace);
    expect((await chat(key, "own/model:1")).status).toBe(404);
    await call("PATCH", pathOf(workspace, "own/model:1"), { token: workspace.token, body: { credential_ids: null } });
    expect((await chat(key, "own/model:1")).headers.get("x-gatehouse-instance")).toContain(one.slice(-6));
  });

  it("that two providers have is refused by naming them", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await sandboxCredential(workspace);
    const { secret: key } = await seedKey(workspace);
    await add(workspace, "sandbox-chat", {}, "openai_compatible");
    expect((await chat(key, "sandbox-chat")).status).toBe(200);
    const made = await call("POST", `/workspaces/${workspace.id}/model-providers/openai_compatible/credentials`, {
      token: workspace.token,
      body: { name: "own", credentials: { base_url: "https://ok.upstream.test/v1" }, validate: false },
    });
    const answer = await chat(key, "sandbox-chat");
    expect([answer.status, answer.body.error.code]).toEqual([404, "model_not_found"]);
    expect(answer.body.error.message).toContain("openai_compatible and sandbox");
    expect((await listed(key)).map(([id]) => id)).not.toContain("sandbox-chat");
    await call("DELETE", `/workspaces/${workspace.id}/credentials/${made.body.id}`, workspace);
    expect((await chat(key, "sandbox-chat")).status).toBe(200);
  });

  it("is found by a Router that was last told by a release without such names", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await sandboxCredential(workspace);
    const { secret: key } = await seedKey(workspace);
    const router = () => routerFor(env, workspace.id, "auto");
    const forget = async (): Promise<void> => {
      await runInDurableObject(router(), (_, { storage }) => {
        storage.sql.exec("DELETE FROM config_rows WHERE kind IN ('provider', 'catalogue')");
      });
      await evictDurableObject(router());
    };
    await forget();
    const before = await versionOf(workspace);
    expect((await chat(key, "sandbox-chat")).status).toBe(200);
    await forget();
    expect((await listed(key)).map(([id]) => id)).toContain("sandbox-chat");
    expect((await chat(key, "nobody")).status).toBe(404);
    expect(await versionOf(workspace)).toBe(before);
  });

  it("opens with the credential of its own workspace only", async ({ expect }) => {
    const [mine, theirs] = [await seedWorkspace(), await seedWorkspace()];
    const [own, foreign] = [await sandboxCredential(mine, "ok-mine"), await sandboxCredential(theirs)];
    const { address } = await readConfig(db, mine.id);
    const open = (credential: string) =>
      openInstance(env, mine.id, address, implicitInstanceId({ credential_id: credential, model: "m/1" }));
    expect((await open(own))?.api_key?.reveal()).toBe("sk-sandbox-ok-mine");
    expect(await open(own)).toMatchObject({ provider_name: "sandbox", model: "m/1", credential_id: own });
    expect(await open(foreign)).toBeNull();
  });
});

describe("default models", () => {
  const blank = { llm: null, embedding: null, rerank: null, speech: null, image: null, moderation: null };

  it("are one for each type, a model or a pool, replaced as a whole", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const path = `/workspaces/${workspace.id}/default-models`;
    const put = (body: object, headers: Record<string, string> = {}) =>
      call("PUT", path, { token: workspace.token, body, headers });
    const empty = await call("GET", path, workspace);
    expect([empty.status, empty.body]).toEqual([200, blank]);

    const llm = { provider_name: "sandbox", model: "sandbox-chat" };
    const first = await put({ llm }, { "if-match": empty.headers.get("etag") ?? "" });
    expect([first.status, first.body]).toEqual([200, { ...blank, llm: { ...llm, available: false } }]);
    const credential = await sandboxCredential(workspace);
    const read = await call("GET", path, workspace);
    expect(read.body.llm).toEqual({ ...llm, available: true });
    expect(read.headers.get("etag")).not.toBe(first.headers.get("etag"));
    expect((await put({}, { "if-match": empty.headers.get("etag") ?? "" })).status).toBe(412);

    const { secret: key } = await seedKey(workspace);
    expect([(await chat(key, "default")).status, (await chat(key, "default")).body.model]).toEqual([
      200,
      "sandbox-chat",
    ]);
    expect(await listed(key)).toContainEqual(["default", "gatehouse"]);

    const made = await call("POST", `/workspaces/${workspace.id}/pools`, {
      token: workspace.token,
      body: { name: "team", instances: [sandboxInstance(credential, { alias: "of-the-pool" })] },
    });
    const pooled = await put({ llm: { pool: "team" }, embedding: { pool: made.body.id } });
    const shown = { pool: "team", pool_id: made.body.id, available: true };
    expect(pooled.body).toEqual({ ...blank, llm: shown, embedding: shown });
    expect((await call("GET", path, workspace)).body).toEqual(pooled.body);
    expect((await chat(key, "default")).headers.get("x-gatehouse-instance")).toBe("of-the-pool");
    const log = await auditOf(workspace, "workspace", workspace.id);
    const [, last] = log.filter((line) => line.action === "default_models.updated");
    expect(last).toMatchObject({ before: { llm, embedding: null }, after: { llm: { pool_id: made.body.id } } });
    const same = await put({ llm: { pool: made.body.id }, embedding: { pool: "team" } });
    expect(same.headers.get("etag")).toBe(pooled.headers.get("etag"));

    await call("DELETE", `/workspaces/${workspace.id}/pools/team`, workspace);
    const left = await call("GET", path, workspace);
    expect(left.body).toEqual(blank);
    expect((await put({ llm }, { "if-match": pooled.headers.get("etag") ?? "" })).status).toBe(412);
    expect((await chat(key, "default")).body.error.code).toBe("model_not_found");
  });

  it("are available as long as they can be called, and their ETag moves with all that they show", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const path = `/workspaces/${workspace.id}/default-models`;
    const [own, other] = [await sandboxCredential(workspace), await sandboxCredential(workspace, "other")];
    await add(workspace, "ft", { credential_ids: [own] });
    const pool = { name: "team", instances: [sandboxInstance(other)] };
    await call("POST", `/workspaces/${workspace.id}/pools`, { token: workspace.token, body: pool });
    const body = { llm: { provider_name: "sandbox", model: "ft" }, embedding: { pool: "team" } };
    const put = await call("PUT", path, { token: workspace.token, body });
    const read = await call("GET", path, workspace);
    expect([put.body.llm.available, read.body, read.headers.get("etag")]).toEqual([
      true,
      put.body,
      put.headers.get("etag"),
    ]);
    const again = async () => {
      const headers = { "if-none-match": read.headers.get("etag") ?? "" };
      return await call("GET", path, { token: workspace.token, headers });
    };
    expect((await again()).status).toBe(304);

    const renamed = { token: workspace.token, body: { ...pool, name: "crew" } };
    await call("PUT", `/workspaces/${workspace.id}/pools/team`, renamed);
    const moved = await again();
    expect([moved.status, moved.body.embedding.pool]).toEqual([200, "crew"]);

    const { secret: key } = await seedKey(workspace);
    expect(await listed(key)).toContainEqual(["default", "gatehouse"]);
    await call("DELETE", `/workspaces/${workspace.id}/model-providers/sandbox/credentials/${own}`, workspace);
    expect([(await chat(key, "default")).status, (await again()).body.llm.available]).toEqual([404, false]);
  });

  it("are refused where nothing of that type is there", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const put = (body: object) =>
      call("PUT", `/workspaces/${workspace.id}/default-models`, { token: workspace.token, body });
    await add(workspace, "off", { enabled: false });
    const cases: [object, string, string | undefined][] = [
      [{ llm: { provider_name: "sandbox", model: "nobody" } }, "/llm/model", "unknown_model"],
      [{ llm: { provider_name: "nobody", model: "sandbox-chat" } }, "/llm/model", "unknown_model"],
      [{ llm: { provider_name: "sandbox", model: "off" } }, "/llm/model", "unfit_model"],
      [{ image: { provider_name: "sandbox", model: "sandbox-chat" } }, "/image/model", "unfit_model"],
      [{ llm: { pool: "nobody" } }, "/llm/pool", "unknown_pool"],
      [{ llm: {} }, "/llm", undefined],
      [{ llm: { pool: "a", model: "b" } }, "/llm/model", undefined],
      [{ chat: null }, "/chat", undefined],
    ];
    for (const [body, pointer, code] of cases) {
      const answer = await put(body);
      expect([body, answer.status, answer.body.errors[0].pointer, answer.body.errors[0].code]).toEqual([
        body,
        422,
        pointer,
        code,
      ]);
    }
    expect((await put({ llm: { provider_name: "sandbox", model: "sandbox-chat" } })).status).toBe(200);
    await patch(workspace, "sandbox-chat", { enabled: false });
    const read = await call("GET", `/workspaces/${workspace.id}/default-models`, workspace);
    expect(read.body.llm).toMatchObject({ model: "sandbox-chat", available: false });
  });

  it("of two written at once are one or the other", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await add(workspace, "own");
    const path = `/workspaces/${workspace.id}/default-models`;
    const etag = (await call("GET", path, workspace)).headers.get("etag") ?? "";
    const answers = await Promise.all(
      ["own", "sandbox-chat"].map((model) =>
        call("PUT", path, {
          token: workspace.token,
          headers: { "if-match": etag },
          body: { llm: { provider_name: "sandbox", model } },
        }),
      ),
    );
    expect(answers.map(({ status }) => String(status)).toSorted()).toEqual(["200", "412"]);
    const winner = answers.find(({ status }) => status === 200);
    expect((await call("GET", path, workspace)).body).toEqual(winner?.body);
  });

  it("a pool of another workspace can never be named by a row", async ({ expect }) => {
    const [mine, theirs] = [await seedWorkspace(), await seedWorkspace()];
    const credential = await sandboxCredential(theirs);
    const pool = await call("POST", `/workspaces/${theirs.id}/pools`, {
      token: theirs.token,
      body: { name: "team", instances: [sandboxInstance(credential)] },
    });
    const insert = db.run(
      sql`INSERT INTO default_models (workspace_id, type, pool_id, revision) VALUES (${mine.id}, 'llm', ${pool.body.id}, 1)`,
    );
    await expect(insert).rejects.toThrow();
  });
});

describe("an export", () => {
  it("holds what differs from the catalogue, and the defaults", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await add(workspace, "own", { price: { input_usd_per_mtok: "1" } });
    await patch(workspace, "sandbox-chat", { title: "Ours" });
    await call("PUT", `/workspaces/${workspace.id}/default-models`, {
      token: workspace.token,
      body: { llm: { provider_name: "sandbox", model: "own" } },
    });
    const answer = await call("GET", `/workspaces/${workspace.id}/export`, workspace);
    const lines = answer.text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { section: string; data: Record<string, unknown> });
    const of = (section: string) => lines.filter((line) => line.section === section).map((line) => line.data);
    expect(of("models")).toMatchObject([
      { model: "own", custom: true, price: { input_usd_per_mtok: "1" } },
      { model: "sandbox-chat", custom: false, title: "Ours", price: null },
    ]);
    expect(of("default_models")).toHaveLength(6);
    expect(of("default_models").find(({ type }) => type === "llm")).toMatchObject({ model: "own" });
  });
});

describe("whoever reads", () => {
  it("may see models and defaults as a MEMBER, and change neither", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const member = await seedMember(workspace.id, "MEMBER");
    expect((await call("GET", pathOf(workspace), member)).status).toBe(200);
    expect(
      (await call("POST", pathOf(workspace), { token: member.token, body: { model: "m", type: "llm" } })).status,
    ).toBe(403);
  });
});
