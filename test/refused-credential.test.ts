/** A credential that can't be used goes out with a word in the record, and comes back; all of it over HTTP. */
import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { describe, it, vi, type ExpectStatic } from "vitest";
import { sweepRefused } from "../src/connections/confirm.js";
import { addCredential, auditOf, publishNow } from "./connections/seed.js";
import { call, send } from "./support/client.js";
import { seedKey, seedPool, seedWorkspace, type SeededWorkspace } from "./support/seed.js";

const body = { model: "chat", messages: [{ role: "user", content: "hi" }] };

/** A pool of one instance on a server that can be made to behave otherwise, and a key that may call it. */
async function seedMoody(workspace: SeededWorkspace) {
  const tag = `out-${workspace.id.slice(-12)}`;
  const behave = async (as: string): Promise<void> => {
    await fetch(`https://inspect.upstream.test/behave?tag=${tag}&as=${as}`, { method: "POST" });
  };
  await behave("no-models");
  const fields = { api_key: "k-0123456789", base_url: `https://ok.upstream.test/${tag}/v1` };
  const { id } = (await addCredential(workspace, "openai_compatible", fields)).body;
  const instances = [{ alias: "a", provider_name: "openai_compatible", model: "m", credential_id: id, weight: 1 }];
  const pool = { name: "chat", strategy: "weighted", instances };
  await call("POST", `/workspaces/${workspace.id}/pools`, { token: workspace.token, body: pool });
  const { secret } = await seedKey(workspace);
  const chat = (more: object = {}) =>
    call("POST", "/v1/chat/completions", { token: secret, body: { ...body, ...more } });
  return { id, behave, chat };
}

async function stateOf({ id, token }: SeededWorkspace) {
  return (await call("GET", `/workspaces/${id}/pools/chat/state`, { token })).body.instances[0];
}

/** Waits until the record says so of a credential. */
async function seen(expect: ExpectStatic, { id: ws, token }: SeededWorkspace, id: string, status: string) {
  return await vi.waitFor(
    async () => {
      const answer = (await call("GET", `/workspaces/${ws}/credentials/${id}`, { token })).body;
      expect(answer.status).toBe(status);
      return answer;
    },
    { timeout: 10_000, interval: 50 },
  );
}

describe("a credential that its provider refuses", () => {
  it("costs the caller nothing, is confirmed in the background, and stays out until it is validated again", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, token } = workspace;
    const key = await seedPool(workspace, [
      { alias: "bad", secret: "sk-sandbox-401-x", weight: 1 },
      { alias: "good", secret: "sk-sandbox-ok-x", weight: 1 },
    ]);
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => call("POST", "/v1/chat/completions", { token: key, body })),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
    const credential = await vi.waitFor(
      async () => {
        const list = await call("GET", `/workspaces/${id}/model-providers/sandbox/credentials`, { token });
        const bad = list.body.data.find((row: { name: string }) => row.name === "bad");
        expect(bad.status).toBe("invalid");
        return bad;
      },
      { timeout: 10_000, interval: 100 },
    );
    expect([credential.is_valid, typeof credential.reason]).toEqual([false, "string"]);
    const state = await call("GET", `/workspaces/${id}/pools/chat/state`, { token });
    const bad = state.body.instances.find((row: { alias: string }) => row.alias === "bad");
    expect(bad.status).toBe("out");
    const later = await call("POST", "/v1/chat/completions", { token: key, body });
    expect([later.headers.get("x-gatehouse-instance"), later.headers.get("x-gatehouse-attempts")]).toEqual([
      "good",
      "1",
    ]);
  });

  it("of a server without a model list comes back by a validation by hand, though that proves nothing", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, behave, chat } = await seedMoody(workspace);
    expect((await chat()).status).toBe(200);
    await behave("status-401");
    expect((await chat()).status).toBe(502);
    await seen(expect, workspace, id, "invalid");
    expect((await chat()).status).toBe(503);
    await behave("no-models");
    const path = `/workspaces/${workspace.id}/credentials/${id}/validate`;
    const back = await call("POST", path, { token: workspace.token });
    expect([back.status, back.body.status, back.body.is_valid]).toEqual([200, "unverified", null]);
    expect((await chat()).status).toBe(200);
    expect((await stateOf(workspace)).status).toBe("ready");
  });

  it("for calls alone is out in the record too, with a reason and an audit row, until the sweep lets it try again", async ({
    expect,
  }) => {
    for (const [refusing, good] of [
      ["refuses-calls", "no-models"],
      ["lists-to-anyone", "ok"],
    ] as const) {
      const workspace = await seedWorkspace();
      const { id, behave, chat } = await seedMoody(workspace);
      if (good === "ok") {
        await behave("ok");
        await call("POST", `/workspaces/${workspace.id}/credentials/${id}/validate`, { token: workspace.token });
      }
      await behave(refusing);
      expect((await chat()).status).toBe(502);
      expect((await seen(expect, workspace, id, "invalid")).reason).toMatch(/refused a call/);
      expect((await auditOf(id)).at(-1)).toMatchObject({ action: "credential.refused", actor_type: "system" });
      expect((await stateOf(workspace)).status).toBe("out");
      await behave(good);
      await sweepRefused(env, () => publishNow(workspace), Date.now() + 61_000, 1000);
      expect((await chat()).status).toBe(200);
    }
  });
});

describe("a credential that is refused in the middle of a stream", () => {
  it("is out in the record too", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, behave, chat } = await seedMoody(workspace);
    await behave("refuses-midway");
    expect((await chat({ stream: true })).status).toBe(200);
    expect((await seen(expect, workspace, id, "invalid")).reason).toMatch(/refused a call/);
  });
});

describe("a credential that does not open", () => {
  it("is taken out by the first call that meets it: the record, the audit log and the pool's state say so", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, chat } = await seedMoody(workspace);
    await env.DB.prepare("UPDATE credentials SET secret_version = 2 WHERE id = ?").bind(id).run();
    await publishNow(workspace);
    expect((await chat()).status).toBeGreaterThanOrEqual(500);
    await seen(expect, workspace, id, "undecryptable");
    expect((await auditOf(id)).at(-1)).toMatchObject({ after: { status: "undecryptable" }, actor_type: "system" });
    await vi.waitFor(async () => expect((await stateOf(workspace)).status).toBe("out"), { timeout: 5_000 });
    expect((await chat()).status).toBe(503);
  });
});

describe("a stored sandbox credential", () => {
  it("serves nobody where the settings have no sandbox, or ignore it beside a public address", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const key = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
    const ask = async (more: Partial<Env>): Promise<number> => {
      const settings = { ...env, ...more };
      const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
      const url = new URL("/v1/chat/completions", settings.PUBLIC_URL);
      const context = createExecutionContext();
      const request = new Request(url, { method: "POST", headers, body: JSON.stringify(body) });
      const answer = await send(request, { env: settings, context });
      await answer.text();
      await waitOnExecutionContext(context);
      return answer.status;
    };
    expect(await ask({})).toBe(200);
    expect(await ask({ SANDBOX: "" })).toBe(502);
    expect(await ask({ PUBLIC_URL: "https://gatehouse.example.com" })).toBe(502);
    expect(await ask({})).toBe(200);
  });
});
