import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it, type ExpectStatic } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { openDatabase } from "../../src/base/database.js";
import { sha256Hex } from "../../src/base/bytes.js";
import { noteBudget } from "../../src/keys/budget-notices.js";
import { sealWorkspace } from "../../src/ledger/seal.js";
import { routerFor } from "../../src/routing/router-for.js";
import type { RouterRows } from "../../src/snapshot/model.js";
import { sweepUnapplied } from "../../src/snapshot/publish.js";
import { workspaces } from "../../src/tenancy/model.js";
import { sweepPurges, type PurgeableFor } from "../../src/workspaces/purge.js";
import { listWorkspaces } from "../../src/workspaces/workspaces.js";
import { call } from "../support/client.js";
import { db, seedMember, seedPool, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { tellUsage } from "../../src/usage/tell.js";
import { makeDelta } from "../routing/fixture.js";
import { addApi } from "../tools/seed.js";

const day = 86_400_000;
const minute = 60_000;

/** A workspace with a row in every table, deleted 30 days ago. */
async function seedDue(): Promise<{ workspace: SeededWorkspace; key: string; farKey: string }> {
  const workspace = await seedWorkspace();
  const { id, slug, token } = workspace;
  const key = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
  const body = { name: "Far", scopes: ["models:invoke"], region: "apac" };
  const far = await call("POST", `/workspaces/${id}/api-keys`, { token, body });
  const member = await seedMember(id, "ADMIN");
  await call("POST", `/workspaces/${id}/members/invite`, {
    token: member.token,
    body: { emails: [`invitee-${id}@example.com`] },
    headers: { "idempotency-key": id },
  });
  await call("POST", `/workspaces/${id}/switch`, { token: member.token });
  await call("POST", `/workspaces/${id}/vault/rotate`, { token });
  const models = `/workspaces/${id}/model-providers/sandbox/models`;
  await call("POST", models, { token, body: { model: "own", type: "llm" } });
  await call("PUT", `/workspaces/${id}/default-models`, { token, body: { llm: { pool: "chat" } } });
  await addApi(workspace, "fake");
  const hook = { url: "https://status-503.upstream.test/v1/hook", events: ["*"] };
  const { body: webhook } = await call("POST", `/workspaces/${id}/webhooks`, { token, body: hook });
  await call("POST", `/workspaces/${id}/webhooks/${webhook.id}/test`, { token });
  const news = { scope: "workspace", span: "day", start: 0, threshold: 80, spent: 8, budget: 10 } as const;
  await noteBudget(db, id, news, Date.now());
  await tellUsage(db, { workspaceId: id, shard: "auto" }, [{ ...makeDelta(), revision: 1 }], Date.now());
  await call("GET", `/workspaces/${id}/audit-log`, { token });
  await sealWorkspace(env, db, id, Date.now(), 1_000);
  await call("DELETE", `/workspaces/${id}`, { token, body: { slug } });
  await db
    .update(workspaces)
    .set({ deletedAt: Date.now() - 30 * day })
    .where(eq(workspaces.id, id));
  return { workspace, key, farKey: far.body.secret };
}

async function stateOf(id: string): Promise<string | null | undefined> {
  return (await db.select().from(workspaces).where(eq(workspaces.id, id)).all())[0]?.purgeState;
}

/** Rows that speak of the workspace, by table, counted in every table that has a column for it. */
async function countRows(id: string): Promise<Record<string, number>> {
  const tables = await env.DB.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").all<{
    name: string;
    sql: string;
  }>();
  const counts: Record<string, number> = {};
  for (const { name } of tables.results.filter(({ sql }) => sql.includes("`workspace_id` text"))) {
    const query = env.DB.prepare(`SELECT count(*) AS n FROM "${name}" WHERE workspace_id = ?`).bind(id);
    counts[name] = (await query.first<number>("n")) ?? 0;
  }
  return counts;
}

async function assertPurged(expect: ExpectStatic, workspace: SeededWorkspace, keys: readonly string[]): Promise<void> {
  expect(await stateOf(workspace.id)).toBe("purged");
  const left = Object.entries(await countRows(workspace.id)).filter(([, count]) => count > 0);
  // The log and its tree outlive what they speak of; the stub's owner is its one member.
  expect(left).toEqual([
    ["audit_log", expect.any(Number)],
    ["audit_targets", expect.any(Number)],
    ["audit_tiles", 1],
    ["audit_trees", 1],
    ["members", 1],
  ]);
  expect((await env.CONFIG.list({ prefix: `config/1/${workspace.id}/` })).keys).toEqual([]);
  const told = await db.select().from(auditLog).where(eq(auditLog.action, "workspace.purged")).all();
  const mine = told.filter((row) => row.targets.includes(workspace.id));
  expect(mine.map((row) => [row.workspaceId, row.actorType])).toEqual([[null, "system"]]);
  for (const token of keys) {
    expect((await call("GET", "/v1/models", { token })).status).toBe(401);
  }
}

const lame: PurgeableFor = (bindings, id, region) =>
  region === "oc" ? { purge: () => Promise.reject(new Error("down")) } : routerFor(bindings, id, region);

describe("the purge", () => {
  it("begins 30 days after the deletion and not before; from then on nothing can be restored", async ({ expect }) => {
    const { workspace } = await seedDue();
    const { id, slug, token } = workspace;
    const now = Date.now();
    await db
      .update(workspaces)
      .set({ deletedAt: now - 30 * day + minute })
      .where(eq(workspaces.id, id));
    await sweepPurges(env, db, now, routerFor);
    expect(await stateOf(id)).toBeNull();
    await sweepPurges(env, db, now + minute, routerFor);
    expect(await stateOf(id)).toBe("claimed");
    const restore = await call("POST", `/workspaces/${id}/restore`, { token });
    expect([restore.status, restore.body.code]).toEqual([410, "gone"]);
    expect((await call("DELETE", `/workspaces/${id}`, { token, body: { slug } })).status).toBe(410);
    const revival = db.update(workspaces).set({ deletedAt: null }).where(eq(workspaces.id, id)).run();
    await expect(revival).rejects.toThrow();
    const reset = db.update(workspaces).set({ purgeState: null }).where(eq(workspaces.id, id)).run();
    await expect(reset).rejects.toThrow();
  });

  it("destroys rows, snapshots and Router storage, frees the slug, and says so once outside the workspace", async ({
    expect,
  }) => {
    const { workspace, key, farKey } = await seedDue();
    const before = await countRows(workspace.id);
    const empty = Object.entries(before).filter(([, count]) => count === 0);
    // A table that nothing fills here is a table whose purge nothing tests.
    expect(empty.map(([name]) => name)).toEqual(["ownership_transfers"]);
    const now = Date.now();
    await sweepPurges(env, db, now, routerFor);
    // Two crons at once do it twice and say it once.
    await Promise.all([0, 1].map(() => sweepPurges(env, db, now + minute, routerFor)));
    await sweepPurges(env, db, now + 2 * minute, routerFor);
    await assertPurged(expect, workspace, [key, farKey]);
    const other = await seedMember(workspace.id, "MEMBER");
    const body = { name: "Heir", slug: workspace.slug };
    expect((await call("POST", "/workspaces", { token: other.token, body })).status).toBe(201);
  });

  it("a Router that was purged takes no version any more, whatever the record says, and stays so after its eviction", async ({
    expect,
  }) => {
    const { workspace, key } = await seedDue();
    const now = Date.now();
    await sweepPurges(env, db, now, routerFor);
    await sweepPurges(env, db, now + minute, routerFor);
    const digest = await sha256Hex(key);
    const risen: RouterRows = {
      workspace_id: workspace.id,
      active: true,
      keys: [
        {
          id: "key_risen",
          digest,
          scopes: ["models:invoke"],
          models: null,
          rpm: null,
          concurrent: null,
          expires_at_ms: null,
          revoked: false,
        },
      ],
      pools: [],
      credentials: [],
    };
    const router = () => routerFor(env, workspace.id, "auto");
    const applied = await router().apply({ epoch: 9, version: 9_000, digest: "d" }, risen);
    expect([applied.epoch, applied.version]).toEqual([0, 0]);
    await evictDurableObject(router());
    expect(await router().models({ key_digest: digest, scope: "models:invoke" })).toMatchObject({
      code: "key_revoked",
    });
    expect(await router().configured()).toBeNull();
    await sweepUnapplied(env, routerFor, 100);
    expect((await env.CONFIG.list({ prefix: `config/1/${workspace.id}/` })).keys).toEqual([]);
  });

  it("shows its owner a stub until no backup can hold the rest any more", async ({ expect }) => {
    const { workspace } = await seedDue();
    const now = Date.now();
    await sweepPurges(env, db, now, routerFor);
    await sweepPurges(env, db, now + minute, routerFor);
    const listed = await call("GET", "/workspaces?state=deleted", { token: workspace.token });
    const { purged_at: at, purged_final_at: finalAt } = listed.body.data[0].deletion;
    expect([Date.parse(at), Date.parse(finalAt)]).toEqual([now + minute, now + minute + 30 * day]);
    const listAt = (time: number) => listWorkspaces(db, workspace.owner.id, "deleted", null, 10, time);
    expect(await listAt(now + 30 * day)).toHaveLength(1);
    expect(await listAt(now + minute + 30 * day)).toHaveLength(0);
  });

  it("waits for every Router: while one cannot be reached nothing else is touched", async ({ expect }) => {
    const { workspace, key } = await seedDue();
    const now = Date.now();
    await sweepPurges(env, db, now, lame);
    const before = await countRows(workspace.id);
    expect(await sweepPurges(env, db, now + minute, lame)).toBe(0);
    expect([await stateOf(workspace.id), await countRows(workspace.id)]).toEqual(["claimed", before]);
    expect(await sweepPurges(env, db, now + 2 * minute, routerFor)).toBe(1);
    await assertPurged(expect, workspace, [key]);
  });

  it("goes on after a crash at any statement, and ends as if there had been none", async ({ expect }) => {
    const { workspace, key, farKey } = await seedDue();
    let now = Date.now();
    await sweepPurges(env, db, now, routerFor);
    let crashes = 0;
    for (let statements = 1; (await stateOf(workspace.id)) !== "purged"; statements += 1) {
      expect(statements).toBeLessThan(100);
      now += minute;
      const flaky = openDatabase(breakAfter(statements));
      await sweepPurges(env, flaky, now, routerFor).catch(() => 0);
      crashes += 1;
    }
    expect(crashes).toBeGreaterThan(10);
    await assertPurged(expect, workspace, [key, farKey]);
  });

  it("touches no other workspace", async ({ expect }) => {
    const { workspace } = await seedDue();
    const other = await seedWorkspace();
    const key = await seedPool(other, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
    const before = await countRows(other.id);
    const now = Date.now();
    await sweepPurges(env, db, now, routerFor);
    await sweepPurges(env, db, now + minute, routerFor);
    expect(await stateOf(workspace.id)).toBe("purged");
    expect(await countRows(other.id)).toEqual(before);
    expect((await call("GET", "/v1/models", { token: key })).status).toBe(200);
    const rows = await db.select().from(auditLog).where(eq(auditLog.action, "workspace.purged")).all();
    expect(rows.some((row) => row.targets.includes(other.id))).toBe(false);
  });
});

/** A D1 that answers so many statements and then fails, like a Worker that is cut off there. */
function breakAfter(statements: number): D1Database {
  let left = statements;
  return new Proxy(env.DB, {
    get(target, name) {
      if (name !== "prepare") {
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return (query: string) => {
        left -= 1;
        if (left < 0) {
          throw new Error("cut off");
        }
        return target.prepare(query);
      };
    },
  });
}
