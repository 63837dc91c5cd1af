import { describe, it } from "vitest";
import { env } from "cloudflare:workers";
import { readConfig } from "../../src/snapshot/build.js";
import { sumStates } from "../../src/routing/routes.js";
import { routerFor } from "../../src/routing/router-for.js";
import type { Failure, InstanceState, Ticket } from "../../src/routing/model.js";
import { sha256Hex } from "../../src/base/bytes.js";
import { call } from "../support/client.js";
import { db, seedWorkspace } from "../support/seed.js";
import { publishNow, sandboxCredential, sandboxInstance } from "../connections/seed.js";

async function seedPool() {
  const workspace = await seedWorkspace();
  const { token } = workspace;
  const [first, second] = [await sandboxCredential(workspace, "ok-a"), await sandboxCredential(workspace, "ok-b")];
  const instances = [
    sandboxInstance(first, { alias: "big", weight: 3 }),
    sandboxInstance(second, { alias: "small", weight: 1 }),
    sandboxInstance(second, { alias: "drained", weight: 0 }),
  ];
  const pool = await call("POST", `/workspaces/${workspace.id}/pools`, { token, body: { name: "chat", instances } });
  const keyOf = async (region?: string) => {
    const body = {
      name: `Key ${region ?? "own"}`,
      scopes: ["models:invoke"],
      ...(region === undefined ? {} : { region }),
    };
    const made = await call("POST", `/workspaces/${workspace.id}/api-keys`, { token, body });
    return sha256Hex(made.body.secret as string);
  };
  const state = async () => call("GET", `/workspaces/${workspace.id}/pools/${pool.body.id}/state`, { token });
  return { workspace, pool, keyOf, state };
}

async function admit(workspaceId: string, region: string, digest: string, requestId: string): Promise<Ticket> {
  const request = { request_id: requestId, key_digest: digest, scope: "models:invoke", model: "chat" };
  const admission = await routerFor(env, workspaceId, region).admit(request);
  if (admission.kind !== "ticket") {
    throw new Error(`refused: ${admission.code}`);
  }
  return admission;
}

function told(status: InstanceState["status"], until: string | null): InstanceState {
  const reason = until === null ? null : "transient";
  return { id: "inst_1", alias: "a", status, cooling_until: until, reason, picks: 1, in_flight: 0, failures: 0 };
}

describe("a pool's live state", () => {
  it("is the pool's, though its name reads as a model's", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    const instances = [sandboxInstance(await sandboxCredential(workspace), { alias: "mine" })];
    const path = `/workspaces/${workspace.id}/pools`;
    const name = "model:sandbox/sandbox-chat";
    await call("POST", path, { token, body: { name, instances } });
    const { status, body } = await call("GET", `${path}/${encodeURIComponent(name)}/state`, { token });
    expect([status, body.instances[0].alias]).toEqual([200, "mine"]);
  });

  it("has a line for every instance before any call, in the pool's order", async ({ expect }) => {
    const { workspace, state } = await seedPool();
    await publishNow(workspace);
    const { status, body } = await state();
    expect(status).toBe(200);
    const idle = { cooling_until: null, reason: null, probe_due: false, picks: 0, share: 0, in_flight: 0, failures: 0 };
    expect(body.instances).toEqual([
      { id: expect.stringMatching(/^inst_/), alias: "big", status: "ready", ...idle },
      { id: expect.stringMatching(/^inst_/), alias: "small", status: "ready", ...idle },
      { id: expect.stringMatching(/^inst_/), alias: "drained", status: "drained", ...idle },
    ]);
  });

  it("sums the shards of all regions: picks, shares, running calls, failures and cool-downs", async ({ expect }) => {
    const { workspace, keyOf, state } = await seedPool();
    const [own, european] = [await keyOf(), await keyOf("weur")];
    await publishNow(workspace);
    expect((await readConfig(db, workspace.id)).regions.toSorted()).toEqual(["auto", "weur"]);
    const tickets: Ticket[] = [];
    for (let index = 0; index < 4; index += 1) {
      tickets.push(await admit(workspace.id, "auto", own, `req-own-${index}`));
      tickets.push(await admit(workspace.id, "weur", european, `req-eu-${index}`));
    }
    const calm = (await state()).body.instances;
    expect(calm.map((one: InstanceState) => [one.alias, one.picks, one.in_flight])).toEqual([
      ["big", 6, 6],
      ["small", 2, 2],
      ["drained", 0, 0],
    ]);
    expect(calm.map((one: { share: number }) => one.share)).toEqual([0.75, 0.25, 0]);
    const failure: Failure = { class: "rate_limit", status: 429, code: null, retry_after_ms: 30_000, timed_out: false };
    const hit = tickets.find((ticket, index) => index % 2 === 1 && ticket.instance.alias === "small");
    if (hit === undefined) {
      throw new Error("no European call met the small instance");
    }
    await routerFor(env, workspace.id, "weur").next(hit, failure);
    const small = (await state()).body.instances[1];
    expect(small).toMatchObject({ alias: "small", status: "cooling", failures: 1, in_flight: 1, probe_due: false });
    expect(Date.parse(small.cooling_until)).toBeGreaterThan(Date.now() + 20_000);
    expect(small.reason).toMatch(/rate_limit/);
  });

  it("follows a credential out and back", async ({ expect }) => {
    const { workspace, pool, state } = await seedPool();
    const id = pool.body.instances[0].credential_id;
    await env.DB.prepare("UPDATE credentials SET status = 'invalid' WHERE id = ?").bind(id).run();
    await publishNow(workspace);
    const [big] = (await state()).body.instances;
    expect([big.status, big.reason]).toEqual(["out", "credential_unusable"]);
    const { token } = workspace;
    await call("POST", `/workspaces/${workspace.id}/credentials/${id}/validate`, { token });
    await publishNow(workspace);
    expect((await state()).body.instances[0].status).toBe("ready");
  });

  it("is found by name, and is 404 for a pool that is not there", async ({ expect }) => {
    const { workspace } = await seedPool();
    const { token } = workspace;
    expect((await call("GET", `/workspaces/current/pools/chat/state`, { token })).status).toBe(200);
    expect((await call("GET", `/workspaces/${workspace.id}/pools/none/state`, { token })).status).toBe(404);
  });

  it("shows trouble in any shard before health in another", ({ expect }) => {
    const row = {
      id: "inst_1",
      workspaceId: "ws_1",
      poolId: "pool_1",
      position: 0,
      alias: "a",
      providerName: "sandbox",
      model: "m",
      credentialId: "cred_1",
      weight: 1,
      priority: 0,
      enabled: true,
    };
    const [early, late] = ["2026-01-01T00:00:01.000Z", "2026-01-01T00:00:09.000Z"];
    const [line] = sumStates(
      [row],
      [told("ready", null), told("cooling", early), told("cooling", late), told("probing", null)],
    );
    expect(line).toMatchObject({ status: "cooling", cooling_until: late, reason: "transient", picks: 4, share: 1 });
    expect(sumStates([row], [told("cooling", late), told("out", null)])[0]).toMatchObject({
      status: "out",
      cooling_until: null,
    });
    const due = { ...told("cooling", early), probe_due: true };
    expect(sumStates([row], [due, told("probing", early), due])[0]).toMatchObject({ status: "probing", picks: 3 });
    expect(sumStates([row], [due, told("probing", early), told("cooling", late)])[0]).toMatchObject({
      status: "cooling",
    });
    expect(sumStates([row], [])[0]).toMatchObject({ status: "ready", picks: 0, share: 0 });
  });
});
