import { env } from "cloudflare:workers";
import { Webhook as Verifier } from "standardwebhooks";
import { describe, it } from "vitest";
import { OutboundError } from "../../src/base/outbound.js";
import { advanceRotation } from "../../src/rotation/advance.js";
import { sealWorkspace } from "../../src/ledger/seal.js";
import { sweepCheckpoints } from "../../src/webhooks/checkpoints.js";
import { consumeWebhooks, type Send } from "../../src/webhooks/consumer.js";
import { sweepWebhooks } from "../../src/webhooks/deliveries.js";
import { call } from "../support/client.js";
import { db, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

const dayMs = 24 * 3_600_000;

/** A message given by hand, so that each attempt is its own event. */
interface Handed {
  readonly id: string;
  acked: boolean;
  delay: number | null;
}

interface Received {
  readonly id: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

function receiver(answers: readonly (number | OutboundError)[]): {
  readonly send: Send;
  readonly received: Received[];
} {
  const received: Received[] = [];
  return {
    received,
    async send(_env, request) {
      const answer = answers[Math.min(received.length, answers.length - 1)] ?? 200;
      const headers = Object.fromEntries(request.headers);
      received.push({ id: headers["webhook-id"] ?? "", headers, body: await request.text() });
      if (answer instanceof OutboundError) {
        throw answer;
      }
      return answer;
    },
  };
}

async function hand(ids: readonly string[], send: Send, queue = "gatehouse-webhooks"): Promise<Handed[]> {
  const handed: Handed[] = ids.map((id) => ({ id, acked: false, delay: null }));
  const messages = handed.map((one, index) => ({
    id: String(index),
    timestamp: new Date(),
    attempts: 1,
    body: { id: one.id },
    ack() {
      one.acked = true;
    },
    retry(options?: { delaySeconds?: number }) {
      one.delay = options?.delaySeconds ?? 0;
    },
  }));
  await consumeWebhooks({ queue, messages } as unknown as MessageBatch, env, send);
  return handed;
}

async function make(workspace: SeededWorkspace, body: object = {}) {
  return await call("POST", `/workspaces/${workspace.id}/webhooks`, {
    token: workspace.token,
    body: { url: "https://hooks.example.com/in/s3cret-path", events: ["api_key.*"], ...body },
  });
}

/** What a change owes, written as the trigger writes it, without a request whose end would kick the queue. */
async function owe(workspace: SeededWorkspace, action: string, outcome = "success"): Promise<string[]> {
  const id = `aud_${crypto.randomUUID()}`;
  const sql = `INSERT INTO audit_log (id, workspace_id, time, actor_type, actor_id, actor_name, action, targets, after, outcome, request_id, ip, op_id)
    VALUES (?, ?, ?, 'system', 'test', 'Test', ?, '[{"type":"thing","id":"thing_1"}]', '{"name":"n"}', ?, 'req_1', '203.0.113.9', 'op_1')`;
  await env.DB.prepare(sql)
    .bind(id, workspace.id, Date.now() - 1, action, outcome)
    .run();
  const owed = await env.DB.prepare(
    "SELECT d.id FROM webhook_deliveries d JOIN audit_log a ON a.seq = d.audit_seq WHERE a.id = ?",
  )
    .bind(id)
    .all<{ id: string }>();
  return owed.results.map((row) => row.id);
}

async function delivery(id: string) {
  return await env.DB.prepare("SELECT * FROM webhook_deliveries WHERE id = ?").bind(id).first();
}

async function keyOf(webhookId: string): Promise<string | undefined> {
  const query = env.DB.prepare("SELECT data_key_id AS k FROM webhook_secrets WHERE webhook_id = ?");
  return (await query.bind(webhookId).first<{ k: string }>())?.k;
}

async function actionsOf(workspace: SeededWorkspace): Promise<string[]> {
  const answer = await call("GET", `/workspaces/${workspace.id}/audit-log?action=webhook.*`, workspace);
  return answer.body.data.map((row: { action: string }) => row.action);
}

async function makeDue(id: string): Promise<void> {
  await env.DB.prepare("UPDATE webhook_deliveries SET due_at = 0 WHERE id = ?").bind(id).run();
}

describe("webhooks", () => {
  it("shows a secret once, keeps it sealed, and tells the log of an address no more than its origin", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const made = await make(workspace, { description: "ours" });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ status: "active", events: ["api_key.*"], description: "ours" });
    expect(made.body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const path = `/workspaces/${workspace.id}/webhooks/${made.body.id}`;
    const read = await call("GET", path, workspace);
    expect(read.body).toMatchObject({ id: made.body.id, url: "https://hooks.example.com/in/s3cret-path" });
    expect(read.body).not.toHaveProperty("secret");
    const row = await env.DB.prepare("SELECT sealed FROM webhook_secrets WHERE webhook_id = ?")
      .bind(made.body.id)
      .first<{ sealed: string }>();
    expect(row?.sealed).not.toContain(made.body.secret.slice(6));
    const log = await call("GET", `/workspaces/${workspace.id}/audit-log?action=webhook.created`, workspace);
    expect(log.body.data[0]).toMatchObject({
      targets: [{ type: "webhook", id: made.body.id }],
      after: { origin: "https://hooks.example.com" },
    });
    expect(log.text).not.toContain("s3cret-path");
    expect(log.text).not.toContain(made.body.secret);
    const changed = await call("PATCH", path, { token: workspace.token, body: { enabled: false, events: ["*"] } });
    expect(changed.body).toMatchObject({ status: "disabled", disabled_reason: "by_hand", events: ["*"] });
    expect((await call("POST", `${path}/test`, workspace)).body.code).toBe("webhook_disabled");
    const stale = await call("PATCH", path, {
      token: workspace.token,
      body: { description: "x" },
      headers: { "if-match": '"1"' },
    });
    expect(stale.status).toBe(412);
    expect((await call("DELETE", path, workspace)).status).toBe(204);
    expect((await call("GET", path, workspace)).status).toBe(404);
    expect(await actionsOf(workspace)).toEqual(["webhook.deleted", "webhook.updated", "webhook.created"]);
  });

  it.for([
    "http://hooks.example.com/",
    "https://127.0.0.1/",
    "https://10.0.0.1/",
    "https://localhost/",
    "https://user:pass@hooks.example.com/",
    "not an address",
  ])("refuses the address %s", async (url, { expect }) => {
    const answer = await make(await seedWorkspace(), { url });
    expect(answer.status).toBe(422);
    expect(answer.body.errors[0].pointer).toBe("/url");
  });

  it("refuses events that nobody tells, and a key that may not read the audit log", async ({ expect }) => {
    const workspace = await seedWorkspace();
    for (const events of [[], ["audit_log.*"], ["member"], ["mem*"], ["member.*.x"], ["request.denied"]]) {
      expect((await make(workspace, { events })).status).toBe(422);
    }
    const key = async (scopes: string[]) => {
      const body = { name: scopes.join(" "), scopes };
      return (await call("POST", `/workspaces/${workspace.id}/api-keys`, { token: workspace.token, body })).body.secret;
    };
    const alone = { ...workspace, token: await key(["workspace:manage"]) };
    const refused = await make(alone);
    expect([refused.status, refused.body.detail]).toEqual([403, expect.stringContaining("audit:read")]);
    expect((await make({ ...workspace, token: await key(["workspace:manage", "audit:read"]) })).status).toBe(201);
  });

  it("owes what its events name, in the change's own transaction, and nothing else", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const other = await seedWorkspace();
    await make(workspace, { events: ["member.*", "pool.created"] });
    await make(workspace, { events: ["*"] });
    const count = async (action: string, outcome?: string) => (await owe(workspace, action, outcome)).length;
    expect(await count("member.joined")).toBe(2);
    expect(await count("pool.created")).toBe(2);
    expect(await count("pool.deleted")).toBe(1);
    expect(await count("budget.warned")).toBe(1);
    expect(await count("credential.refused", "failure")).toBe(1);
    expect(await count("member.joined", "denied")).toBe(0);
    for (const action of ["tool.invoked", "audit_log.read", "request.denied", "webhook.tested", "workspace.switched"]) {
      expect([action, await count(action)]).toEqual([action, 0]);
    }
    expect(await owe(other, "member.joined")).toEqual([]);
  });

  it("sends what Standard Webhooks' own library accepts, once, whatever comes twice", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await make(workspace);
    const [id = ""] = await owe(workspace, "api_key.created");
    const { send, received } = receiver([200]);
    const [first, second] = await hand([id, id], send);
    expect([first?.acked, second?.acked]).toEqual([true, true]);
    await hand([id], send);
    expect(received).toHaveLength(1);
    const [message] = received;
    const body = new Verifier(made.body.secret).verify(message?.body ?? "", message?.headers ?? {});
    expect(body).toMatchObject({
      type: "api_key.created",
      data: { workspace_id: workspace.id, id: message?.id, targets: [{ id: "thing_1" }], after: { name: "n" } },
    });
    expect(message?.body).not.toContain("203.0.113.9");
    expect(() => new Verifier(made.body.secret).verify(`${message?.body} `, message?.headers ?? {})).toThrow("match");
    const list = await call("GET", `/workspaces/${workspace.id}/webhooks/${made.body.id}/deliveries`, workspace);
    expect(list.body.data).toMatchObject([
      { id, type: "api_key.created", status: "delivered", attempts: 1, response_status: 200, next_attempt_at: null },
    ]);
  });

  it("signs with both secrets while a rotation overlaps, and with the new one alone afterwards", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await make(workspace);
    const path = `/workspaces/${workspace.id}/webhooks/${made.body.id}`;
    const rotated = await call("POST", `${path}/rotate-secret`, { token: workspace.token, body: {} });
    expect(rotated.status).toBe(200);
    expect(rotated.body.secret).not.toBe(made.body.secret);
    expect(Date.parse(rotated.body.previous_secret_until)).toBeGreaterThan(Date.now());
    const { send, received } = receiver([200]);
    await hand(await owe(workspace, "api_key.created"), send);
    await env.DB.prepare("UPDATE webhook_secrets SET until = 1 WHERE webhook_id = ? AND until IS NOT NULL")
      .bind(made.body.id)
      .run();
    await hand(await owe(workspace, "api_key.created"), send);
    const [both, one] = received;
    for (const secret of [made.body.secret, rotated.body.secret]) {
      expect(new Verifier(secret).verify(both?.body ?? "", both?.headers ?? {})).toBeTruthy();
    }
    expect(() => new Verifier(made.body.secret).verify(one?.body ?? "", one?.headers ?? {})).toThrow("match");
    expect(new Verifier(rotated.body.secret).verify(one?.body ?? "", one?.headers ?? {})).toBeTruthy();
    const at = await call("POST", `${path}/rotate-secret`, { token: workspace.token, body: { overlap_seconds: 0 } });
    expect(at.body.previous_secret_until).toBeNull();
    const left = await env.DB.prepare("SELECT count(*) AS n FROM webhook_secrets WHERE webhook_id = ?")
      .bind(made.body.id)
      .first<{ n: number }>();
    expect(left?.n).toBe(1);
  });

  it("tries again at growing distances for about a day, and then says that it failed", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await make(workspace);
    const [id = ""] = await owe(workspace, "api_key.created");
    const { send, received } = receiver([500, new OutboundError("timeout", "late"), 302, 429]);
    const delays: (number | null)[] = [];
    for (let attempt = 1; attempt <= 8; attempt += 1) {
      const [handed] = await hand([id], send);
      delays.push(handed?.delay ?? null);
      // A second message of the same delivery comes before its time.
      await hand([id], send);
      expect(received).toHaveLength(attempt);
      await makeDue(id);
    }
    const least = [5, 60, 300, 1_800, 7_200, 21_600, 39_600];
    expect(delays.at(-1)).toBeNull();
    for (const [index, delay] of least.entries()) {
      expect(delays[index]).toBeGreaterThanOrEqual(delay);
      expect(delays[index]).toBeLessThanOrEqual(Math.min(43_200, Math.ceil(delay * 1.1)));
    }
    expect(await delivery(id)).toMatchObject({ state: "failed", attempts: 8, status: 429, error: "status" });
    expect(new Set(received.map((message) => message.id)).size).toBe(1);
  });

  it("takes out who answers 410, and who was not reached for five days, and writes to the admins", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    await seedMember(workspace.id, "MEMBER");
    const made = await make(workspace);
    const path = `/workspaces/${workspace.id}/webhooks/${made.body.id}`;
    await hand(await owe(workspace, "api_key.created"), receiver([410]).send);
    expect((await call("GET", path, workspace)).body).toMatchObject({ status: "disabled", disabled_reason: "gone" });
    const letters = await env.DB.prepare(
      "SELECT recipient FROM outbox WHERE kind = 'webhook_disabled' AND subject_id = ?",
    )
      .bind(made.body.id)
      .all<{ recipient: string }>();
    expect(letters.results.map((row) => row.recipient).toSorted()).toEqual(
      [admin.email, workspace.owner.email].toSorted(),
    );
    expect(await owe(workspace, "api_key.created")).toEqual([]);
    const enabled = await call("PATCH", path, { token: workspace.token, body: { enabled: true } });
    expect(enabled.body).toMatchObject({ status: "active", disabled_reason: null, failing_since: null });

    const spend = async (since: number): Promise<string> => {
      const [id = ""] = await owe(workspace, "api_key.created");
      await env.DB.batch([
        env.DB.prepare("UPDATE webhook_deliveries SET attempts = 7 WHERE id = ?").bind(id),
        env.DB.prepare("UPDATE webhooks SET failing_since = ? WHERE id = ?").bind(Date.now() - since, made.body.id),
      ]);
      await hand([id], receiver([500]).send);
      return (await call("GET", path, workspace)).body.disabled_reason;
    };
    expect(await spend(5 * dayMs - 60_000)).toBeNull();
    await hand(await owe(workspace, "api_key.created"), receiver([204]).send);
    expect((await call("GET", path, workspace)).body.failing_since).toBeNull();
    expect(await spend(5 * dayMs)).toBe("failing");
    expect((await actionsOf(workspace)).filter((action) => action === "webhook.disabled")).toHaveLength(2);
  });

  it("sends a delivery once more under the same id, and none of another's", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await make(workspace);
    const twin = await make(workspace);
    const [id = ""] = await owe(workspace, "api_key.created");
    const { send, received } = receiver([200]);
    await hand([id], send);
    const own = await env.DB.prepare("SELECT webhook_id AS w FROM webhook_deliveries WHERE id = ?")
      .bind(id)
      .first<{ w: string }>();
    const foreign = own?.w === made.body.id ? twin.body.id : made.body.id;
    const at = (webhook: string) =>
      call("POST", `/workspaces/${workspace.id}/webhooks/${webhook}/deliveries/${id}/redeliver`, workspace);
    expect((await at(foreign)).status).toBe(404);
    const again = await at(own?.w ?? "");
    expect([again.status, again.body.status, again.body.attempts]).toEqual([202, "queued", 0]);
    await hand([id], send);
    const [first, second] = received;
    expect(second === undefined || second.id === first?.id).toBe(true);
    expect((await actionsOf(workspace))[0]).toBe("webhook.redelivered");
  });

  it("hands over what never reached the queue, and forgets what is old", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await make(workspace);
    const [lost = ""] = await owe(workspace, "api_key.created");
    const [old = ""] = await owe(workspace, "api_key.created");
    const now = Date.now();
    await env.DB.prepare("UPDATE webhook_deliveries SET state = 'delivered', created_at = ? WHERE id = ?")
      .bind(now - 30 * dayMs - 1, old)
      .run();
    const sent: unknown[] = [];
    const queue = {
      sendBatch: async (batch: Iterable<{ body: unknown }>) => void sent.push(...[...batch].map((m) => m.body)),
    };
    const bindings = { ...env, WEBHOOKS: queue } as unknown as Env;
    await sweepWebhooks(bindings, db, now);
    expect(sent).toContainEqual({ id: lost });
    expect(await delivery(old)).toBeNull();
    sent.length = 0;
    await sweepWebhooks(bindings, db, now + 60_000);
    expect(sent).not.toContainEqual({ id: lost });
    await sweepWebhooks(bindings, db, now + 121_000);
    expect(sent).toContainEqual({ id: lost });
    await hand([lost], receiver([200]).send, "gatehouse-webhooks-dead");
    expect(await delivery(lost)).toMatchObject({ state: "failed", error: "internal" });
  });

  it("signs on through a change of data key, and goes out when its secret does not open", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const good = await make(workspace, { events: ["api_key.created"] });
    const bad = await make(workspace, { events: ["pool.created"] });
    await env.DB.prepare("UPDATE webhook_secrets SET id = id || 'x' WHERE webhook_id = ?").bind(bad.body.id).run();
    const before = await keyOf(good.body.id);
    const rotated = await call("POST", `/workspaces/${workspace.id}/vault/rotate`, workspace);
    expect(rotated.status).toBe(202);
    await advanceRotation(env, workspace.id, () => Promise.resolve(), Date.now());
    expect(await keyOf(good.body.id)).not.toBe(before);
    expect(await keyOf(bad.body.id)).toBeUndefined();
    const shown = await call("GET", `/workspaces/${workspace.id}/webhooks/${bad.body.id}`, workspace);
    expect(shown.body).toMatchObject({ status: "disabled", disabled_reason: "undecryptable" });
    const { send, received } = receiver([200]);
    await hand(await owe(workspace, "api_key.created"), send);
    expect(new Verifier(good.body.secret).verify(received[0]?.body ?? "", received[0]?.headers ?? {})).toBeTruthy();
  });

  it("posts the newest checkpoint to who names it, once an hour when the log grew, and to nobody else", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    await make(workspace, { events: ["*"] });
    const made = await make(workspace, { events: ["audit_log.checkpoint"] });
    const now = Date.now();
    await sealWorkspace(env, db, workspace.id, now, 5_000);
    const sent: string[] = [];
    const queue = {
      sendBatch: async (batch: Iterable<{ body: { id: string } }>) =>
        void sent.push(...[...batch].map((m) => m.body.id)),
    };
    const bindings = { ...env, WEBHOOKS: queue } as unknown as Env;
    const owed = async (): Promise<string[]> => {
      const found = await env.DB.prepare(
        "SELECT id FROM webhook_deliveries WHERE workspace_id = ? AND type = 'audit_log.checkpoint' ORDER BY created_at",
      )
        .bind(workspace.id)
        .all<{ id: string }>();
      return found.results.map(({ id }) => id);
    };
    await sweepCheckpoints(bindings, db, now);
    await sweepCheckpoints(bindings, db, now + 60_000);
    const [id = "", ...others] = await owed();
    expect(others).toEqual([]);
    expect(sent).toContain(id);
    const { send, received } = receiver([500, 200]);
    await hand([id], send);
    await makeDue(id);
    await hand([id], send);
    const [first, message] = received;
    expect(message?.body).toBe(first?.body);
    expect(message?.id).toBe(id);
    const { body } = await call("GET", `/workspaces/${workspace.id}/audit-log/checkpoint`, workspace);
    const { size, root, note } = body;
    expect(new Verifier(made.body.secret).verify(message?.body ?? "", message?.headers ?? {})).toMatchObject({
      type: "audit_log.checkpoint",
      data: { workspace_id: workspace.id, size, root, note },
    });
    // Nothing grew but the row that tells of reading the checkpoint, which is sealed later.
    await sweepCheckpoints(bindings, db, now + 2 * 3_600_000);
    expect(await owed()).toHaveLength(1);
    await sealWorkspace(env, db, workspace.id, now + 1, 5_000);
    await sweepCheckpoints(bindings, db, now + 3 * 3_600_000);
    expect(await owed()).toHaveLength(2);
    const list = await call("GET", `/workspaces/${workspace.id}/webhooks/${made.body.id}/deliveries`, workspace);
    expect(list.body.data.map((row: { type: string }) => row.type)).toEqual([
      "audit_log.checkpoint",
      "audit_log.checkpoint",
    ]);
  });

  it("goes the whole way by queue: a test message, and its end in the list", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await make(workspace, { url: "https://status-503.upstream.test/v1/hook", events: ["pool.created"] });
    const path = `/workspaces/${workspace.id}/webhooks/${made.body.id}`;
    const tested = await call("POST", `${path}/test`, workspace);
    expect([tested.status, tested.body.type]).toEqual([202, "webhook.tested"]);
    const last = async () => (await call("GET", `${path}/deliveries`, workspace)).body.data[0];
    await expect.poll(async () => (await last()).response_status).toBe(503);
    expect(await last()).toMatchObject({ id: tested.body.id, status: "queued", error: "status" });
  });
});
