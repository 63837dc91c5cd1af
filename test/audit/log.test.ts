import { env } from "cloudflare:workers";
import { and, eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { auditLog, auditThrottle } from "../../src/audit/model.js";
import { listNewest } from "../../src/audit/list.js";
import { noteDenied } from "../../src/audit/denied.js";
import { sweepThrottles } from "../../src/audit/throttle.js";
import { openDatabase } from "../../src/base/database.js";
import type { Actor } from "../../src/access/principal.js";
import { fillLog } from "../ledger/fill.js";
import { call, send } from "../support/client.js";
import { db, seedAccount, seedKey, seedMember, seedWorkspace } from "../support/seed.js";
import { planOf, watchRecord, wholeScans } from "../support/watched-d1.js";

const path = (id: string, query = "") => `/workspaces/${id}/audit-log${query}`;
const start = 1_790_000_000_000;

const isDenied = (id: string) => and(eq(auditLog.workspaceId, id), eq(auditLog.action, "request.denied"));
const actor = (name: string, when: number): Actor => ({
  type: "account",
  id: name,
  name,
  requestId: "req_x",
  ip: null,
  opId: "op_x",
  at: when,
});

describe("the audit log as a list", () => {
  it("is found by actor, action, beginning of an action, target, outcome and time, page by page", async ({
    expect,
  }) => {
    const { id, token } = await seedWorkspace();
    await fillLog(id, 300, start);
    const all = await db.select().from(auditLog).where(eq(auditLog.workspaceId, id)).orderBy(auditLog.seq).all();
    const read = async (query: string): Promise<number[]> => {
      const seqs: number[] = [];
      for (let cursor: string | null = ""; cursor !== null;) {
        const { status, body } = await call("GET", path(id, `?limit=70&${query}${cursor}`), { token });
        expect(status).toBe(200);
        seqs.push(...body.data.map(({ seq }: { seq: number }) => seq));
        cursor = body.next_cursor === null ? null : `&cursor=${body.next_cursor}`;
      }
      return seqs;
    };
    const expected = (test: (row: (typeof all)[number]) => boolean) =>
      all
        .filter(test)
        .map(({ seq }) => seq)
        .toReversed();
    const iso = (seconds: number) => new Date(start + seconds * 1000).toISOString();
    for (const [query, test] of [
      ["actor=usr_3", (row) => row.actorId === "usr_3"],
      ["action=key.created", (row) => row.action === "key.created"],
      ["action=key.*", (row) => row.action.startsWith("key.")],
      ["action=ke*", (row) => row.action.startsWith("ke")],
      ["target=thing_5", (row) => row.targets.includes('"thing_5"')],
      ["target=thing_5&actor=usr_2", (row) => row.targets.includes('"thing_5"') && row.actorId === "usr_2"],
      [`from=${iso(20)}&to=${iso(30)}`, (row) => row.time >= start + 20_000 && row.time < start + 30_000],
      ["outcome=failure", () => false],
    ] as const satisfies readonly (readonly [string, (row: (typeof all)[number]) => boolean])[]) {
      expect([query, await read(query)]).toEqual([query, expected(test)]);
    }
    expect((await read("outcome=success&actor=usr_1")).length).toBeGreaterThan(40);
    for (const query of ["action=*", "action=a b", "from=yesterday", "outcome=fine", "limit=201", "cursor=x"]) {
      expect([query, (await call("GET", path(id, `?${query}`), { token })).status]).toEqual([query, 422]);
    }
    // All these looks left one row.
    const isRead = and(eq(auditLog.workspaceId, id), eq(auditLog.action, "audit_log.read"));
    expect(await db.$count(auditLog, isRead)).toBe(1);
    const neighbour = await seedWorkspace();
    expect((await call("GET", path(id), { token: neighbour.token })).status).toBe(404);
  });

  it("asks the record by an index, whatever the filter", async ({ expect }) => {
    const { id } = await seedWorkspace();
    const { binding, seen } = watchRecord();
    const watched = openDatabase(binding);
    const filters = [
      {},
      { actor: "a" },
      { action: "b.c" },
      { action: "b.*" },
      { target: "t" },
      { outcome: "denied" },
      { from: new Date(0).toISOString(), to: new Date().toISOString() },
      { actor: "a", action: "b.*", target: "t" },
    ] as const;
    for (const filter of filters) {
      await listNewest(watched, id, filter, 10, 50);
    }
    const plans = await Promise.all(seen.map(planOf));
    expect(plans.flatMap(wholeScans)).toEqual([]);
    const used = (at: number) => (plans[at] ?? []).join(" ");
    expect([used(1), used(2), used(5)].map((plan) => /audit_by_\w+/.exec(plan)?.[0])).toEqual([
      "audit_by_actor",
      "audit_by_action",
      "audit_by_outcome",
    ]);
    expect(used(4)).toContain("audit_targets");
  });
});

describe("refused attempts", () => {
  it("at /mcp are told of too; those at /v1 stand in the request log, each of them", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const body = { name: "reader", scopes: ["workspace:read"] };
    const { body: key } = await call("POST", `/workspaces/${workspace.id}/api-keys`, { token: workspace.token, body });
    const list = { jsonrpc: "2.0", id: 1, method: "tools/list" };
    for (let round = 0; round < 2; round += 1) {
      expect((await call("POST", "/mcp", { token: key.secret, body: list })).status).toBe(403);
      const asked = { model: "chat", messages: [{ role: "user", content: "Hello" }] };
      expect((await call("POST", "/v1/chat/completions", { token: key.secret, body: asked })).status).toBe(403);
    }
    await expect.poll(() => db.$count(auditLog, isDenied(workspace.id))).toBe(1);
    const [row] = await db.select().from(auditLog).where(isDenied(workspace.id)).all();
    expect([row?.actorId, row?.targets]).toEqual([key.id, '[{"type":"operation","id":"POST /mcp"}]']);
    const requests = async () =>
      (await call("GET", `/workspaces/${workspace.id}/requests?key=${key.id}`, workspace)).body.data;
    await expect.poll(async () => (await requests())?.length).toBe(2);
    expect((await requests())[0]).toMatchObject({ key_id: key.id, code: "scope_missing", status: 403 });
  });

  it("of a member and of a key are told of, once a minute for each operation; of who is nobody here, never", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id } = workspace;
    const member = await seedMember(id, "MEMBER");
    const key = await seedKey(workspace);
    const stranger = await seedAccount();
    const knock = async (token: string | undefined, status: number) => {
      const body = { name: "Mine" };
      const options = token === undefined ? { body } : { token, body };
      expect((await call("PATCH", `/workspaces/${id}`, options)).status).toBe(status);
    };
    for (let round = 0; round < 3; round += 1) {
      await knock(member.token, 403);
      await knock(key.secret, 403);
      await knock(stranger.token, 404);
      await knock(undefined, 401);
    }
    await call("GET", path(id), { token: member.token });
    await expect.poll(() => db.$count(auditLog, isDenied(id))).toBe(3);
    const rows = await db.select().from(auditLog).where(isDenied(id)).orderBy(auditLog.seq).all();
    expect(rows.map((row) => [row.actorType, row.actorId, row.outcome, row.targets, row.after])).toEqual([
      ["account", member.id, "denied", '[{"type":"operation","id":"PATCH /workspaces/{ws}"}]', '{"code":"forbidden"}'],
      ["key", key.id, "denied", '[{"type":"operation","id":"PATCH /workspaces/{ws}"}]', '{"code":"forbidden"}'],
      [
        "account",
        member.id,
        "denied",
        '[{"type":"operation","id":"GET /workspaces/{ws}/audit-log"}]',
        '{"code":"forbidden"}',
      ],
    ]);
    expect(rows.every(({ requestId }) => requestId.startsWith("req_"))).toBe(true);
    const { body } = await call("GET", path(id, "?outcome=denied"), { token: workspace.token });
    expect(body.data.length).toBe(3);
  });

  it("never fill a log: at most 100 an hour for a workspace, and the throttle's own rows go", async ({ expect }) => {
    const { id } = await seedWorkspace();
    const at = Date.now();
    for (let caller = 0; caller < 110; caller += 1) {
      await noteDenied(db, actor(`usr_${caller}`, at), { workspaceId: id, operation: "GET /x", code: "forbidden" });
    }
    expect(await db.$count(auditLog, isDenied(id))).toBe(100);
    const later = at + 3_600_000;
    await noteDenied(db, actor("usr_1", later), { workspaceId: id, operation: "GET /x", code: "forbidden" });
    await noteDenied(db, actor("usr_1", later + 59_000), { workspaceId: id, operation: "GET /x", code: "forbidden" });
    expect(await db.$count(auditLog, isDenied(id))).toBe(101);
    await noteDenied(db, actor("usr_1", later + 61_000), { workspaceId: id, operation: "GET /x", code: "forbidden" });
    expect(await db.$count(auditLog, isDenied(id))).toBe(102);
    await sweepThrottles(db, later + 3 * 3_600_000);
    expect(await db.$count(auditThrottle, eq(auditThrottle.workspaceId, id))).toBe(0);
  });

  it("an answer does not wait for its row: with the record out of reach for it, the refusal stands", async ({
    expect,
  }) => {
    const { id } = await seedWorkspace();
    const member = await seedMember(id, "MEMBER");
    const broken = { ...env, DB: failing(env.DB, "audit_throttle") };
    const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };
    const request = new Request(`http://127.0.0.1:8787/workspaces/${id}`, {
      method: "PATCH",
      headers: { authorization: `Bearer ${member.token}`, "content-type": "application/json" },
      body: "{}",
    });
    const answer = await send(request, { env: broken, context: context as unknown as ExecutionContext });
    expect(answer.status).toBe(403);
  });
});

/** A record that refuses every statement that names a word. */
function failing(record: D1Database, word: string): D1Database {
  return new Proxy(record, {
    get(target, name) {
      if (name === "prepare") {
        return (text: string) => {
          if (text.includes(word)) {
            throw new Error("down");
          }
          return target.prepare(text);
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
