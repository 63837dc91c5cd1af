/** The sandbox on its other wires: Responses, completions, Anthropic's messages and embeddings say the same as chat, each in its own words. */
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { utf8 } from "../../../src/base/bytes.js";
import { Secret } from "../../../src/base/secret.js";
import type { UpstreamEndpoint } from "../../../src/providers/contract.js";
import { knownModels } from "../../../src/providers/known-models.js";
import { toRequest } from "../../../src/gateway/send.js";
import { countTokens } from "../../../src/providers/sandbox/text.js";
import { sandbox } from "../../../src/providers/sandbox.js";
import { classifyAnswer, classifyInBand } from "../../../src/routing/classify.js";
import { deep, seed } from "../../support/deep.js";

const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const model = "sandbox-chat";

interface OutputItem {
  readonly type: string;
  readonly call_id: string;
  readonly content: readonly [{ readonly text: string }];
}

/** Every field that a test reads of an answer or an event, on whatever wire. */
interface Body {
  readonly choices: readonly [
    { readonly message: { readonly content: string }; readonly text: string; readonly finish_reason: string },
  ];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
  readonly output: readonly [OutputItem];
  readonly status: string;
  readonly content: readonly [{ readonly text: string; readonly name?: string; readonly id: string }];
  readonly stop_reason: string;
  readonly data: readonly { readonly index: number; readonly embedding: readonly number[] }[];
  readonly delta: unknown;
  readonly content_block: object;
  readonly response: Body;
  readonly sequence_number: number;
}

interface Streamed {
  readonly failed: boolean;
  readonly events: readonly { readonly name: string | undefined; readonly data: Body }[];
}

async function send(endpoint: UpstreamEndpoint, body: object, key = "sk-sandbox-ok"): Promise<Response> {
  const call = sandbox.request({
    endpoint,
    base_url: sandbox.default_base_url ?? "",
    options: {},
    api_key: new Secret(key),
    model,
    body: utf8(JSON.stringify(body)),
    headers: {},
    stream: "stream" in body,
  });
  if (sandbox.transport === undefined) {
    throw new Error("the sandbox answers inside the Worker");
  }
  return sandbox.transport(toRequest(call));
}

async function get(endpoint: UpstreamEndpoint, body: object, key?: string): Promise<Body> {
  return (await send(endpoint, body, key)).json();
}

async function play(endpoint: UpstreamEndpoint, body: object, key?: string): Promise<Streamed> {
  const response = await send(endpoint, { ...body, stream: true }, key);
  const reader = (response.body ?? new ReadableStream<Uint8Array>()).getReader();
  let text = "";
  let failed = false;
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      text += new TextDecoder().decode(piece.value);
    }
  } catch {
    failed = true;
  }
  const events = text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => {
      const data = /^data: (.*)$/m.exec(event)?.[1] ?? "";
      return { name: /^event: (.*)$/m.exec(event)?.[1], data: data === "[DONE]" ? data : JSON.parse(data) };
    });
  return { failed, events };
}

const namesOf = ({ events }: Streamed) => events.map(({ name }) => name);
const ofType = ({ events }: Streamed, type: string) => events.filter((event) => event.name === type);
const without = (names: readonly (string | undefined)[], dropped: string) => names.filter((name) => name !== dropped);

describe("any prompt on any wire", () => {
  it("gets the text, the finish and the usage that chat gives it, whole and streamed", async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "grapheme", minLength: 1 }),
        fc.integer({ min: 1, max: 80 }),
        async (content, max) => {
          const messages = [
            { role: "system", content: "Be brief." },
            { role: "user", content },
          ];
          const chat = await get("chat/completions", { model, messages, max_tokens: max });
          const text = chat.choices[0].message.content;
          const isCut = chat.choices[0].finish_reason === "length";
          const { prompt_tokens: input, completion_tokens: output } = chat.usage;

          const asResponse = { model, instructions: "Be brief.", input: content, max_output_tokens: max };
          const whole = await get("responses", asResponse);
          expect(whole.output[0].content[0].text).toBe(text);
          expect(whole.status).toBe(isCut ? "incomplete" : "completed");
          expect(whole.usage).toMatchObject({ input_tokens: input, output_tokens: output });
          const streamed = await play("responses", asResponse);
          expect(joinDeltas(streamed, "response.output_text.delta")).toBe(text);
          expect({ ...streamed.events.at(-1)?.data.response, created_at: 0 }).toEqual({ ...whole, created_at: 0 });
          expect(streamed.events.map(({ data }) => data.sequence_number)).toEqual([...streamed.events.keys()]);

          const asMessage = { model, system: "Be brief.", messages: [messages[1]], max_tokens: max };
          const message = await get("messages", asMessage);
          expect(message.content).toEqual([{ type: "text", text }]);
          expect(message.stop_reason).toBe(isCut ? "max_tokens" : "end_turn");
          expect(message.usage).toEqual({ input_tokens: input, output_tokens: output });
          const told = await play("messages", asMessage);
          expect(joinDeltas(told, "content_block_delta", "text")).toBe(text);
          expect(ofType(told, "message_delta")[0]?.data).toMatchObject({
            delta: { stop_reason: message.stop_reason },
            usage: { output_tokens: output },
          });
          expect(await get("messages/count_tokens", { ...asMessage, max_tokens: undefined })).toEqual({
            input_tokens: input,
          });
        },
      ),
      { numRuns: deep(15, 1_500), seed: seed() },
    );
  });

  it("calls the same tool with the same arguments, and answers its result in text", async ({ expect }) => {
    const text = "please use get_weather";
    const tool = { name: "get_weather", parameters: schema };
    const answers = {
      responses: { model, input: text, tools: [{ type: "function", ...tool }] },
      messages: {
        model,
        max_tokens: 100,
        messages: [{ role: "user", content: [{ type: "text", text }] }],
        tools: [{ name: "get_weather", input_schema: schema }],
      },
    };
    const response = await get("responses", answers.responses);
    expect(response.output).toMatchObject([
      { type: "function_call", name: "get_weather", arguments: '{"city":"sandbox"}', status: "completed" },
    ]);
    const streamed = await play("responses", answers.responses);
    expect(joinDeltas(streamed, "response.function_call_arguments.delta")).toBe('{"city":"sandbox"}');
    expect(streamed.events.at(-1)?.data.response.output).toEqual(response.output);
    const call = response.output[0];
    const next = await get("responses", {
      ...answers.responses,
      input: [
        { role: "user", content: text },
        call,
        { type: "function_call_output", call_id: call.call_id, output: "get_weather says rain" },
      ],
    });
    expect(next.output[0].content[0].text).toMatch(/^Sandbox answer/);

    const message = await get("messages", answers.messages);
    expect(message).toMatchObject({
      stop_reason: "tool_use",
      content: [{ type: "tool_use", name: "get_weather", input: { city: "sandbox" } }],
    });
    const told = await play("messages", answers.messages);
    expect(ofType(told, "content_block_start")[0]?.data.content_block).toEqual({ ...message.content[0], input: {} });
    expect(JSON.parse(joinDeltas(told, "content_block_delta", "partial_json"))).toEqual({ city: "sandbox" });
    const result = { type: "tool_result", tool_use_id: message.content[0].id, content: "get_weather says rain" };
    const answered = await get("messages", {
      ...answers.messages,
      messages: [
        ...answers.messages.messages,
        { role: "assistant", content: message.content },
        { role: "user", content: [result] },
      ],
    });
    expect(answered.content[0].text).toMatch(/^Sandbox answer/);
  });

  it("heeds what each wire says of the choice of tools", async ({ expect }) => {
    const base = { model, max_tokens: 100, messages: [{ role: "user", content: "hello" }] };
    const tools = [{ name: "clock" }, { name: "get_weather", input_schema: schema }];
    const used = async (choice: object) =>
      (await get("messages", { ...base, tools, tool_choice: choice })).content[0].name ?? null;
    expect(await used({ type: "auto" })).toBeNull();
    expect(await used({ type: "none" })).toBeNull();
    expect(await used({ type: "any" })).toBe("clock");
    expect(await used({ type: "tool", name: "get_weather" })).toBe("get_weather");
    const asked = async (choice: unknown) =>
      (
        await get("responses", {
          model,
          input: "hello",
          tools: [{ type: "function", name: "clock" }],
          tool_choice: choice,
        })
      ).output[0].type;
    expect(await asked("auto")).toBe("message");
    expect(await asked("required")).toBe("function_call");
    expect(await asked({ type: "function", name: "clock" })).toBe("function_call");
  });

  it("streams in the order that each vendor documents", async ({ expect }) => {
    const responses = namesOf(await play("responses", { model, input: "hi" }));
    expect(without(responses, "response.output_text.delta")).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    const messages = namesOf(
      await play("messages", { model, max_tokens: 9, messages: [{ role: "user", content: "hi" }] }),
    );
    expect(without(messages, "content_block_delta")).toEqual([
      "message_start",
      "content_block_start",
      "ping",
      "content_block_stop",
      "message_delta",
      "message_stop",
    ]);
    const text = await play("completions", {
      model,
      prompt: "hi",
      max_tokens: 5,
      stream_options: { include_usage: true },
    });
    expect(text.events.at(-1)?.data).toBe("[DONE]");
    expect(text.events.at(-2)?.data).toMatchObject({ choices: [], usage: { prompt_tokens: 4, completion_tokens: 5 } });
    const whole = await get("completions", { model, prompt: ["hi"], max_tokens: 5 });
    expect(whole).toMatchObject({ object: "text_completion", choices: [{ finish_reason: "length" }] });
    expect(
      text.events
        .slice(0, -2)
        .map(({ data }) => data.choices[0].text)
        .join(""),
    ).toBe(whole.choices[0].text);
    expect(countTokens(whole.choices[0].text)).toBe(5);
    expect((await get("completions", { model, prompt: "hi" })).usage.completion_tokens).toBe(16);
  });
});

function dot(a: readonly number[] = [], b: readonly number[] = []): number {
  return a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
}

function embed(more: object): Promise<Body> {
  return get("embeddings", { model: "sandbox-embed", ...more });
}

/** Joins the pieces that the deltas of one kind of event carry, in a field of theirs or as they are. */
function joinDeltas(streamed: Streamed, type: string, field?: string): string {
  return ofType(streamed, type)
    .map(({ data }) => (field === undefined ? data.delta : Reflect.get(Object(data.delta), field)))
    .join("");
}

describe("embeddings", () => {
  it("are unit vectors of the asked size, the same for the same text, whatever the text", async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: "grapheme", minLength: 1 }), { minLength: 1, maxLength: 4 }),
        fc.option(fc.integer({ min: 1, max: 3072 }), { nil: undefined }),
        async (input, dimensions) => {
          const answer = await embed({ input, dimensions });
          expect(answer.data.map((one) => one.index)).toEqual([...input.keys()]);
          for (const { embedding } of answer.data) {
            expect(embedding).toHaveLength(dimensions ?? 256);
            expect(dot(embedding, embedding)).toBeCloseTo(1, 5);
          }
          expect(await embed({ input, dimensions })).toEqual(answer);
          const tokens = input.reduce((sum, text) => sum + countTokens(text), 0);
          expect(answer.usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
        },
      ),
      { numRuns: deep(15, 1_500), seed: seed() },
    );
  });

  it("lie nearer the more words texts share, and say the same as base64", async ({ expect }) => {
    const input = ["a red boat on the sea", "The red boat at sea", "invoices are due on Friday"];
    const { data } = await embed({ input });
    const [boat, same, other] = data.map((one) => one.embedding);
    expect(dot(boat, same)).toBeGreaterThan(0.5);
    expect(dot(boat, other)).toBeLessThan(0.4);
    const packed = (await embed({ input: input[0], encoding_format: "base64" })).data[0]?.embedding;
    const bytes = Uint8Array.from(atob(String(packed)), (character) => character.codePointAt(0) ?? 0);
    expect([...new Float32Array(bytes.buffer)]).toEqual(boat);
    const tokens = await embed({ input: [[1, 2, 3], [4]] });
    expect(tokens.data).toHaveLength(2);
    expect(tokens.usage.prompt_tokens).toBe(4);
    expect((await embed({ input: [5, 6] })).data).toHaveLength(1);
  });

  it("refuses what is no input, and the chat model", async ({ expect }) => {
    for (const wrong of [
      {},
      { input: "" },
      { input: [] },
      { input: "x", dimensions: 0 },
      { input: "x".repeat(1_000_001) },
    ]) {
      const response = await send("embeddings", { model: "sandbox-embed", ...wrong });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error" } });
    }
    expect((await send("embeddings", { model, input: "x" })).status).toBe(404);
    const missing = await send("messages", {
      model: "sandbox-embed",
      max_tokens: 1,
      messages: [{ role: "user", content: "x" }],
    });
    expect(missing.status).toBe(404);
    expect(await missing.json()).toMatchObject({ type: "error", error: { type: "not_found_error" } });
  });
});

const calls: readonly (readonly [UpstreamEndpoint, object])[] = [
  ["chat/completions", { model, messages: [{ role: "user", content: "hi" }] }],
  ["completions", { model, prompt: "hi" }],
  ["responses", { model, input: "hi" }],
  ["messages", { model, max_tokens: 50, messages: [{ role: "user", content: "hi" }] }],
  ["messages/count_tokens", { model, messages: [{ role: "user", content: "hi" }] }],
  ["embeddings", { model: "sandbox-embed", input: "hi" }],
];

describe.for(calls)("misbehaviour of %s", ([endpoint, body]) => {
  const streams = endpoint !== "messages/count_tokens" && endpoint !== "embeddings";

  it("is of the class that its credential names, in the wire's own shape", async ({ expect }) => {
    for (const [key, kind] of [
      ["429", "rate_limit"],
      ["500", "transient"],
      ["401", "credential"],
      ["quota", "quota"],
    ] as const) {
      const response = await send(endpoint, body, `sk-sandbox-${key}`);
      const text = await response.text();
      const failure = classifyAnswer({ status: response.status, headers: response.headers, body: text }, 0);
      expect(failure, text).toMatchObject({ class: kind, retry_after_ms: key === "429" ? 5_000 : null });
      expect(JSON.parse(text).type === "error").toBe(endpoint.startsWith("messages"));
    }
  });

  it("breaks off where its credential says, and an error on a 200 is one", async ({ expect }) => {
    const response = await send(endpoint, body, "sk-sandbox-cut");
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
    const inside = await send(endpoint, body, "sk-sandbox-inband-error");
    expect(inside.status).toBe(200);
    const kind = endpoint.startsWith("messages") ? "overloaded" : "transient";
    expect(classifyInBand(await inside.json(), inside.headers, 0)?.class).toBe(kind);
    if (!streams) {
      return;
    }
    const whole = await play(endpoint, body);
    expect(whole.failed).toBe(false);
    const cut = await play(endpoint, body, "sk-sandbox-cut");
    expect(cut.failed).toBe(true);
    expect(JSON.stringify(whole.events.slice(0, cut.events.length).map(({ name }) => name))).toBe(
      JSON.stringify(namesOf(cut)),
    );
    const failed = await play(endpoint, body, "sk-sandbox-inband-error");
    expect(classifyInBand(failed.events.at(-1)?.data, new Headers(), 0)?.class).toBe(kind);
    expect(failed.events.slice(0, -1).some(({ data }) => classifyInBand(data, new Headers(), 0) !== null)).toBe(false);
  });
});

it("the models have prices, so that budgets can be tried without an account", async ({ expect }) => {
  for (const { model: name, price } of await knownModels("sandbox")) {
    expect(Number(price?.input_usd_per_mtok), name).toBeGreaterThan(0);
  }
  expect((await knownModels("sandbox")).map(({ model: name }) => name)).toEqual(["sandbox-chat", "sandbox-embed"]);
});
