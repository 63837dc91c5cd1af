import { describe, it } from "vitest";
import { env } from "cloudflare:workers";
import { sha256Hex } from "../../src/base/bytes.js";
import type { Failure, Ticket } from "../../src/routing/model.js";
import { routerFor } from "../../src/routing/router-for.js";
import { auditOf, sandboxCredential, sandboxInstance } from "../connections/seed.js";
import { call } from "../support/client.js";
import { seedWorkspace } from "../support/seed.js";

const failure: Failure = { class: "rate_limit", status: 429, code: null, retry_after_ms: 30_000, timed_out: false };

async function seedHouse(more: Record<string, unknown> = {}) {
  const workspace = await seedWorkspace();
  const { token } = workspace;
  const home = `/workspaces/${workspace.id}`;
  const [first, second] = [await sandboxCredential(workspace, "ok-a"), await sandboxCredential(workspace, "ok-b")];
  const makePool = (name: string, body: Record<string, unknown>) =>
    call("POST", `${home}/pools`, { token, body: { name, ...body } });
  const instances = [sandboxInstance(first, { alias: "big", weight: 3 }), sandboxInstance(second, { alias: "small" })];
  const pool = await makePool("chat", { instances, ...more });
  const key = await call("POST", `${home}/api-keys`, { token, body: { name: "Key", scopes: ["models:invoke"] } });
  const digest = await sha256Hex(key.body.secret as string);
  let count = 0;
  const router = () => routerFor(env, workspace.id, "auto");
  const admit = async (user: string | null = null): Promise<Ticket> => {
    count += 1;
    const sticky = user === null ? { user: null, header: null } : { user: user.length, header: null };
    const request = { request_id: `req-${count}`, key_digest: digest, scope: "models:invoke", model: "chat", sticky };
    const admission = await router().admit(request);
    if (admission.kind !== "ticket") {
      throw new Error(`refused: ${admission.code}`);
    }
    return admission;
  };
  const at = (id: string, deed: string) => call("POST", `${home}/pools/chat/instances/${id}/${deed}`, { token });
  const statuses = async (): Promise<string[]> => {
    const state = await call("GET", `${home}/pools/chat/state`, { token });
    return state.body.instances.map((one: { status: string }) => one.status);
  };
  const dryRun = (body: Record<string, unknown>) => call("POST", `${home}/pools/chat/dry-run`, { token, body });
  return { workspace, token, home, pool, makePool, first, admit, router, at, statuses, dryRun };
}

describe("an instance taken out by hand", () => {
  it("gets no call from the answer on, gets them again when it is taken back, and both are in the log", async ({
    expect,
  }) => {
    const { pool, admit, at, statuses, token, home } = await seedHouse();
    const drained = await at("big", "drain");
    expect([drained.status, drained.body.instances.map((one: { enabled: boolean }) => one.enabled)]).toEqual([
      200,
      [false, true],
    ]);
    const { body, headers } = await call("GET", `${home}/pools/chat`, { token });
    expect([body, headers.get("etag")]).toEqual([drained.body, drained.headers.get("etag")]);
    expect(await statuses()).toEqual(["drained", "ready"]);
    for (let turn = 0; turn < 4; turn += 1) {
      expect((await admit()).instance.alias).toBe("small");
    }
    const again = await at("big", "drain");
    expect(again.headers.get("etag")).toBe(drained.headers.get("etag"));
    const bigId = pool.body.instances[0].id;
    expect((await at(bigId, "resume")).body.instances[0]).toMatchObject({ id: bigId, enabled: true });
    const next = [await admit(), await admit(), await admit(), await admit()].map(({ instance }) => instance.alias);
    expect(next.filter((alias) => alias === "big").length).toBe(3);
    const deeds = await auditOf(bigId);
    expect(deeds.map(({ action, before, after }) => [action, before?.["enabled"], after?.["enabled"]])).toEqual([
      ["pool.instance_drained", true, false],
      ["pool.instance_resumed", false, true],
    ]);
    expect(deeds[0]?.targets).toEqual([
      { type: "pool", id: pool.body.id },
      { type: "instance", id: bigId },
    ]);
  });

  it("is 404 for one that the pool has not, and 412 for a stale If-Match", async ({ expect }) => {
    const { at, home, token } = await seedHouse();
    expect((await at("nobody", "drain")).status).toBe(404);
    const stale = await call("POST", `${home}/pools/chat/instances/big/drain`, {
      token,
      headers: { "if-match": '"99"' },
    });
    expect(stale.status).toBe(412);
  });
});

describe("a cool-down ended by hand", () => {
  it("is over at once, for every pool with that credential and model, and in the log", async ({ expect }) => {
    const { admit, at, router, statuses } = await seedHouse();
    let ticket = await admit();
    while (ticket.instance.alias !== "big") {
      ticket = await admit();
    }
    await router().next(ticket, failure);
    expect(await statuses()).toEqual(["cooling", "ready"]);
    const cleared = await at("big", "clear-cooldown");
    expect([cleared.status, cleared.body]).toEqual([200, { cleared: true }]);
    expect(await statuses()).toEqual(["ready", "ready"]);
    const [row] = await auditOf(ticket.instance.id);
    expect([row?.action, row?.after]).toMatchObject([
      "pool.instance_cooldown_cleared",
      { alias: "big", model: "sandbox-chat" },
    ]);
  });
});

describe("a dry run", () => {
  it("shows where the next calls go, who is out, and moves nothing", async ({ expect }) => {
    const { admit, at, dryRun, statuses } = await seedHouse();
    const first = await dryRun({ requests: 8 });
    expect(first.status).toBe(200);
    const told = first.body.steps.map((step: { alias: string }) => step.alias);
    expect(told.filter((alias: string) => alias === "big").length).toBe(6);
    expect((await dryRun({ requests: 8 })).body).toEqual(first.body);
    const real: string[] = [];
    for (let turn = 0; turn < 8; turn += 1) {
      real.push((await admit()).instance.alias);
    }
    expect(real).toEqual(told);
    await at("small", "drain");
    const without = await dryRun({});
    expect(without.body.excluded).toEqual([{ instance_id: expect.any(String), alias: "small", reason: "drained" }]);
    expect(without.body.steps).toHaveLength(10);
    expect(await statuses()).toEqual(["ready", "drained"]);
  });

  it("is refused for nonsense", async ({ expect }) => {
    const { dryRun } = await seedHouse();
    for (const [body, pointer] of [
      [{ requests: 0 }, "/requests"],
      [{ requests: 101 }, "/requests"],
      [{ region: "moon" }, "/region"],
      [{ region: "apac" }, "/region"],
    ] as const) {
      const answer = await dryRun(body);
      expect([answer.status, answer.body.errors[0].pointer]).toEqual([422, pointer]);
    }
  });
});

describe("fallback pools", () => {
  it("stand in while a pool has nobody", async ({ expect }) => {
    const { makePool, first, at, admit, home, token, pool } = await seedHouse();
    const backup = await makePool("backup", { instances: [sandboxInstance(first, { alias: "spare" })] });
    const body = { name: "chat", instances: pool.body.instances, fallbacks: ["backup"] };
    const saved = await call("PUT", `${home}/pools/chat`, { token, body });
    expect([backup.status, saved.status, saved.body.fallbacks]).toEqual([201, 200, ["backup"]]);
    await at("big", "drain");
    await at("small", "drain");
    expect((await admit()).instance.alias).toBe("spare");
  });

  it("must be pools, must not lead back, and stay as long as somebody falls back on them", async ({ expect }) => {
    const { makePool, first, home, token, pool } = await seedHouse();
    const instances = [sandboxInstance(first, {})];
    await makePool("b", { instances, fallbacks: ["chat"] });
    const put = (name: string, body: Record<string, unknown>) => call("PUT", `${home}/pools/${name}`, { token, body });
    for (const [fallbacks, pointer] of [
      [["nobody"], "/fallbacks/0"],
      [["chat"], "/fallbacks/0"],
      [["b"], "/fallbacks/0"],
      [["b", "b"], "/fallbacks"],
    ] as const) {
      const answer = await put("chat", { name: "chat", instances: pool.body.instances, fallbacks });
      expect([answer.status, answer.body.errors[0].pointer]).toEqual([422, pointer]);
    }
    for (const answer of [
      await call("DELETE", `${home}/pools/chat`, { token }),
      await put("chat", { name: "renamed", instances: pool.body.instances }),
    ]) {
      expect([answer.status, answer.body.code, answer.body.pools[0].name]).toEqual([409, "in_use", "b"]);
    }
    expect((await call("DELETE", `${home}/pools/b`, { token })).status).toBe(204);
    expect((await call("DELETE", `${home}/pools/chat`, { token })).status).toBe(204);
  });
});
