import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, it, vi } from "vitest";
import { routerFor } from "../src/routing/router-for.js";
import { call } from "./support/client.js";
import { seedWorkspace } from "./support/seed.js";
import { schemes, toolDocument } from "./support/tool-document.js";

/** Everything that D1 holds, as text. */
async function dumpD1(): Promise<string> {
  const tables = await env.DB.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
  ).all<{ name: string }>();
  const dumps = await Promise.all(
    tables.results.map(async ({ name }) => {
      const rows = await env.DB.prepare(`SELECT * FROM "${name}"`).all();
      return `${name} ${JSON.stringify(rows.results)}`;
    }),
  );
  return dumps.join("\n");
}

/** Everything that KV holds, names and values. */
async function dumpKv(): Promise<string> {
  const { keys } = await env.CONFIG.list();
  const values = await Promise.all(keys.map(async ({ name }) => `${name} ${(await env.CONFIG.get(name)) ?? ""}`));
  return values.join("\n");
}

/** Everything on the disk of a workspace's Router. */
async function dumpRouter(workspaceId: string): Promise<string> {
  return await runInDurableObject(routerFor(env, workspaceId, "auto"), (_, { storage }) => {
    const tables = storage.sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'").toArray();
    const visible = tables.filter(({ name }) => !name.startsWith("_cf"));
    return visible.map(({ name }) => JSON.stringify(storage.sql.exec(`SELECT * FROM "${name}"`).toArray())).join("\n");
  });
}

/** The plain, base64 and base64url spellings of a secret. */
function spellings(secret: string): string[] {
  const base64 = btoa(secret).replaceAll("=", "");
  return [secret, base64, base64.replaceAll("+", "-").replaceAll("/", "_")];
}

function canary(label: string): string {
  return `canary-${label}-8f2b7c41d9`;
}

const toolInput = "input-of-a-tool-5d0c";

type Ask = (method: string, path: string, options?: Parameters<typeof call>[2]) => ReturnType<typeof call>;

/** Plants a secret in every kind of tool credential, and calls servers that repeat it in bodies, headers, errors and redirects. Answers the secrets. */
async function useTools(ask: Ask, base: string, token: string): Promise<readonly string[]> {
  const secrets: string[] = [];
  const invoke = (tool: string, input: object, headers: Readonly<Record<string, string>> = {}) =>
    ask("POST", `${base}/tools/${tool}/invoke`, { token, headers, body: { input } });
  for (const auth of ["bearer", "basic", "header", "query", "oauth"] as const) {
    const operations =
      auth === "bearer" ? ["echo", "text", "fail/401", "redirect", "cut", "big"] : ["echo", "fail/500"];
    const document = toolDocument({ operations, security: schemes[auth] });
    await ask("POST", `${base}/tool-providers`, { token, body: { kind: "openapi", name: auth, document } });
    const secret = `good-${canary(`tool-${auth}`)}`;
    const plain = auth === "basic" ? { username: "me" } : auth === "oauth" ? { client_id: "gatehouse" } : {};
    const credentials = { ...plain, api_key: secret };
    const path = `${base}/tool-providers/${auth}/credentials`;
    const added = { token, headers: { "idempotency-key": auth }, body: { name: "good", credentials } };
    const { body: made } = await ask("POST", path, added);
    const bad = { ...credentials, api_key: canary(`tool-bad-${auth}`) };
    await ask("POST", path, { token, body: { name: "bad", credentials: bad } });
    await ask("POST", path, {
      token,
      body: { name: "lines", credentials: { ...plain, api_key: `${secret}\nx` } },
    });
    await ask("POST", `${path}/${made.id}/validate`, { token });
    await ask("PATCH", `${base}/tool-providers/${auth}`, { token, body: { credential_id: made.id } });
    const echoed = await invoke(`${auth}/echo`, { q: toolInput }, { "idempotency-key": `echo-${auth}` });
    if (!echoed.text.includes("[redacted]")) {
      throw new Error(`the server was not sent a secret that it could repeat: ${echoed.status} ${echoed.text}`);
    }
    for (const name of operations.slice(1)) {
      await invoke(`${auth}/${name.replace("/", "_")}`, {});
    }
    await invoke(`${auth}/echo`, { q: 1 });
    const moved = toolDocument({ operations, security: schemes[auth], server: "https://moved.upstream.test" });
    await ask("PUT", `${base}/tool-providers/${auth}`, { token, body: { kind: "openapi", document: moved } });
    await invoke(`${auth}/echo`, { q: toolInput });
    secrets.push(secret, bad.api_key, btoa(`me:${secret}`));
  }
  const url = `https://user:${canary("tool-url")}@tools.upstream.test/doc`;
  await ask("POST", `${base}/tool-providers`, { token, body: { kind: "openapi", name: "by-url", url } });
  await ask("GET", `${base}/tool-providers`, { token });
  await ask("GET", `${base}/export`, { token });
  return secrets;
}

describe("a secret planted in every input", () => {
  it("is in no log, error, audit row, queue body, nor in D1, KV or the Router but as ciphertext", async ({
    expect,
  }) => {
    const logged: string[] = [];
    for (const level of ["log", "info", "warn", "error", "debug"] as const) {
      vi.spyOn(console, level).mockImplementation(
        (...words: unknown[]) => void logged.push(words.map(String).join(" ")),
      );
    }
    const queued: string[] = [];
    const queue: Queue = env.MAIL;
    const send = queue.send.bind(queue);
    vi.spyOn(queue, "send").mockImplementation(async (body, options) => {
      queued.push(JSON.stringify(body));
      return await send(body, options);
    });
    const sendBatch = queue.sendBatch.bind(queue);
    vi.spyOn(queue, "sendBatch").mockImplementation(async (messages, options) => {
      const batch = [...messages];
      queued.push(JSON.stringify(batch.map(({ body }) => body)));
      return await sendBatch(batch, options);
    });
    const answers: string[] = [];
    const ask = async (method: string, path: string, options: Parameters<typeof call>[2] = {}) => {
      const answer = await call(method, path, options);
      answers.push(
        `${method} ${path.replace(/inv_[^/]+/, "{token}")} ${answer.status} ${answer.text} ${JSON.stringify([...answer.headers])}`,
      );
      return answer;
    };

    const workspace = await seedWorkspace();
    const { token } = workspace;
    const base = `/workspaces/${workspace.id}`;
    const providers = `${base}/model-providers`;
    const goodKey = `sk-sandbox-ok-${canary("good")}`;
    const badKey = `sk-sandbox-401-${canary("bad")}`;
    const openaiKey = `wrong-prefix-${canary("openai")}`;
    const good = await ask("POST", `${providers}/sandbox/credentials`, {
      token,
      body: { name: "good", credentials: { api_key: goodKey } },
      headers: { "idempotency-key": "canary-1" },
    });
    const bad = await ask("POST", `${providers}/sandbox/credentials`, {
      token,
      body: { name: "bad", credentials: { api_key: badKey }, validate: false },
    });
    await ask("POST", `${providers}/sandbox/credentials`, {
      token,
      body: { name: "refused", credentials: { api_key: badKey } },
    });
    await ask("POST", `${providers}/openai/credentials`, {
      token,
      body: { name: "format", credentials: { api_key: openaiKey } },
    });
    await ask("POST", `${providers}/sandbox/credentials`, {
      token,
      body: { name: "good", credentials: { api_key: goodKey } },
    });
    await ask("POST", `${providers}/sandbox/credentials`, {
      token,
      body: `{"name": "broken", "credentials": {"api_key": "${canary("broken")}"`,
    });
    await ask("POST", `${base}/model-providers/sandbox/credentials/${bad.body.id}/validate`, { token });
    const instances = [good, bad].map(({ body }) => ({
      provider_name: "sandbox",
      model: "sandbox-chat",
      credential_id: body.id,
      weight: 1,
    }));
    expect(
      (await ask("POST", `${base}/pools`, { token, body: { name: "both", strategy: "weighted", instances } })).status,
    ).toBe(201);
    await ask("POST", `${base}/pools`, {
      token,
      body: { name: "bad", strategy: "weighted", instances: instances.slice(1) },
    });

    const made = await call("POST", `${base}/api-keys`, {
      token,
      body: { name: "k", scopes: ["models:invoke"] },
      headers: { "idempotency-key": "canary-2" },
    });
    expect(made.status).toBe(201);
    const key: string = made.body.secret;
    const replayed = await call("POST", `${base}/api-keys`, {
      token,
      body: { name: "k", scopes: ["models:invoke"] },
      headers: { "idempotency-key": "canary-2" },
    });
    expect([replayed.body.secret, replayed.headers.get("idempotency-replayed")]).toEqual([key, "true"]);
    for (const model of ["both", "both", "bad", "absent"]) {
      for (const stream of [false, true]) {
        const messages = [{ role: "user", content: canary("prompt") }];
        const answer = await call("POST", "/v1/chat/completions", { token: key, body: { model, stream, messages } });
        answers.push(answer.status === 200 ? JSON.stringify([...answer.headers]) : answer.text);
      }
    }
    await ask("GET", "/v1/models", { token: `${key.slice(0, -1)}${key.endsWith("0") ? "1" : "0"}` });
    await ask("GET", `${base}/api-keys`, { token });
    await ask("GET", `${base}/pools/both/state`, { token });
    await ask("POST", "/setup", { token: canary("setup"), body: {} });
    await ask("POST", `${base}/members/invite`, { token, body: { emails: ["canary@example.com"], role: "MEMBER" } });
    const link = await vi.waitFor(
      async () => {
        const outbox = await call("GET", "/dev/outbox");
        const text: string = outbox.body.data[0].text;
        return text;
      },
      { timeout: 10_000, interval: 200 },
    );
    const invite = /inv_[A-Za-z0-9._-]+/.exec(link)?.[0] ?? "";
    expect(invite.length).toBeGreaterThan(40);
    await ask("GET", `/invites/${invite}`);
    await ask("DELETE", `${base}/api-keys/${made.body.id}`, { token });
    const toolSecrets = await useTools(ask, base, token);
    // The Router writes behind by at most a second.
    await new Promise((resolve) => setTimeout(resolve, 1_500));

    const places: Record<string, string> = {
      logs: logged.join("\n"),
      answers: answers.join("\n"),
      queue: queued.join("\n"),
      d1: await dumpD1(),
      kv: await dumpKv(),
      router: await dumpRouter(workspace.id),
    };
    vi.restoreAllMocks();
    for (const [place, text] of Object.entries(places)) {
      expect([place, text.length > 0]).toEqual([place, true]);
    }
    const secrets = [
      goodKey,
      badKey,
      openaiKey,
      canary("broken"),
      canary("prompt"),
      canary("setup"),
      key,
      token,
      invite,
      env.SETUP_TOKEN,
      ...toolSecrets,
    ];
    for (const [place, text] of Object.entries(places)) {
      for (const secret of secrets) {
        const found = spellings(secret).filter((spelling) => text.includes(spelling));
        expect([place, found]).toEqual([place, []]);
      }
      expect([place, text.includes("8f2b7c41d9")]).toEqual([place, false]);
      // What went into a tool comes out of this one, and stays nowhere.
      expect([place, text.includes(toolInput)]).toEqual([place, place === "answers"]);
    }
  });
});
