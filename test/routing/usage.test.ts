import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, it, vi, type ExpectStatic } from "vitest";
import { openDatabase } from "../../src/base/database.js";
import type { LogEntry } from "../../src/routing/request-log-entry.js";
import { queryLog, writeLog } from "../../src/routing/request-log-pages.js";
import { routerFor } from "../../src/routing/router-for.js";
import { tellBooks } from "../../src/routing/usage-books.js";
import { readUntold, writeDeltas } from "../../src/routing/usage-sums.js";
import { call, type Answer } from "../support/client.js";
import { sweepUsage } from "../../src/usage/sweep.js";
import { everyFault, faultyD1 } from "../support/faulty-d1.js";
import { seedKey, seedMember, seedPool, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { addApi } from "../tools/seed.js";
import {
  address,
  makeDelta,
  makeFailure,
  makeInstance,
  makeOutcome,
  makePool,
  makeRequest,
  makeRows,
  pageOf,
  ticketOf,
} from "./fixture.js";

/** A part of an answer. */
type Told = Answer["body"];

const secretWord = "prompt-canary-91f2";

function routerOf(workspaceId: string): ReturnType<typeof routerFor> {
  return routerFor(env, workspaceId, "auto");
}

/** One chat call; answers its request id. Settling goes on after the answer, so its entry is waited for. */
async function chat(workspace: SeededWorkspace, key: string, more: Record<string, unknown> = {}): Promise<string> {
  const body = { model: "chat", messages: [{ role: "user", content: secretWord }], ...more };
  const answer = await call("POST", "/v1/chat/completions", { token: key, body });
  const id = answer.headers.get("x-request-id") ?? "";
  for (let tries = 0; tries < 200; tries += 1) {
    if ((await routerOf(workspace.id).request(id)) !== null) {
      return id;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`the log never told of ${id}: ${answer.status} ${answer.text}`);
}

/** What the log tells of an answer, when it does. */
async function loggedOf(workspace: SeededWorkspace, { headers }: Answer): Promise<LogEntry | null> {
  for (let tries = 0; tries < 200; tries += 1) {
    const entry = await routerOf(workspace.id).request(headers.get("x-request-id") ?? "");
    if (entry !== null) {
      return entry;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return null;
}

function get(workspace: SeededWorkspace, path: string, token = workspace.token): ReturnType<typeof call> {
  return call("GET", `/workspaces/${workspace.id}${path}`, { token });
}

const threeInstances = [
  { alias: "limited", secret: "sk-sandbox-429", weight: 50 },
  { alias: "broken", secret: "sk-sandbox-500", weight: 10 },
  { alias: "good", secret: "sk-sandbox-ok", weight: 1 },
];

describe("a customer's requests and usage", () => {
  it("are told with their trace, tokens and sums, to admins of this workspace alone, and hold no text of prompts", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const key = await seedPool(workspace, threeInstances);
    const id = await chat(workspace, key);
    const refused = await chat(workspace, key, { model: "nowhere" });
    const second = await chat(workspace, key);

    const one = await get(workspace, `/requests/${id}`);
    expect(one.status).toBe(200);
    expect(one.body).toMatchObject({ id, kind: "model", model: "chat", result: "ok", status: 200, stream: false });
    expect(one.body.instance.alias).toBe("good");
    const attempts = one.body.attempts.map((attempt: Told) => [attempt.instance.alias, attempt.failure?.class ?? null]);
    expect(attempts).toEqual([
      ["limited", "rate_limit"],
      ["broken", "transient"],
      ["good", null],
    ]);
    expect(one.body.picks.at(-1).pools[0].excluded.map(({ alias, reason }: Told) => [alias, reason])).toEqual([
      ["limited", "tried"],
      ["broken", "tried"],
    ]);
    expect(one.body.duration_ms).toBeGreaterThanOrEqual(one.body.first_byte_ms);
    expect(one.body.usage.prompt_tokens).toBeGreaterThan(0);
    const later = await get(workspace, `/requests/${second}`);
    // One request cools one instance: the broken one was only noted.
    expect(later.body.picks[0].pools[0].excluded.map(({ alias, reason }: Told) => [alias, reason])).toEqual([
      ["limited", "rate_limit"],
    ]);

    const list = await get(workspace, "/requests");
    expect(list.body.data.map((line: Told) => line.id)).toEqual([second, refused, id]);
    expect(list.body.data[1]).toMatchObject({ result: "refused", status: 404, code: "model_not_found", attempts: 0 });
    const page = await get(workspace, "/requests?limit=1");
    expect(page.body.data.map((line: Told) => line.id)).toEqual([second]);
    const rest = await get(workspace, `/requests?limit=2&cursor=${page.body.next_cursor}`);
    expect([rest.body.data.map((line: Told) => line.id), rest.body.next_cursor]).toEqual([[refused, id], null]);
    const filtered = async (query: string) => (await get(workspace, `/requests?${query}`)).body.data.length;
    expect(await filtered("result=refused")).toBe(1);
    expect(await filtered(`key_id=${one.body.key_id}&status=200`)).toBe(2);
    expect(await filtered(`instance_id=${one.body.attempts[0].instance.id}`)).toBe(1);
    expect(await filtered("key_id=key_other")).toBe(0);
    expect(await filtered("to=2020-01-01T00:00:00Z")).toBe(0);
    expect((await get(workspace, "/requests/req_none")).status).toBe(404);
    expect((await get(workspace, "/requests?cursor=nonsense")).status).toBe(422);

    const usage = await get(workspace, "/usage?group_by=key,model");
    expect(usage.body.complete).toBe(true);
    expect(Date.parse(usage.body.as_of)).toBeGreaterThan(Date.now() - 60_000);
    const tokens = one.body.usage.prompt_tokens + later.body.usage.prompt_tokens;
    expect(usage.body.totals).toMatchObject({
      requests: 2,
      refusals: 1,
      failed_attempts: 3,
      prompt_tokens: tokens,
      errors: 0,
    });
    const cost = one.body.cost_usd + later.body.cost_usd;
    expect(usage.body.totals.cost_usd).toBeCloseTo(cost, 9);
    expect(usage.body.data.map(({ key_name, model, requests }: Told) => [key_name, model, requests])).toEqual([
      ["caller", null, 0],
      ["caller", "sandbox-chat", 2],
    ]);
    const byInstance = await get(workspace, "/usage?group_by=instance&interval=hour");
    expect(byInstance.body.data.length).toBe(4);

    await expectHidden(expect, workspace, id);
    const stored = await env.DB.prepare("SELECT * FROM usage_hours").all();
    const disk = await runInDurableObject(routerOf(workspace.id), (_, { storage }) =>
      ["log_calls", "log_refusals", "usage_hours"].map((table) => storage.sql.exec(`SELECT * FROM ${table}`).toArray()),
    );
    expect(JSON.stringify(disk)).toContain(id);
    expect(JSON.stringify([disk, stored.results])).not.toContain(secretWord);
  });

  it("count a member's own keys and tools alone for that member, page by page as in one", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const ownerKey = await seedPool(workspace, [{ alias: "good", secret: "sk-sandbox-ok", weight: 1 }]);
    const member = await seedMember(workspace.id, "MEMBER");
    const made = await call("POST", `/workspaces/${workspace.id}/api-keys`, {
      token: member.token,
      body: { name: "mine", scopes: ["models:invoke", "tools:invoke"] },
    });
    await addApi(workspace, "fake", { operations: ["echo"] });
    const invoke = (token: string) =>
      call("POST", `/workspaces/${workspace.id}/tools/fake/echo/invoke`, {
        token,
        body: { input: { q: "hello" } },
      });
    const invoked = [await invoke(member.token), await invoke(made.body.secret)];
    expect(invoked.map(({ status }) => status)).toEqual([200, 200]);
    const ids = invoked.map(({ headers }) => headers.get("x-request-id"));
    expect((await invoke(ownerKey)).status).toBe(403);
    const bound = await call("POST", `/workspaces/${workspace.id}/api-keys`, {
      token: workspace.token,
      body: { name: "bound", scopes: ["tools:invoke"], limits: { tools: ["other/*"] } },
    });
    const notAllowed = await invoke(bound.body.secret);
    expect(notAllowed.status).toBe(403);
    const amiss = await call("POST", `/workspaces/${workspace.id}/tools/fake/echo/invoke`, {
      token: made.body.secret,
      body: { input: { q: 5 } },
    });
    expect(amiss.status).toBe(422);
    await chat(workspace, ownerKey);
    await chat(workspace, made.body.secret);
    for (const id of ids) {
      for (let tries = 0; tries < 200 && (await routerOf(workspace.id).request(id ?? "")) === null; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    for (const [answer, code] of [
      [notAllowed, "tool_not_allowed"],
      [amiss, "validation_failed"],
    ] as const) {
      const entry = await loggedOf(workspace, answer);
      expect(entry).toMatchObject({ kind: "tool", result: "refused", status: answer.status, code, model: "fake/echo" });
    }
    const all = (await get(workspace, "/usage?group_by=member,endpoint")).body;
    expect(all.totals).toMatchObject({ requests: 4, refusals: 2 });
    expect(all.data.filter((row: Told) => row.member_id === member.memberId)).toMatchObject([
      { endpoint: "chat/completions", requests: 1 },
      { endpoint: "tool", requests: 2, refusals: 1 },
    ]);
    const own = (await get(workspace, "/usage?group_by=member,endpoint", member.token)).body;
    expect(own.totals.requests).toBe(3);
    expect(own.data.every((row: Told) => row.member_id === member.memberId)).toBe(true);
    expect((await get(workspace, `/usage?member=${all.data[0].member_id}`, member.token)).body.totals.requests).toBe(
      all.data[0].member_id === member.memberId ? 3 : 0,
    );
    const pages: unknown[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? "" : `&cursor=${cursor}`;
      const { body } = await get(workspace, `/usage?group_by=member,endpoint&limit=1${query}`);
      pages.push(...body.data);
      cursor = body.next_cursor;
    } while (cursor !== null);
    expect(pages).toEqual(all.data);
    const exported = await get(workspace, "/export");
    expect(exported.text.split("\n").filter((line) => line.startsWith('{"section":"usage"')).length).toBe(6);
  });

  it("refuse a question that cannot be answered, with the field", async ({ expect }) => {
    const workspace = await seedWorkspace();
    for (const [query, pointer] of [
      ["from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "/from"],
      ["from=2020-01-01T00:00:00Z", "/from"],
      ["interval=hour&from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", "/from"],
      ["group_by=colour", "/group_by/0"],
      ["cursor=AAAA", "/cursor"],
      ["from=yesterday", "/from"],
    ] as const) {
      const answer = await get(workspace, `/usage?${query}`);
      expect([query, answer.status, answer.body.errors?.[0]?.pointer]).toEqual([query, 422, pointer]);
    }
    expect((await get(workspace, "/usage")).body).toMatchObject({ data: [], totals: { requests: 0 }, complete: true });
  });
});

async function expectHidden(expect: ExpectStatic, workspace: SeededWorkspace, id: string): Promise<void> {
  const member = await seedMember(workspace.id, "MEMBER");
  const stranger = await seedWorkspace();
  for (const path of ["/requests", `/requests/${id}`]) {
    expect((await get(workspace, path, member.token)).status).toBe(403);
    expect((await get(workspace, path, stranger.token)).status).toBe(404);
    expect((await get(workspace, path, (await seedKey(workspace, `k ${path}`)).secret)).status).toBe(403);
  }
  expect((await get(stranger, `/requests/${id}`)).status).toBe(404);
  expect((await get(stranger, "/requests")).body.data).toEqual([]);
  expect((await get(workspace, "/usage", stranger.token)).status).toBe(404);
  expect((await get(workspace, "/usage", member.token)).body.totals.requests).toBe(0);
}

const hour = 3_600_000;
const thisHour = Math.floor(Date.now() / hour) * hour;

const isClosed = (): boolean => false;

/** What the record has of a workspace. */
async function totalsOf(workspaceId: string): Promise<Record<string, unknown> | null> {
  const query = "SELECT sum(requests) AS requests, sum(cost_micro_usd) AS cost FROM usage_hours WHERE workspace_id = ?";
  return await env.DB.prepare(query).bind(workspaceId).first();
}

const forgetful = (): ReturnType<typeof routerFor> => routerOf("ws-late");
const evicted = (): ReturnType<typeof routerFor> => routerOf("ws-evicted");

describe("telling the record", () => {
  it("ends at the same sums whatever statement fails, whichever answer is lost, and however often it is told", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const teller = { workspaceId: workspace.id, shard: "auto" };
    await runInDurableObject(routerOf(workspace.id), async (_router, { storage }) => {
      const { sql } = storage;
      let expected = 0;
      const addCalls = (): void => {
        const rows = Array.from({ length: 900 }, (_row, at) =>
          makeDelta({ model: `m${at % 450}`, hour: thisHour - hour * (at % 3) }),
        );
        storage.transactionSync(() => writeDeltas(sql, rows));
        expected += 900;
      };
      addCalls();
      const healthy = faultyD1();
      expect(await tellBooks({ sql, db: openDatabase(healthy.d1), teller, isClosed })).toBe(true);
      expect(await totalsOf(workspace.id)).toEqual({ requests: expected, cost: expected * 7 });
      for (const fault of everyFault(healthy.calls)) {
        addCalls();
        const faulty = faultyD1(fault);
        expect(await tellBooks({ sql, db: openDatabase(faulty.d1), teller, isClosed })).toBe(false);
        expect([faulty.hasFailed(), readUntold(sql, 1).length]).toEqual([true, 1]);
        expect(storage.sql.exec("SELECT 1 FROM due WHERE task = 'tell_usage'").toArray().length).toBe(1);
        // More ends before the next try, which then tells it all.
        storage.transactionSync(() => writeDeltas(sql, [makeDelta({ model: "m0" })]));
        expected += 1;
        expect(await tellBooks({ sql, db: openDatabase(env.DB), teller, isClosed })).toBe(true);
        expect(await totalsOf(workspace.id)).toEqual({ requests: expected, cost: expected * 7 });
      }
      await env.DB.prepare("UPDATE usage_hours SET hour = hour - ? WHERE model = 'm1'")
        .bind(402 * 24 * hour)
        .run();
      await sweepUsage(openDatabase(env.DB), Date.now());
      const old = await env.DB.prepare("SELECT count(*) AS n FROM usage_hours WHERE model = 'm1'").first();
      const young = await env.DB.prepare("SELECT count(*) AS n FROM usage_hours WHERE model = 'm2'").first();
      expect([old, young]).toEqual([{ n: 0 }, { n: 1 }]);
      expected = Number((await totalsOf(workspace.id))?.["requests"]);
      // A telling that comes late, with older figures, changes nothing; one that repeats the newest neither.
      const { tellUsage } = await import("../../src/usage/tell.js");
      const row = { ...makeDelta({ model: "m0", requests: 1 }), revision: 1 };
      await tellUsage(openDatabase(env.DB), teller, [row], 5);
      expect(await totalsOf(workspace.id)).toEqual({ requests: expected, cost: expected * 7 });
      await tellUsage(openDatabase(env.DB), { workspaceId: "ws_gone", shard: "auto" }, [row], 5);
      const gone = await env.DB.prepare("SELECT count(*) AS n FROM usage_hours WHERE workspace_id = 'ws_gone'").first();
      expect(gone).toEqual({ n: 0 });
    });
  });

  it("is done by the alarm of an object that nobody calls any more, after a crash too", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const key = await seedPool(workspace, [{ alias: "good", secret: "sk-sandbox-ok", weight: 1 }]);
    await chat(workspace, key);
    await abortAllDurableObjects();
    const router = routerOf(workspace.id);
    await runInDurableObject(router, async (_router, { storage }) => {
      expect(storage.sql.exec("SELECT at FROM due WHERE task = 'tell_usage'").toArray().length).toBe(1);
      storage.sql.exec("UPDATE due SET at = 1 WHERE task = 'tell_usage'");
    });
    expect(await runDurableObjectAlarm(router)).toBe(true);
    const told = env.DB.prepare(
      "SELECT sum(requests) AS n, max(shard) AS shard FROM usage_hours WHERE workspace_id = ?",
    );
    expect(await told.bind(workspace.id).first()).toEqual({ n: 1, shard: "auto" });
    const left = await runInDurableObject(router, (_router, { storage }) =>
      storage.sql.exec("SELECT task FROM due").toArray(),
    );
    expect(left).not.toContainEqual({ task: "tell_usage" });
  });
});

function makeEntry(number: number, at: number, more: Partial<LogEntry> = {}): LogEntry {
  const known = { id: `req-${number}`, kind: "model", at, ended_at: at, key_id: "k", member_id: null } as const;
  const asked = {
    endpoint: "e",
    model: "m",
    pool_id: "p",
    stream: false,
    result: "ok",
    status: 200,
    code: null,
  } as const;
  const told = {
    instance: null,
    attempts: [],
    picks: [],
    usage: null,
    cost_micro_usd: null,
    estimated: false,
  } as const;
  const entry = { ...known, ...asked, ...told, route_ms: null, first_byte_ms: null, duration_ms: null };
  return { ...entry, attempts: [], picks: [], ...more };
}

function inPages(entries: readonly LogEntry[]): ReturnType<typeof pageOf>[] {
  return Array.from({ length: Math.ceil(entries.length / 200) }, (_page, at) =>
    pageOf(entries.slice(200 * at, 200 * (at + 1))),
  );
}

describe("the log on disk", () => {
  it("keeps the last 10,000 calls and 2,000 refusals for seven days, and goes through them in bounded steps", async ({
    expect,
  }) => {
    const day = 24 * hour;
    const now = 100 * day;
    await runInDurableObject(routerOf("ws-log"), (_router, { storage }) => {
      const { sql } = storage;
      const everything = { limit: 50, after: null, from: 0, to: Infinity };
      let written = 0;
      for (let flush = 0; flush < 8; flush += 1) {
        const calls = Array.from({ length: 2_000 }, (_row, at) => makeEntry(written + at, now + flush));
        const refusals = calls
          .slice(0, 400)
          .map((entry) => ({ ...entry, id: `no-${entry.id}`, result: "refused" as const }));
        storage.transactionSync(() =>
          writeLog(sql, { calls: inPages(calls), refusals: inPages(refusals) }, now + flush),
        );
        written += 2_000;
      }
      const bytes = sql.databaseSize;
      const count = (table: string): unknown =>
        sql.exec(`SELECT sum(json_array_length(body)) AS n FROM ${table}`).one()["n"];
      expect([count("log_calls"), count("log_refusals")]).toEqual([10_000, 2_000]);
      expect(bytes).toBeLessThan(16 * 1024 * 1024);
      const page = queryLog(sql, everything, now + 8);
      expect(page.entries.length).toBe(50);
      // A filter that nothing meets looks through a part and says where to go on.
      let steps = 0;
      let after: typeof page.known_to = null;
      do {
        const none = queryLog(sql, { ...everything, after, key_id: "other" }, now + 8);
        expect(none.entries.length).toBe(0);
        after = none.known_to;
        steps += 1;
      } while (after !== null);
      expect(steps).toBeGreaterThan(3);
      expect(steps).toBeLessThan(12);
      expect(queryLog(sql, everything, now + 7 * day + 8).entries.length).toBe(0);
      storage.transactionSync(() =>
        writeLog(sql, { calls: [pageOf([makeEntry(-1, now + 8 * day)])], refusals: [] }, now + 8 * day),
      );
      // What has become old leaves bit by bit: no flush takes away more than it may.
      expect(Number(count("log_calls"))).toBeGreaterThan(1);
      for (let flush = 0; flush < 3; flush += 1) {
        storage.transactionSync(() =>
          writeLog(sql, { calls: [pageOf([makeEntry(-2 - flush, now + 8 * day)])], refusals: [] }, now + 8 * day),
        );
      }
      expect(count("log_calls")).toBe(4);
      sql.exec("DELETE FROM due");
    });
  });

  it("outlives eviction with the trace of a call under way, and counts a settling that comes again once", async ({
    expect,
  }) => {
    await evicted().apply(
      address(1),
      makeRows([makePool("chat", [makeInstance("a", 9), makeInstance("b", 1)])], undefined, {}),
    );
    const request = makeRequest({ endpoint: "embeddings" });
    const first = ticketOf(await evicted().admit(request));
    const second = ticketOf(await evicted().next(first, makeFailure("overloaded", { status: 529 })));
    await evicted().requests({ limit: 1, after: null, from: 0, to: Infinity });
    await evictDurableObject(evicted());
    await evicted().settle([makeOutcome(second)]);
    const entry = await evicted().request(request.request_id);
    expect(entry).toMatchObject({ model: "chat", endpoint: "embeddings", result: "ok" });
    expect(entry?.attempts.map(({ failure }) => failure?.status ?? null)).toEqual([529, null]);
    expect(entry?.picks.map(({ pools }) => pools[0]?.candidates.length)).toEqual([2, 1]);
    await evictDurableObject(evicted());
    await evicted().settle([makeOutcome(second)]);
    expect(await evicted().request(request.request_id)).toEqual(entry);
    const all = await evicted().requests({ limit: 9, after: null, from: 0, to: Infinity });
    expect(all.entries.length).toBe(1);
    const sums = await runInDurableObject(evicted(), (_router, { storage }) => readUntold(storage.sql, 9));
    expect(sums.map(({ failed_attempts, instance_id, requests }) => [instance_id, requests, failed_attempts])).toEqual([
      ["a", 0, 1],
      ["b", 1, 0],
    ]);
  });

  it("corrects a call that was lost and is settled after all, in its place, also when the Router forgot it", async ({
    expect,
  }) => {
    const prices = { input: 1_000_000, output: 1_000_000 };
    const pool = makePool("chat", [makeInstance("a", 1, { prices })], { total_timeout_ms: 1_000 });
    await forgetful().apply(address(1), makeRows([pool]));
    const estimate = { input_tokens: 50, output_tokens: 100, choices: 1 };
    const tickets = [];
    for (const name of ["known", "forgotten"]) {
      const request = makeRequest({ endpoint: "chat/completions", estimate, request_id: `late-${name}` });
      tickets.push(ticketOf(await forgetful().admit(request)));
    }
    vi.useFakeTimers({ now: Date.now() + 62_000, toFake: ["Date"] });
    try {
      await forgetful().settle([]);
      const sums = async (): Promise<unknown> =>
        await runInDurableObject(forgetful(), (_router, { storage }) =>
          storage.sql
            .exec(
              "SELECT sum(requests) AS n, sum(errors) AS e, sum(prompt_tokens) AS p, sum(cost_micro_usd) AS c FROM usage_hours",
            )
            .toArray(),
        );
      const held = tickets.reduce((sum, { hold }) => sum + (hold?.cost ?? 0), 0);
      for (const { request_id: id } of tickets) {
        expect(await forgetful().request(id)).toMatchObject({ result: "lost" });
      }
      expect(await sums()).toEqual([{ n: 2, e: 2, p: 0, c: held }]);
      const usage = { prompt_tokens: 10, completion_tokens: 2 };
      for (const [at, ticket] of tickets.entries()) {
        if (at === 1) {
          await evictDurableObject(forgetful());
        }
        const before = await forgetful().request(ticket.request_id);
        const outcome = { ...makeOutcome(ticket), usage, status: 200 };
        await forgetful().settle([outcome]);
        await forgetful().settle([outcome]);
        const corrected = { result: "ok", status: 200, usage, cost_micro_usd: 12, model: "chat" };
        const entry = await forgetful().request(ticket.request_id);
        expect(entry).toMatchObject({ ...corrected, ended_at: before?.ended_at, picks: before?.picks });
        expect(entry?.attempts.length).toBe(1);
      }
      expect(await sums()).toEqual([{ n: 2, e: 0, p: 20, c: 24 }]);
      const all = await forgetful().requests({ limit: 9, after: null, from: 0, to: Number.MAX_SAFE_INTEGER });
      expect(all.entries.length).toBe(2);
    } finally {
      vi.useRealTimers();
    }
  });
});
