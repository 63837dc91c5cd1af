import { env } from "cloudflare:workers";
import { eq, sql } from "drizzle-orm";
import { describe, it } from "vitest";
import { commit, guardThat, openDatabase } from "../../src/base/database.js";
import { showOutbox } from "../../src/mail/dev-outbox.js";
import type { LetterWriter, LetterWriters } from "../../src/mail/letter.js";
import { letterKinds, outbox, type MailMessage } from "../../src/mail/model.js";
import { enqueueLetters, planLetters, sweepClosedLetters, sweepOutbox } from "../../src/mail/outbox.js";

const db = openDatabase(env.DB);
const minuteMs = 60_000;

/** The environment with a queue that keeps what it is given, or refuses everything. */
function withQueue(isDown = false): { readonly env: Env; readonly bodies: unknown[] } {
  const bodies: unknown[] = [];
  const queue = {
    sendBatch(messages: Iterable<{ readonly body: unknown }>) {
      if (isDown) {
        return Promise.reject(new Error("queue is down"));
      }
      bodies.push(...[...messages].map(({ body }) => body));
      return Promise.resolve();
    },
  };
  return { env: { ...env, MAIL: queue as unknown as Queue }, bodies };
}

async function askFor(subjectId: string, at: number): Promise<MailMessage> {
  const order = { kind: "invite", workspaceId: "ws_1", subjectId, version: 3, recipient: "ada@example.com" } as const;
  const { statement, messages } = planLetters(db, [order], at);
  await commit(db, [statement]);
  const [message] = messages;
  if (message === undefined) {
    throw new Error("no message planned");
  }
  return message;
}

async function rowOf(message: MailMessage) {
  const [row] = await db.select().from(outbox).where(eq(outbox.id, message.id)).all();
  return row;
}

async function clear() {
  await db.delete(outbox).run();
}

describe("the outbox", () => {
  it("owes a letter exactly when its change was committed", async ({ expect }) => {
    await clear();
    const order = {
      kind: "invite",
      workspaceId: null,
      subjectId: "inv_0",
      version: 1,
      recipient: "a@example.com",
    } as const;
    const { statement } = planLetters(db, [order], 5);
    await expect(commit(db, [statement, guardThat(db, sql`0`, "conflict")])).rejects.toMatchObject({
      code: "conflict",
    });
    expect(await db.$count(outbox)).toBe(0);
    await commit(db, [planLetters(db, [order, { ...order, subjectId: "inv_00" }], 5).statement]);
    const rows = await db.select().from(outbox).orderBy(outbox.subjectId).all();
    expect(rows.map(({ id: _id, ...row }) => row)).toEqual(
      ["inv_0", "inv_00"].map((subjectId) => ({
        kind: "invite",
        workspaceId: null,
        subjectId,
        version: 1,
        recipient: "a@example.com",
        state: "queued",
        reason: null,
        attempts: 0,
        createdAt: 5,
        enqueuedAt: null,
        sentAt: null,
      })),
    );
  });

  it("hands the queue kind, id and version, and nothing else", async ({ expect }) => {
    await clear();
    const at = Date.now();
    const message = await askFor("inv_1", at);
    const { env: environment, bodies } = withQueue();
    await enqueueLetters(environment, db, [message], at);
    expect(bodies).toEqual([{ kind: "invite", id: message.id, version: 3 }]);
    expect(await rowOf(message)).toMatchObject({ state: "queued", enqueuedAt: at });
  });

  it("a letter that the queue refused is sent again by the sweep, until it gets there", async ({ expect }) => {
    await clear();
    const at = Date.now();
    const message = await askFor("inv_2", at);
    await enqueueLetters(withQueue(true).env, db, [message], at);
    expect(await rowOf(message)).toMatchObject({ enqueuedAt: null });
    expect(await sweepOutbox(withQueue(true).env, db, at + minuteMs)).toBe(1);
    const { env: environment, bodies } = withQueue();
    expect(await sweepOutbox(environment, db, at + 2 * minuteMs)).toBe(1);
    expect(await sweepOutbox(environment, db, at + 3 * minuteMs)).toBe(0);
    expect(bodies).toEqual([message]);
  });

  it("the sweep takes what got lost in the queue, but no letter that is fresh, waiting for its retry, or done", async ({
    expect,
  }) => {
    await clear();
    const at = Date.now();
    const lost = await askFor("inv_lost", at);
    const waiting = await askFor("inv_waiting", at);
    const sent = await askFor("inv_sent", at);
    const failed = await askFor("inv_failed", at);
    await enqueueLetters(withQueue().env, db, [lost, waiting, sent, failed], at);
    await db
      .update(outbox)
      .set({ enqueuedAt: at + 30 * minuteMs })
      .where(eq(outbox.id, waiting.id))
      .run();
    await db.update(outbox).set({ state: "sent" }).where(eq(outbox.id, sent.id)).run();
    await db.update(outbox).set({ state: "failed" }).where(eq(outbox.id, failed.id)).run();
    const now = at + 11 * minuteMs;
    await askFor("inv_fresh", now - 1000);
    const { env: environment, bodies } = withQueue();
    await sweepOutbox(environment, db, now);
    expect(bodies).toEqual([lost]);
  });

  it("forgets closed letters of nobody's workspace after 2 days, a workspace's after 90, and none that is still owed", async ({
    expect,
  }) => {
    await clear();
    const now = Date.now();
    const dayMs = 24 * 60 * minuteMs;
    for (const workspaceId of [null, "ws_1"]) {
      for (const state of ["queued", "sent", "superseded", "failed"] as const) {
        for (const days of [1.9, 2.1, 89.9, 90.1]) {
          const { statement, messages } = planLetters(
            db,
            [
              {
                kind: "invite",
                workspaceId,
                subjectId: `${workspaceId} ${state} ${days}`,
                version: 1,
                recipient: "a@b.c",
              },
            ],
            now - days * dayMs,
          );
          const id = messages[0]?.id ?? "";
          await commit(db, [statement, db.update(outbox).set({ state }).where(eq(outbox.id, id))]);
        }
      }
    }
    await sweepClosedLetters(db, now);
    const left = (await db.select({ subject: outbox.subjectId }).from(outbox).all()).map(({ subject }) => subject);
    const closed = ["sent", "superseded", "failed"];
    expect(left.toSorted()).toEqual(
      [
        ...["null", "ws_1"].flatMap((owner) => [1.9, 2.1, 89.9, 90.1].map((days) => `${owner} queued ${days}`)),
        ...closed.flatMap((state) => [`null ${state} 1.9`, ...[1.9, 2.1, 89.9].map((days) => `ws_1 ${state} ${days}`)]),
      ].toSorted(),
    );
  });

  it("is searched by an index, not read whole, for what a workspace has and for what is to be forgotten", async ({
    expect,
  }) => {
    const cases = {
      "SELECT * FROM outbox WHERE workspace_id = 'x' AND id > 'x' ORDER BY id":
        "outbox_of_workspace (workspace_id=? AND id>?)",
      "SELECT id FROM outbox WHERE workspace_id IS NULL AND created_at < 1 AND state <> 'queued' ORDER BY created_at":
        "outbox_age (workspace_id=? AND created_at<?)",
      "SELECT id FROM outbox WHERE workspace_id IS NOT NULL AND created_at < 1 AND state <> 'queued' ORDER BY created_at":
        "outbox_newest (created_at<?)",
      "SELECT * FROM idempotency WHERE workspace_id = 'x'": "idempotency_of_workspace (workspace_id=?)",
      "SELECT * FROM invites WHERE workspace_id = 'x' AND id > 'x' ORDER BY id":
        "invites_by_id (workspace_id=? AND id>?)",
      "SELECT * FROM account WHERE providerId = 'x' AND accountId = 'x'":
        "account_of_provider (providerId=? AND accountId=?)",
    };
    for (const [query, index] of Object.entries(cases)) {
      const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${query}`).all<{ detail: string }>();
      const plan = results.map(({ detail }) => detail).join("\n");
      expect(plan).toContain(`USING INDEX ${index}`);
      expect(plan).not.toContain("TEMP B-TREE");
    }
  });
});

const write: LetterWriter = async (_env, _db, { subjectId, recipient }) => {
  const text = `Come in <script>alert(1)</script>\nhttp://127.0.0.1:8787/invites/${subjectId}\nhttps://elsewhere.example.com/"x`;
  const letter = { to: recipient, subject: 'Join "R&D" <now>', text, html: `<p>${subjectId}</p>` };
  return { letter, isCurrent: false };
};
const writers = Object.fromEntries(letterKinds.map((kind) => [kind, write])) as LetterWriters;

async function show(accept: string | null, bindings: object = {}): Promise<Response> {
  const request = new Request("http://127.0.0.1:8787/dev/outbox", accept === null ? {} : { headers: { accept } });
  return await showOutbox(request, { ...env, ...bindings }, db, writers);
}

describe("GET /dev/outbox", () => {
  it("shows sent letters, newest first, written anew from their rows", async ({ expect }) => {
    await clear();
    const messages = [await askFor("inv_a", 1000), await askFor("inv_b", 2000), await askFor("inv_c", 3000)];
    for (const message of messages.slice(0, 2)) {
      await db.update(outbox).set({ state: "sent" }).where(eq(outbox.id, message.id)).run();
    }
    const response = await show(null);
    expect(response.headers.get("content-type")).toBe("application/json");
    const { data } = await response.json<{ data: { html: string; created_at: string; kind: string; to: string }[] }>();
    expect(data.map((letter) => [letter.html, letter.created_at, letter.kind, letter.to])).toEqual([
      ["<p>inv_b</p>", "1970-01-01T00:00:02.000Z", "invite", "ada@example.com"],
      ["<p>inv_a</p>", "1970-01-01T00:00:01.000Z", "invite", "ada@example.com"],
    ]);
  });

  it("answers a browser with a page that runs nothing and links only to ourselves", async ({ expect }) => {
    const response = await show("text/html,application/xhtml+xml,*/*;q=0.8");
    expect(response.headers.get("content-type")).toContain("text/html");
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
    const page = await response.text();
    expect(page).not.toContain("<script");
    expect(page).toContain("Join &quot;R&amp;D&quot; &lt;now&gt;");
    expect([...page.matchAll(/href="([^"]*)"/g)].map(([, link]) => link)).toEqual([
      "http://127.0.0.1:8787/invites/inv_b",
      "http://127.0.0.1:8787/invites/inv_a",
    ]);
  });

  it("gives JSON or a page by what Accept ranks higher", async ({ expect }) => {
    const cases = {
      "*/*": "application/json",
      "application/json, text/html": "application/json",
      "text/html;q=0.5, application/json": "application/json",
      "text/html;q=0": "application/json",
      "text/html, application/json;q=0.9": "text/html; charset=utf-8",
    };
    for (const [accept, type] of Object.entries(cases)) {
      expect([accept, (await show(accept)).headers.get("content-type")]).toEqual([accept, type]);
    }
  });

  it("is not there off a local run, or with another transport", async ({ expect }) => {
    await expect(show(null, { PUBLIC_URL: "https://gatehouse.example.com" })).rejects.toMatchObject({
      code: "not_found",
    });
    await expect(show(null, { MAIL_TRANSPORT: "smtp" })).rejects.toMatchObject({ code: "not_found" });
  });
});
