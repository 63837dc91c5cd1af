/** Budgets as a customer meets them: through the gateway, against the real Router, with kills, departures and letters. */
import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { and, eq, ne } from "drizzle-orm";
import { describe, it, vi } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { sha256Hex } from "../../src/base/bytes.js";
import { writeBudgetLetter } from "../../src/keys/budget-letters.js";
import { noteBudget } from "../../src/keys/budget-notices.js";
import { budgetNotices } from "../../src/keys/model.js";
import { outbox } from "../../src/mail/model.js";
import { members } from "../../src/tenancy/model.js";
import type { Estimate, Outcome, Ticket } from "../../src/routing/model.js";
import { routerFor } from "../../src/routing/router-for.js";
import { call, type Answer } from "../support/client.js";
import { deep } from "../support/deep.js";
import { db, seedKey, seedMember, seedPool, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { address, makeInstance, makeKey, makeOutcome, makePool, makeRequest, makeRows, ticketOf } from "./fixture.js";

/** A token costs a micro-dollar, so a call holds 100 of them. */
const prices = { input: 1_000_000, output: 1_000_000 };
const estimate: Estimate = { input_tokens: 10, output_tokens: 90, choices: 1 };
const pool = makePool("chat", [makeInstance("a", 1, { prices }), makeInstance("b", 1, { prices })]);

type Stub = ReturnType<typeof routerFor>;

let workspaces = 0;

async function makeRouter(budget: number, ofWorkspace: number | null = null): Promise<() => Stub> {
  workspaces += 1;
  const name = `ws-budget-${workspaces}`;
  const router = (): Stub => routerFor(env, name, "auto");
  const limits = { rpm: null, tpm: null, concurrent: null, budget: { day: null, month: ofWorkspace } };
  const keys = [makeKey("k", { budget: { day: null, month: budget } }), makeKey("other")];
  await router().apply(address(1), makeRows([pool], keys, { workspace_id: name, limits }));
  return router;
}

async function askMany(router: Stub, count: number): Promise<readonly Ticket[]> {
  const ask = async (index: number) =>
    await router.admit(makeRequest({ key_digest: index % 2 === 0 ? "digest-k" : "digest-other", estimate }));
  const answers = await Promise.all(Array.from({ length: count }, (_, index) => ask(index)));
  return answers.filter((answer) => answer.kind === "ticket");
}

function ended(ticket: Ticket, index: number): Outcome {
  if (index % 3 === 0) {
    return { ...makeOutcome(ticket, "departed"), first_byte_ms: null };
  }
  return { ...makeOutcome(ticket), usage: { prompt_tokens: 10, completion_tokens: index % 3 === 1 ? 90 : 40 } };
}

function costOfEnd(index: number): number {
  return [10, 100, 50][index % 3] ?? 0;
}

async function spentBy(router: Stub, scope: string): Promise<{ readonly spent: number; readonly held: number }> {
  return await runInDurableObject(router, (_, { storage }) => {
    const rows = storage.sql.exec<{ spent: number }>(
      "SELECT spent FROM spends WHERE scope = ? AND span = 'month'",
      scope,
    );
    const bodies = storage.sql.exec<{ body: string }>("SELECT body FROM requests").toArray();
    const held = bodies.reduce((sum, { body }) => sum + (JSON.parse(body).tickets.at(-1).hold?.cost ?? 0), 0);
    return { spent: rows.toArray()[0]?.spent ?? 0, held };
  });
}

async function flushed(): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, 1_150);
  });
}

describe.concurrent("200 calls at once on a budget for ten", () => {
  it("are admitted for ten, and what they leave of it admits more, never beyond the budget", async ({ expect }) => {
    const router = await makeRouter(1_000_000, 1_000);
    let spent = 0;
    let rounds = 0;
    for (let admitted = 1; admitted > 0; rounds += 1) {
      const tickets = await askMany(router(), 200);
      admitted = tickets.length;
      expect(spent + 100 * admitted).toBeLessThanOrEqual(1_000);
      expect(rounds > 0 || admitted === 10).toBe(true);
      await router().settle(tickets.map(ended));
      await router().settle(tickets.map(ended));
      spent += tickets.reduce((sum, _, index) => sum + costOfEnd(index), 0);
    }
    expect(rounds).toBeGreaterThan(2);
    expect(spent).toBeGreaterThan(900);
  });
});

/** One call of the gateway that may use about `tokens`. */
async function chat(key: string, body: object = {}): Promise<Answer> {
  const content = { model: "chat", max_tokens: 100, messages: [{ role: "user", content: "hello" }] };
  return await call("POST", "/v1/chat/completions", { token: key, body: { ...content, ...body } });
}

async function limit(workspace: SeededWorkspace, keyId: string, limits: object): Promise<void> {
  const path = `/workspaces/${workspace.id}/api-keys/${keyId}`;
  const { status } = await call("PATCH", path, { token: workspace.token, body: { limits } });
  if (status !== 200) {
    throw new Error(`limits were refused: ${status}`);
  }
}

describe.concurrent("limits through the gateway", () => {
  it("tell a key's tokens in headers, and refuse what does not fit with a true time and a sentence", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    await seedPool(workspace, [{ alias: "only", secret: "sk-sandbox-ok", weight: 1 }]);
    const key = await seedKey(workspace, "limited");
    await limit(workspace, key.id, { tpm: 400 });
    const first = await chat(key.secret);
    expect(first.status).toBe(200);
    expect(first.headers.get("x-ratelimit-limit-tokens")).toBe("400");
    expect(Number(first.headers.get("x-ratelimit-remaining-tokens"))).toBeLessThan(300);
    expect(first.headers.get("x-ratelimit-limit-requests")).toBeNull();
    const huge = await chat(key.secret, { max_tokens: 4_000 });
    expect([huge.status, huge.body.error.code]).toEqual([429, "rate_limit_exceeded"]);
    expect([huge.headers.get("retry-after"), huge.headers.get("x-should-retry")]).toEqual([null, "false"]);
    expect(huge.body.error.message).toMatch(/may use 4,0\d\d tokens/);
    const wide = await chat(key.secret, { max_tokens: 360 });
    expect([wide.status, wide.headers.get("x-should-retry")]).toEqual([429, null]);
    const seconds = Number(wide.headers.get("retry-after"));
    expect(seconds > 50 && seconds <= 60).toBe(true);
    expect((await chat(key.secret)).status).toBe(200);
  });

  it("refuse by a budget until the day turns, and serve again as soon as it is raised", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await seedPool(workspace, [{ alias: "only", secret: "sk-sandbox-ok", weight: 1 }]);
    const key = await seedKey(workspace, "limited");
    await limit(workspace, key.id, { budget_usd: { day: 0.000_5 } });
    const statuses: number[] = [];
    let last = await chat(key.secret);
    for (; last.status === 200 && statuses.length < 100; last = await chat(key.secret)) {
      statuses.push(last.status);
    }
    expect(statuses.length).toBeGreaterThan(0);
    expect([last.status, last.body.error.code]).toEqual([429, "insufficient_quota"]);
    expect(last.body.error.message).toContain("$0.0005 of this day");
    await limit(workspace, key.id, { budget_usd: { day: 1 } });
    expect((await chat(key.secret)).status).toBe(200);
    await call("PATCH", `/workspaces/${workspace.id}`, {
      token: workspace.token,
      body: { settings: { limits: { budget_usd: { month: 0.000_001 } } } },
    });
    const shared = await chat(key.secret);
    expect([shared.status, shared.body.error.message]).toEqual([429, expect.stringContaining("The workspace")]);
  });
});

describe.concurrent("the letters about a budget", () => {
  it("go once to the owner, the admins and the key's maker for each threshold, and stand in the audit log", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    await seedPool(workspace, [{ alias: "only", secret: "sk-sandbox-ok", weight: 1 }]);
    const key = await seedKey(workspace, "limited");
    await seedMember(workspace.id, "ADMIN");
    await seedMember(workspace.id, "MEMBER");
    await limit(workspace, key.id, { budget_usd: { day: 0.001 } });
    const router = (): Stub => routerFor(env, workspace.id, "auto");
    const digest = await sha256Hex(key.secret);
    const spend = async (completion: number): Promise<void> => {
      const ticket = ticketOf(
        await router().admit(makeRequest({ key_digest: digest, estimate: { ...estimate, output_tokens: 1 } })),
      );
      const usage = { prompt_tokens: 0, completion_tokens: completion };
      await router().settle([{ ...makeOutcome(ticket), usage }]);
    };
    const letters = async () =>
      await db
        .select()
        .from(outbox)
        .where(and(eq(outbox.workspaceId, workspace.id), eq(outbox.kind, "budget")))
        .orderBy(outbox.version)
        .all();
    // Sandbox output costs four micro-dollars a token.
    await spend(205);
    await spend(1);
    await vi.waitFor(async () => expect((await letters()).length).toBe(2), { timeout: 10_000, interval: 50 });
    await spend(45);
    await vi.waitFor(async () => expect((await letters()).length).toBe(4), { timeout: 10_000, interval: 50 });
    expect((await letters()).map(({ version }) => version)).toEqual([80, 80, 100, 100]);
    const rows = await db
      .select()
      .from(auditLog)
      .where(eq(auditLog.workspaceId, workspace.id))
      .orderBy(auditLog.seq)
      .all();
    const told = rows.filter(({ action }) => action.startsWith("budget."));
    expect(told.map(({ action, targets }) => [action, targets.includes(key.id)])).toEqual([
      ["budget.warned", true],
      ["budget.exhausted", true],
    ]);
    expect(JSON.parse(told[0]?.after ?? "")).toMatchObject({
      span: "day",
      threshold: 80,
      spent_usd: 0.000_82,
      budget_usd: 0.001,
    });
    const [notice] = await db.select().from(budgetNotices).where(eq(budgetNotices.workspaceId, workspace.id)).all();
    if (notice === undefined) {
      throw new Error("no notice");
    }
    const news = {
      scope: notice.scope,
      span: notice.span,
      start: notice.spanStart,
      threshold: 80,
      spent: 1,
      budget: 1,
    };
    await noteBudget(db, workspace.id, news, Date.now());
    expect(await letters()).toHaveLength(4);
    const [first] = await letters();
    const written = await writeBudgetLetter(env, db, {
      ...first,
      subjectId: first?.subjectId ?? "",
      version: 80,
      workspaceId: workspace.id,
      recipient: first?.recipient ?? "",
    });
    expect(written?.isCurrent).toBe(true);
    expect(written?.letter.text).toContain("has spent $0.00082, 80% or more of its budget of $0.001 for this day");
    const isAdmin = and(eq(members.workspaceId, workspace.id), eq(members.role, "ADMIN"));
    const recipients = (await letters()).slice(0, 2).map(({ recipient }) => recipient);
    expect(recipients).toContain(workspace.owner.email);
    await db
      .update(members)
      .set({ removedAt: 1 })
      .where(and(isAdmin, ne(members.userId, workspace.owner.id)))
      .run();
    const isCurrent = async (recipient: string) =>
      (await writeBudgetLetter(env, db, { subjectId: notice.id, version: 80, workspaceId: workspace.id, recipient }))
        ?.isCurrent;
    expect(await isCurrent(workspace.owner.email)).toBe(true);
    expect(await isCurrent(recipients.find((email) => email !== workspace.owner.email) ?? "")).toBe(false);
  });
});

// It ends the objects of every test, so nothing else may run.
describe("200 calls at once on a budget for ten, and the Router's end", () => {
  it.for((["kill", "eviction"] as const).slice(0, deep(1, 2)))(
    "pass it by nothing that was on disk when the Router ends by %s",
    async (how, { expect }) => {
      const router = await makeRouter(1_000);
      const stub = router();
      const ask = async () => await stub.admit(makeRequest({ estimate }));
      const first = (await Promise.all(Array.from({ length: 200 }, ask))).filter((answer) => answer.kind === "ticket");
      expect(first).toHaveLength(10);
      await router().settle(first.slice(0, 4).map(ended));
      await flushed();
      await (how === "kill" ? abortAllDurableObjects() : evictDurableObject(router()));
      // Told again by a gateway that never got the answer: what the disk has is charged once.
      await router().settle(first.slice(0, 4).map(ended));
      // Four of them have cost 10, 100, 50 and 10; six hold 600 still.
      const again = await Promise.all(Array.from({ length: 50 }, () => router().admit(makeRequest({ estimate }))));
      const second = again.filter((answer) => answer.kind === "ticket");
      expect(second).toHaveLength(2);
      await router().settle([...first.slice(4), ...second].map((ticket) => ended(ticket, 1)));
      await flushed();
      expect(await spentBy(router(), "k")).toEqual({ spent: 170 + 800, held: 0 });
    },
  );

  it("pass it by no more than the last second when the Router is killed before it wrote", async ({ expect }) => {
    const router = await makeRouter(1_000, 1_500);
    const stub = router();
    const ask = async () => ticketOf(await stub.admit(makeRequest({ estimate })));
    const lost = await Promise.all(Array.from({ length: 10 }, ask));
    await abortAllDurableObjects();
    // It has its limits back from disk, and nothing of what it had admitted.
    expect(await askMany(router(), 40)).toHaveLength(15);
    // The tickets carry all that settling needs: what the Router forgot is charged all the same.
    await router().settle(lost.map((ticket) => ended(ticket, 1)));
    const refused = await router().admit(makeRequest({ estimate }));
    expect(refused).toMatchObject({ kind: "refused", code: "budget_exhausted" });
    await flushed();
    expect((await spentBy(router(), "k")).spent).toBe(1_000);
  });
});
