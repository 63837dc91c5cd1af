import OpenAI from "openai";
import { describe, it } from "vitest";
import { endpoints } from "../../src/gateway/endpoints.js";
import { call, origin, send, sendAsFetch } from "../support/client.js";
import { seedKey, seedWorkspace } from "../support/seed.js";

const messages = [{ role: "user" as const, content: "Say something." }];

interface Place {
  readonly provider: string;
  readonly credentials: Readonly<Record<string, string>>;
  readonly model: string;
}

const media = (model: string): Place => ({
  provider: "openai_compatible",
  credentials: { base_url: "https://media.upstream.test/v1", api_key: "sk-media" },
  model,
});
const sandbox = (secret: string, model = "sandbox-chat"): Place => ({
  provider: "sandbox",
  credentials: { api_key: secret },
  model,
});

/** A workspace with a pool `mix` of these places, tried in order; answers a key that may call it. */
async function sceneOf(...places: readonly Place[]): Promise<string> {
  const workspace = await seedWorkspace();
  const { token } = workspace;
  const instances = [];
  for (const [index, { provider, credentials, model }] of places.entries()) {
    const path = `/workspaces/${workspace.id}/model-providers/${provider}/credentials`;
    const made = await call("POST", path, { token, body: { name: `c${index}`, credentials, validate: false } });
    const place = { alias: `i${index}`, provider_name: provider, model, credential_id: made.body.id };
    instances.push({ ...place, priority: index });
  }
  await call("POST", `/workspaces/${workspace.id}/pools`, {
    token,
    body: { name: "mix", strategy: "priority", instances },
  });
  return (await seedKey(workspace)).secret;
}

const post = (path: string, key: string, body: unknown, headers: Record<string, string> = {}) =>
  call("POST", path, { token: key, body, headers });

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

async function raw(path: string, key: string, body: object): Promise<Response> {
  return await send(
    new Request(`${origin}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    }),
  );
}

describe("OpenAI's endpoints", () => {
  it("answer responses as JSON and as a stream with the same text, to an unmodified SDK", async ({ expect }) => {
    const client = sdk(await sceneOf(sandbox("sk-sandbox-429"), sandbox("sk-sandbox-ok")));
    const whole = await client.responses.create({ model: "mix", input: "Say something." });
    expect(whole.output_text.length).toBeGreaterThan(0);
    expect(whole.usage?.input_tokens).toBeGreaterThan(0);
    let text = "";
    let last = "";
    for await (const event of await client.responses.create({ model: "mix", input: "Say something.", stream: true })) {
      text += event.type === "response.output_text.delta" ? event.delta : "";
      last = event.type;
    }
    expect([text, last]).toEqual([whole.output_text, "response.completed"]);
  });

  it("make the SDK throw when a stream of responses breaks", async ({ expect }) => {
    const client = sdk(await sceneOf(sandbox("sk-sandbox-cut")));
    const stream = await client.responses.create({ model: "mix", input: "Say something.", stream: true });
    const read = async () => {
      for await (const event of stream) {
        expect(event.type).not.toBe("response.completed");
      }
    };
    await expect(read()).rejects.toMatchObject({ code: "stream_cut" });
  });

  it("refuse a response in the background, which nobody could ask for again", async ({ expect }) => {
    const key = await sceneOf(sandbox("sk-sandbox-ok"));
    const { status, body } = await post("/v1/responses", key, { model: "mix", input: "x", background: true });
    expect([status, body.error.code]).toEqual([400, "background_refused"]);
  });

  it("answer completions and embeddings", async ({ expect }) => {
    const key = await sceneOf(sandbox("sk-sandbox-ok"));
    const client = sdk(key);
    const completion = await client.completions.create({ model: "mix", prompt: "Say something." });
    expect(completion.choices[0]?.text.length).toBeGreaterThan(0);
    let text = "";
    for await (const chunk of await client.completions.create({
      model: "mix",
      prompt: "Say something.",
      stream: true,
    })) {
      text += chunk.choices[0]?.text ?? "";
    }
    expect(text).toBe(completion.choices[0]?.text);
    const vectors = await client.embeddings.create({ model: "sandbox-embed", input: ["a", "b"] });
    expect(vectors.data).toHaveLength(2);
    expect(vectors.usage.prompt_tokens).toBeGreaterThan(0);
  });

  it("answer images, moderations and rerank with the instance's own model", async ({ expect }) => {
    const key = await sceneOf(media("busy"), media("upstream-model"));
    const cases = [
      ["/v1/images/generations", { prompt: "x" }, '"b64_json":"upstream-model"'],
      ["/v1/moderations", { input: "x" }, '"model":"upstream-model"'],
      ["/v1/rerank", { query: "x", documents: ["a"] }, '"id":"upstream-model"'],
    ] as const;
    for (const [path, body, expected] of cases) {
      const { status, text } = await post(path, key, { model: "mix", ...body });
      expect([path, status]).toEqual([path, 200]);
      expect(text).toContain(expected);
    }
    const stream = await post("/v1/images/generations", key, { model: "mix", prompt: "x", stream: true });
    expect(stream.text.trimEnd().endsWith('"usage":{"input_tokens":3,"output_tokens":9}}')).toBe(true);
  });

  it("give speech byte for byte, and break it off where the provider did", async ({ expect }) => {
    const body = { model: "mix", input: "Hello", voice: "alloy" };
    const key = await sceneOf(media("html"), media("tts"));
    const whole = await raw("/v1/audio/speech", key, body);
    expect([whole.status, whole.headers.get("content-type")]).toEqual([200, "audio/mpeg"]);
    expect(whole.headers.get("x-gatehouse-attempts")).toBe("2");
    const bytes = new Uint8Array(await whole.arrayBuffer());
    expect(bytes).toEqual(Uint8Array.from({ length: 4_096 }, (_, index) => (index * 31) % 256));
    const cut = await raw("/v1/audio/speech", await sceneOf(media("cut")), body);
    expect(cut.status).toBe(200);
    await expect(cut.arrayBuffer()).rejects.toThrow(/./);
  });

  it("carry a file unharmed to be transcribed, and answer JSON, text and a stream", async ({ expect }) => {
    const client = sdk(await sceneOf(media("busy"), media("whisper")));
    const file = new File([new Uint8Array([0, 13, 10, 45, 45, 255])], "ä.wav");
    const heard = await client.audio.transcriptions.create({ model: "mix", file });
    expect(heard.text).toBe("whisper 0,13,10,45,45,255");
    const titles = await client.audio.transcriptions.create({ model: "mix", file, response_format: "srt" });
    expect(titles).toContain("00:00:01,000\nHello\n");
    const types: string[] = [];
    for await (const event of await client.audio.transcriptions.create({ model: "mix", file, stream: true })) {
      types.push(event.type);
    }
    expect(types).toEqual(["transcript.text.delta", "transcript.text.done"]);
  });

  it("refuse JSON where a form is expected, and a broken form", async ({ expect }) => {
    const key = await sceneOf(media("whisper"));
    const json = await post("/v1/audio/transcriptions", key, { model: "mix" });
    expect([json.status, json.body.error.code]).toEqual([415, "unsupported_media_type"]);
    const type = { "content-type": "multipart/form-data; boundary=x" };
    const form = await post("/v1/audio/transcriptions", key, "--x\r\n", type);
    expect([form.status, form.body.error.code]).toEqual([400, "malformed_form"]);
  });

  it("say which endpoint no provider of the model serves, and fall over to one that does", async ({ expect }) => {
    const alone = await sceneOf(sandbox("sk-sandbox-ok"));
    const refused = await post("/v1/moderations", alone, { model: "mix", input: "x" });
    expect([refused.status, refused.body.error.code]).toEqual([400, "endpoint_not_supported"]);
    expect(refused.body.error.message).toMatch(/^No provider behind `[^`]+` serves \/v1\/[a-z/]+\./);
    const both = await sceneOf(sandbox("sk-sandbox-ok"), media("m"));
    const served = await post("/v1/moderations", both, { model: "mix", input: "x" });
    expect([served.status, served.headers.get("x-gatehouse-instance")]).toEqual([200, "i1"]);
    expect(served.headers.get("x-gatehouse-attempts")).toBe("1");
  });
});

describe("Anthropic's endpoints", () => {
  it("answer messages as JSON and as a stream, and count tokens", async ({ expect }) => {
    const key = await sceneOf(sandbox("sk-sandbox-500"), sandbox("sk-sandbox-ok"));
    const body = { model: "mix", max_tokens: 100, messages };
    const whole = await post("/anthropic/v1/messages", key, body);
    expect([whole.status, whole.body.type, whole.headers.get("x-gatehouse-attempts")]).toEqual([200, "message", "2"]);
    expect(whole.headers.get("request-id")).toBe(whole.headers.get("x-request-id"));
    const stream = await post("/anthropic/v1/messages", key, { ...body, stream: true });
    expect(stream.text.startsWith("event: message_start\n")).toBe(true);
    expect(stream.text.trimEnd().endsWith('data: {"type":"message_stop"}')).toBe(true);
    const counted = await post("/anthropic/v1/messages/count_tokens", key, { model: "mix", messages });
    expect(counted.body.input_tokens).toBe(whole.body.usage.input_tokens);
  });

  it("end a broken stream by an error event and no message_stop", async ({ expect }) => {
    const key = await sceneOf(sandbox("sk-sandbox-cut"));
    const body = { model: "mix", max_tokens: 100, messages, stream: true };
    const { text } = await post("/anthropic/v1/messages", key, body);
    expect(text).not.toContain("message_stop");
    expect(text).toMatch(
      /event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"[^"]+"\}\}\n\n$/,
    );
  });

  it("pass the wire's own headers to an Anthropic upstream and no other, with its key in place of the caller's", async ({
    expect,
  }) => {
    const place = { ...media("claude"), provider: "anthropic" };
    const key = await sceneOf(place);
    const ask = async (headers: Record<string, string>) => {
      const { body } = await call("POST", "/anthropic/v1/messages", {
        body: { model: "mix", max_tokens: 9, messages },
        headers: { "x-api-key": key, ...headers },
      });
      return JSON.parse(body.content[0].text) as unknown;
    };
    expect(await ask({})).toEqual(["claude", "2023-06-01", null, null, null, true]);
    const sent = { "anthropic-version": "2024-01-01", "anthropic-beta": "a-1", "openai-beta": "x" };
    expect(await ask(sent)).toEqual(["claude", "2024-01-01", "a-1", null, null, true]);
  });

  it("refuse in Anthropic's shape whatever is refused", async ({ expect }) => {
    const key = await sceneOf(sandbox("sk-sandbox-429"));
    const path = "/anthropic/v1/messages";
    const answers = [
      [await call("POST", path, { body: {} }), 401, "authentication_error"],
      [await post(path, key, "{"), 400, "invalid_request_error"],
      [await post(path, key, { model: "nobody", messages }), 404, "not_found_error"],
      [await call("GET", path), 405, "invalid_request_error"],
      [await call("POST", "/anthropic/v1/nothing", { body: {} }), 404, "not_found_error"],
      [await post(path, key, { model: "mix", max_tokens: 9, messages }), 429, "rate_limit_error"],
      [await post(path, key, { model: "mix", max_tokens: 9, messages }), 503, "overloaded_error"],
    ] as const;
    for (const [{ status, body, headers }, expected, type] of answers) {
      expect([status, body.type, body.error.type]).toEqual([expected, "error", type]);
      expect(Object.keys(body.error)).toEqual(["type", "message"]);
      expect(body.request_id).toBe(headers.get("request-id"));
      expect(body.request_id).toMatch(/^req_/);
    }
    const models = await call("GET", "/anthropic/v1/models", { token: key });
    expect(models.body).toMatchObject({ has_more: false, first_id: "mix" });
    expect(models.body.data[0]).toMatchObject({ type: "model", id: "mix" });
    expect((await call("GET", "/anthropic/v1/models/mix", { token: key })).body.id).toBe("mix");
  });
});

describe("every endpoint", () => {
  it("refuses a call without a key, and another method, in its own shape", async ({ expect }) => {
    for (const { path } of endpoints) {
      const refused = await call("POST", path, { body: { model: "mix" } });
      expect([path, refused.status]).toEqual([path, 401]);
      expect("request_id" in refused.body).toBe(path.startsWith("/anthropic/"));
      const method = await call("GET", path);
      expect([path, method.status, method.headers.get("allow")]).toEqual([path, 405, "POST"]);
    }
  });
});
