import { env } from "cloudflare:workers";
import OpenAI, { APIError } from "openai";
import { describe, it } from "vitest";
import { requireSettings } from "../../src/base/settings.js";
import { mintKey } from "../../src/keys/token.js";
import { newId } from "../../src/base/ids.js";
import { call, origin, sendAsFetch } from "../support/client.js";
import { seedKey, seedPool, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

interface Scene {
  readonly workspace: SeededWorkspace;
  readonly key: string;
}

/** A workspace with a pool `chat` over sandbox credentials; the first has all the weight but a little. */
async function sceneOf(...secrets: readonly string[]): Promise<Scene> {
  const workspace = await seedWorkspace();
  const instances = secrets.map((secret, index) => ({ alias: `i${index}`, secret, weight: index === 0 ? 10_000 : 1 }));
  return { workspace, key: await seedPool(workspace, instances) };
}

/** A body of exactly so many bytes. */
const bodyOf = (size: number) => JSON.stringify({ model: "nobody", pad: "x".repeat(size - 27) });
const messages = [{ role: "user" as const, content: "Say something." }];

function ask(key: string | null, body: unknown = { model: "chat", messages }, headers: Record<string, string> = {}) {
  return call("POST", "/v1/chat/completions", key === null ? { body, headers } : { token: key, body, headers });
}

/** The real SDK, talking to the Worker's real fetch handler. */
function sdk(key: string): OpenAI {
  return new OpenAI({
    apiKey: key,
    baseURL: `${origin}/v1`,
    maxRetries: 0,
    dangerouslyAllowBrowser: true,
    fetch: sendAsFetch,
  });
}

async function readStream(key: string): Promise<{ text: string; chunks: number; error: unknown }> {
  let text = "";
  let chunks = 0;
  try {
    for await (const chunk of await sdk(key).chat.completions.create({ model: "chat", messages, stream: true })) {
      chunks += 1;
      text += chunk.choices[0]?.delta.content ?? "";
      if (chunk.choices.length === 0) {
        throw new TypeError("a chunk without choices that nobody asked for");
      }
    }
    return { text, chunks, error: null };
  } catch (error) {
    return { text, chunks, error };
  }
}

describe("POST /v1/chat/completions", () => {
  it("answers an unmodified SDK as JSON and as a stream with the same text", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-ok");
    const whole = await sdk(key).chat.completions.create({ model: "chat", messages });
    expect(whole.choices[0]?.message.content?.length).toBeGreaterThan(0);
    expect(whole.usage?.total_tokens).toBeGreaterThan(0);
    const stream = await readStream(key);
    expect(stream.error).toBeNull();
    expect(stream.chunks).toBeGreaterThan(2);
    expect(stream.text).toBe(whole.choices[0]?.message.content);
  });

  it("gives the usage chunk to a caller who asked for it", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-ok");
    const body = { model: "chat", messages, stream: true, stream_options: { include_usage: true } };
    const answer = await ask(key, body);
    expect(answer.text).toContain('"choices":[]');
    expect(answer.text.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  it("carries the headers that are promised and none of the upstream's own", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-ok");
    const { headers, status } = await ask(key);
    expect(status).toBe(200);
    expect(headers.get("x-request-id")).toMatch(/^req_/);
    expect(headers.get("x-gatehouse-instance")).toBe("i0");
    expect(headers.get("x-gatehouse-attempts")).toBe("1");
    expect(headers.get("server-timing")).toMatch(/^route;dur=[\d.]+, upstream;dur=[\d.]+$/);
    expect(headers.get("set-cookie")).toBeNull();
  });

  it("fails over before commit whatever the first instance does wrong", async ({ expect }) => {
    for (const behaviour of ["429", "500", "401", "quota", "inband-error"]) {
      const { key } = await sceneOf(`sk-sandbox-${behaviour}`, "sk-sandbox-ok");
      const { status, headers, text } = await ask(key);
      expect(status, `${behaviour}: ${text}`).toBe(200);
      expect(headers.get("x-gatehouse-attempts"), behaviour).toBe("2");
      expect(headers.get("x-gatehouse-instance"), behaviour).toBe("i1");
    }
  });

  it("makes the SDK throw when a stream breaks after its first content", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-cut");
    const { chunks, error } = await readStream(key);
    expect(chunks).toBeGreaterThan(0);
    expect(error).toBeInstanceOf(APIError);
    expect((error as APIError).code).toBe("stream_cut");
  });

  it("says why nobody could answer, with the time to the soonest recovery", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-429");
    const first = await ask(key);
    expect(first.status).toBe(429);
    expect(first.body.error.code).toBe("rate_limit_exceeded");
    expect(Number(first.headers.get("retry-after"))).toBeGreaterThanOrEqual(4);
    const second = await ask(key);
    expect(second.status).toBe(503);
    expect(second.body.error.code).toBe("pool_exhausted");
    expect(Number(second.headers.get("retry-after"))).toBeLessThanOrEqual(6);
  });

  it("promises no recovery when every instance is drained or out", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-401");
    expect((await ask(key)).status).toBe(502);
    const { status, headers, body } = await ask(key);
    expect([status, body.error.code]).toEqual([503, "pool_exhausted"]);
    expect(body.error.message).toContain("Waiting does not help");
    expect([headers.get("retry-after"), headers.get("x-should-retry")]).toEqual([null, "false"]);
  });

  it("never shows a credential that an upstream repeats", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-401-canary-7f3a");
    const { status, text } = await ask(key);
    expect(status).toBe(502);
    expect(text).not.toContain("canary");
  });
});

describe("refusals at the door", () => {
  it("refuses what is no key of this service with 401, before anything else is looked at", async ({ expect }) => {
    const stranger = await mintKey(requireSettings(env).tokenSecret, newId("workspace"), "auto");
    const secret = stranger.secret.reveal();
    const forged = secret.slice(0, -1) + (secret.endsWith("0") ? "1" : "0");
    for (const [token, sent] of [
      [null, "not json"],
      ["x", "{"],
      ["sk-openai", ""],
      [forged, "not json"],
      [secret, undefined],
    ] as const) {
      const { status, body, headers } = await ask(token, sent);
      expect([status, body.error.code]).toEqual([401, "invalid_api_key"]);
      expect(headers.get("www-authenticate")).toBe("Bearer");
      expect(headers.get("x-request-id")).toMatch(/^req_/);
    }
  });

  it("refuses a revoked key from the answer on, and names no model to it", async ({ expect }) => {
    const { workspace, key } = await sceneOf("sk-sandbox-ok");
    const other = await seedKey(workspace, "other");
    expect((await ask(other.secret)).status).toBe(200);
    const revoked = await call("DELETE", `/workspaces/${workspace.id}/api-keys/${other.id}`, {
      token: workspace.token,
    });
    expect(revoked.status).toBe(204);
    for (let round = 0; round < 3; round += 1) {
      const { status, body } = await ask(other.secret);
      expect([status, body.error.code]).toEqual([401, "invalid_api_key"]);
    }
    expect((await call("GET", "/v1/models", { token: other.secret })).status).toBe(401);
    expect((await ask(key)).status).toBe(200);
  });

  it("takes the key as x-api-key too", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-ok");
    expect((await ask(null, { model: "chat", messages }, { "x-api-key": key })).status).toBe(200);
  });

  it("refuses bad bodies in OpenAI's shape", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-ok");
    const cases: [unknown, number, string][] = [
      ["{", 400, "malformed_json"],
      ["[]", 400, "malformed_json"],
      ['{"model":"chat","model":"chat"}', 400, "repeated_field"],
      ["{}", 400, "model_required"],
      ['{"model":7}', 400, "model_required"],
      [{ model: "nobody", messages }, 404, "model_not_found"],
      [{ model: "n".repeat(129), messages }, 404, "model_not_found"],
    ];
    for (const [body, status, code] of cases) {
      const answer = await ask(key, body);
      expect([answer.status, answer.body.error.code], String(body)).toEqual([status, code]);
      expect(Object.keys(answer.body.error)).toEqual(["message", "type", "param", "code"]);
    }
    expect((await ask(key, { model: "nobody", messages })).body.error.message).toMatch(/^`nobody` is neither a pool/);
    expect((await ask(key, "a=b", { "content-type": "application/x-www-form-urlencoded" })).status).toBe(415);
    expect((await ask(key, "{}", { "content-encoding": "gzip" })).status).toBe(415);
  });

  it("does not carry a model that can be no pool's name to the Router", async ({ expect }) => {
    // No workspace has this key: whoever asks its Router is told so.
    const stranger = await mintKey(requireSettings(env).tokenSecret, newId("workspace"), "auto");
    const ask128 = (length: number) => ask(stranger.secret.reveal(), { model: "n".repeat(length), messages });
    expect((await ask128(129)).body.error.code).toBe("model_not_found");
    expect((await ask128(128)).body.error.code).toBe("invalid_api_key");
  });

  it("refuses a body over 20 MiB with 413, and takes one just under it", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-ok");
    expect(bodyOf(20 * 1_048_576)).toHaveLength(20 * 1_048_576);
    const over = await ask(key, bodyOf(20 * 1_048_576 + 1));
    expect([over.status, over.body.error.code]).toEqual([413, "body_too_large"]);
    expect((await ask(key, bodyOf(20 * 1_048_576))).status).toBe(404);
  });

  it("answers other methods and paths below /v1 in OpenAI's shape", async ({ expect }) => {
    const method = await call("GET", "/v1/chat/completions");
    expect([method.status, method.headers.get("allow"), method.body.error.code]).toEqual([
      405,
      "POST",
      "method_not_allowed",
    ]);
    expect((await call("DELETE", "/v1/models/chat")).headers.get("allow")).toBe("GET, HEAD");
    const path = await call("POST", "/v1/nothing", { body: {} });
    expect([path.status, path.body.error.code]).toEqual([404, "not_found"]);
    // What a base URL without its end, or with it twice, leads to.
    const hint = expect.stringContaining("base URL of an SDK ends in /v1");
    expect((await call("POST", "/v1/v1/chat/completions", { body: {} })).body.error.message).toEqual(hint);
    expect((await call("POST", "/v1/messages", { body: {} })).body.error.message).toEqual(hint);
    expect((await call("POST", "/anthropic/messages", { body: {} })).body.error.message).toEqual(hint);
    expect((await call("POST", "/chat/completions", { body: {} })).body).toMatchObject({
      code: "not_found",
      detail: hint,
    });
    expect((await call("POST", "/nothing", { body: {} })).body.detail).not.toEqual(hint);
    for (const above of ["/v1", "/v1/models/"]) {
      const answer = await call("GET", above);
      expect([answer.status, answer.body.error.code], above).toEqual([404, "not_found"]);
    }
    expect((await call("GET", "/anthropic")).body).toMatchObject({ type: "error", error: { type: "not_found_error" } });
  });
});

describe("GET /v1/models", () => {
  it("lists what the key may use, and finds one by name", async ({ expect }) => {
    const { key } = await sceneOf("sk-sandbox-ok");
    const list = await sdk(key).models.list();
    expect(list.data[0]).toEqual({ id: "chat", object: "model", created: 0, owned_by: "gatehouse" });
    expect(list.data.slice(1)).toContainEqual({ id: "sandbox-chat", object: "model", created: 0, owned_by: "sandbox" });
    expect((await sdk(key).models.retrieve("chat")).id).toBe("chat");
    const missing = await call("GET", "/v1/models/nobody", { token: key });
    expect([missing.status, missing.body.error.code]).toEqual([404, "model_not_found"]);
    expect((await call("HEAD", "/v1/models", { token: key })).status).toBe(200);
  });
});
