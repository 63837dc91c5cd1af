import { describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../../../src/base/bytes.js";
import { AppError } from "../../../src/base/errors.js";
import { classifyAnswer, classifyInBand } from "../../../src/routing/classify.js";
import { openHold } from "../../../src/gateway/budget.js";
import { createSplitter } from "../../../src/gateway/sse.js";
import { findTranslator, type TranslationFacts } from "../../../src/gateway/translate/contract.js";
import { beginFromMessages } from "../../../src/gateway/translate/from-messages.js";
import { providers } from "../../../src/providers/catalogue.js";
import type { UpstreamEndpoint } from "../../../src/providers/contract.js";
import { serves } from "../../../src/providers/serving.js";
import { deep } from "../../support/deep.js";
import { dialectOf } from "../fake-stream.js";
import { eventsOf, openAiStream, upstreamOf } from "./recordings.js";
import { chatWire } from "./wires.js";

type Fields = Readonly<Record<string, unknown>>;

const hi: Fields = { role: "user", content: "Hi" };
const facts: TranslationFacts = { takesStreamOptions: true, capField: null };
const enabled: Fields = { thinking: { type: "enabled", budget_tokens: 2_000 } };

const anyRoom = openHold({ maxBytes: 64 * 1_048_576, usedBytes: 0 });

function begin(request: Fields): Extract<ReturnType<typeof beginFromMessages>, { kind: "call" }> {
  const body = utf8(JSON.stringify({ model: "gpt-5", max_tokens: 100, messages: [hi], ...request }));
  const begun = beginFromMessages(body, facts);
  if (begun.kind !== "call") {
    throw new Error("messages are a call");
  }
  return begun;
}

function translated(request: Fields): Fields {
  return chatWire.parse(JSON.parse(fromUtf8(begin(request).body)));
}

function refusal(request: Fields): unknown {
  try {
    translated(request);
  } catch (error) {
    return error instanceof AppError ? [error.code, error.errors[0]?.pointer] : error;
  }
  return null;
}

async function answer(completion: unknown, status = 200, request: Fields = {}): Promise<Fields> {
  return await begin(request).respond(anyRoom, Response.json(completion, { status })).json();
}

async function read(response: Response, request: Fields = enabled): Promise<string> {
  return await begin({ stream: true, ...request })
    .respond(anyRoom, response)
    .text();
}

const said = (model: string, more: Fields = enabled): unknown => {
  const { max_tokens, max_completion_tokens, reasoning_effort } = translated({ model, ...more });
  return [max_tokens, max_completion_tokens, reasoning_effort];
};

const stop = async (choice: Fields): Promise<unknown> => {
  const { stop_reason, stop_sequence } = await answer(completion({ message: { content: "x" }, ...choice }));
  return [stop_reason, stop_sequence];
};

const message: Fields = {
  role: "assistant",
  content: "Let me see.",
  reasoning_content: "hm",
  tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: '{"a":[1]}' } }],
};

const completion = (choice: Fields): Fields => ({
  id: "chatcmpl-1",
  object: "chat.completion",
  model: "gpt-5",
  choices: [{ index: 0, message, finish_reason: "tool_calls", ...choice }],
  usage: {
    prompt_tokens: 17,
    completion_tokens: 4,
    prompt_tokens_details: { cached_tokens: 5, cache_write_tokens: 2 },
  },
});

const blockEvents = (index: number, content: Fields, deltas: readonly Fields[]): readonly Fields[] => [
  { type: "content_block_start", index, content_block: content },
  ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
  { type: "content_block_stop", index },
];

const calls = (...list: readonly Fields[]): string =>
  list
    .map((call) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: [call] } }] })}\n\n`)
    .join("");

const classOf = (status: number, value: unknown): string =>
  classifyAnswer({ status, headers: new Headers(), body: JSON.stringify(value) }, 0).class;

describe("messages on OpenAI's wire", () => {
  test("say the same: system, pictures, documents, calls, results that come first, limits", () => {
    const png = { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } };
    expect(
      translated({
        system: [
          { type: "text", text: "Be terse.", cache_control: { type: "ephemeral" } },
          { type: "text", text: "Be kind." },
        ],
        messages: [
          {
            role: "user",
            content: [
              { type: "text", text: "Look" },
              png,
              { type: "image", source: { type: "url", url: "https://x.example/a.png" } },
              {
                type: "document",
                title: "a.pdf",
                source: { type: "base64", media_type: "application/pdf", data: "BBBB" },
              },
              { type: "document", source: { type: "text", media_type: "text/plain", data: "Plain." } },
            ],
          },
          {
            role: "assistant",
            content: [
              { type: "thinking", thinking: "theirs", signature: "signed" },
              { type: "thinking", thinking: "ours", signature: "" },
              { type: "redacted_thinking", data: "x" },
              { type: "tool_use", id: "t1", name: "f", input: { a: 1 } },
              { type: "tool_use", id: "t2", name: "f", input: {} },
            ],
          },
          {
            role: "user",
            content: [
              { type: "tool_result", tool_use_id: "t1", content: [{ type: "text", text: "one" }, png] },
              { type: "tool_result", tool_use_id: "t2", content: "gone", is_error: true },
              { type: "text", text: "Go on" },
            ],
          },
        ],
        stream: true,
        stop_sequences: ["END"],
        temperature: 0.5,
        tools: [
          {
            name: "f",
            description: "d",
            input_schema: { type: "object" },
            strict: true,
            cache_control: { type: "ephemeral" },
          },
        ],
        tool_choice: { type: "any", disable_parallel_tool_use: true },
        thinking: { type: "enabled", budget_tokens: 8_000 },
        output_config: { format: { type: "json_schema", schema: { type: "object" } } },
        metadata: { user_id: "u1" },
        context_management: { edits: [] },
        service_tier: "auto",
      }),
    ).toEqual({
      model: "gpt-5",
      messages: [
        { role: "system", content: "Be terse.\n\nBe kind." },
        {
          role: "user",
          content: [
            { type: "text", text: "Look" },
            { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
            { type: "image_url", image_url: { url: "https://x.example/a.png" } },
            { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,BBBB" } },
            { type: "text", text: "Plain." },
          ],
        },
        {
          role: "assistant",
          content: null,
          reasoning_content: "ours",
          tool_calls: [
            { id: "t1", type: "function", function: { name: "f", arguments: '{"a":1}' } },
            { id: "t2", type: "function", function: { name: "f", arguments: "{}" } },
          ],
        },
        { role: "tool", tool_call_id: "t1", content: "one" },
        { role: "tool", tool_call_id: "t2", content: "Error: gone" },
        {
          role: "user",
          content: [
            { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
            { type: "text", text: "Go on" },
          ],
        },
      ],
      max_completion_tokens: 100,
      stream: true,
      stream_options: { include_usage: true },
      stop: ["END"],
      temperature: 0.5,
      tools: [
        { type: "function", function: { name: "f", description: "d", parameters: { type: "object" }, strict: true } },
      ],
      tool_choice: "required",
      parallel_tool_calls: false,
      reasoning_effort: "medium",
      response_format: {
        type: "json_schema",
        json_schema: { name: "answer", schema: { type: "object" }, strict: true },
      },
      user: "u1",
    });
  });

  test("cap and reason in the words that a model takes", () => {
    expect(said("openai/gpt-5-mini")).toEqual([undefined, 100, "low"]);
    expect(said("gpt-4o")).toEqual([100, undefined, undefined]);
    expect(said("openai/gpt-oss-20b", { output_config: { effort: "max" } })).toEqual([100, undefined, "high"]);
    expect(said("deepseek-chat", { thinking: { type: "adaptive" } })).toEqual([100, undefined, undefined]);
    const deployed = beginFromMessages(utf8(JSON.stringify({ model: "east", max_tokens: 7, messages: [hi] })), {
      ...facts,
      capField: "max_completion_tokens",
    });
    expect(deployed.kind === "call" && fromUtf8(deployed.body)).toContain('"max_completion_tokens":7');
    expect(said("o3", { thinking: { type: "disabled" } })).toEqual([undefined, 100, undefined]);
  });

  test("are refused by the field's name where a chat cannot say it", () => {
    const block = (content: Fields): Fields => ({ messages: [{ role: "user", content: [content] }] });
    const cases: readonly (readonly [Fields, string])[] = [
      [{ top_k: 5 }, "/top_k"],
      [{ container: "c1" }, "/container"],
      [{ mcp_servers: [{ url: "https://x.example" }] }, "/mcp_servers"],
      [{ output_config: { later: 1 } }, "/output_config/later"],
      [{ tools: [{ type: "web_search_20250305", name: "web_search" }] }, "/tools/0/type"],
      [
        { tools: [{ name: "f", input_schema: { type: "object" } }], tool_choice: { type: "later" } },
        "/tool_choice/type",
      ],
      [{ messages: [hi, { role: "assistant", content: "{" }] }, "/messages/1"],
      [{ messages: [{ role: "tool", content: "x" }] }, "/messages/0/role"],
      [block({ type: "search_result", source: "s" }), "/messages/0/content/0/type"],
      [
        block({ type: "document", source: { type: "text", data: "x" }, citations: { enabled: true } }),
        "/messages/0/content/0/citations",
      ],
      [
        block({ type: "document", source: { type: "text", data: "x" }, context: "Signed in 1815." }),
        "/messages/0/content/0/context",
      ],
      [
        block({ type: "document", source: { type: "content", content: [{ type: "search_result" }] } }),
        "/messages/0/content/0/source/content/0/type",
      ],
      [block({ type: "image", source: { type: "file", file_id: "f" } }), "/messages/0/content/0/source"],
      [
        block({ type: "document", source: { type: "url", url: "https://x.example/a.pdf" } }),
        "/messages/0/content/0/source",
      ],
      [
        block({ type: "tool_result", tool_use_id: "t", content: [{ type: "tool_reference" }] }),
        "/messages/0/content/0/content/0/type",
      ],
    ];
    for (const [request, pointer] of cases) {
      expect(refusal(request)).toEqual(["untranslatable", pointer]);
    }
    expect(refusal({ max_tokens: null })).toEqual(["validation_failed", "/max_tokens"]);
  });
});

describe("an answer of OpenAI on Anthropic's wire", () => {
  test("brings text, calls and counts apart from the cache; reasoning only to who asked to see thinking", async () => {
    const text = { type: "text", text: "Let me see.", citations: null };
    const call = { type: "tool_use", id: "c1", name: "f", input: { a: [1] } };
    const whole = {
      id: "msg_1",
      type: "message",
      role: "assistant",
      model: "gpt-5",
      content: [text, call],
      stop_reason: "tool_use",
      stop_sequence: null,
      stop_details: null,
      usage: { input_tokens: 10, cache_creation_input_tokens: 2, cache_read_input_tokens: 5, output_tokens: 4 },
    };
    expect(await answer(completion({}))).toEqual(whole);
    const thought = { type: "thinking", thinking: "hm", signature: "" };
    expect(await answer(completion({}), 200, enabled)).toEqual({ ...whole, content: [thought, text, call] });
  });

  test("ends for the reason that the model had", async () => {
    expect(await stop({ finish_reason: "stop" })).toEqual(["end_turn", null]);
    expect(await stop({ finish_reason: "stop", stop_reason: "END" })).toEqual(["stop_sequence", "END"]);
    expect(await stop({ finish_reason: "length" })).toEqual(["max_tokens", null]);
    expect(await stop({ finish_reason: "content_filter" })).toEqual(["refusal", null]);
    expect(await stop({ finish_reason: "stop", message })).toEqual(["tool_use", null]);
    expect(await stop({ finish_reason: "stop", message: { refusal: "No." } })).toEqual(["refusal", null]);
  });

  test("never shows half a call: one that the limit cut off is left out, a broken one spoils the answer", async () => {
    const broken = {
      ...message,
      tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: '{"a":' } }],
    };
    const cut = await answer(completion({ message: broken, finish_reason: "length" }));
    expect([cut["content"], cut["stop_reason"]]).toEqual([
      [{ type: "text", text: "Let me see.", citations: null }],
      "max_tokens",
    ]);
    expect(
      await begin({})
        .respond(anyRoom, Response.json(completion({ message: broken })))
        .text(),
    ).toBe("");
  });

  test("keeps an error's meaning, so that it is classed as it was", async () => {
    const cases: readonly (readonly [number, Fields, string])[] = [
      [
        400,
        { error: { message: "Too long", type: "invalid_request_error", param: null, code: "context_length_exceeded" } },
        "invalid_request_error",
      ],
      [
        401,
        { error: { message: "Incorrect API key", type: "invalid_request_error", code: "invalid_api_key" } },
        "authentication_error",
      ],
      [404, { error: { message: "No such model", code: "model_not_found" } }, "not_found_error"],
      [429, { error: { message: "You have no quota", type: "insufficient_quota" } }, "rate_limit_error"],
      [429, { error: { message: "Slow down", code: 429, status: "RESOURCE_EXHAUSTED" } }, "rate_limit_error"],
      [500, { detail: "Internal" }, "api_error"],
      [503, { error: { message: "Busy", type: "server_error" } }, "overloaded_error"],
    ];
    for (const [status, body, type] of cases) {
      const told = await answer(body, status);
      expect(told).toMatchObject({ type: "error", error: { type, message: expect.any(String) } });
      expect(classOf(status, told)).toBe(classOf(status, body));
    }
    for (const [, body] of cases.filter(([, { error }]) => error !== undefined)) {
      const told = await answer(body);
      expect(classifyInBand(told, new Headers(), 0)?.class).toBe(classifyInBand(body, new Headers(), 0)?.class);
    }
  });
});

describe("a stream of OpenAI on Anthropic's wire", () => {
  const whole = utf8(openAiStream.join(""));

  test("brings each piece at once, block after block, and the counts at its end", async () => {
    const usage = { input_tokens: 15, cache_creation_input_tokens: 0, cache_read_input_tokens: 20, output_tokens: 31 };
    const events = eventsOf(await read(upstreamOf(whole, 1_000)));
    expect(events[0]).toMatchObject({
      type: "message_start",
      message: { id: "msg_9", model: "gpt-5", content: [], stop_reason: null },
    });
    expect(events.slice(1)).toEqual([
      ...blockEvents(0, { type: "thinking", thinking: "", signature: "" }, [
        { type: "thinking_delta", thinking: "Paris " },
        { type: "thinking_delta", thinking: "first." },
      ]),
      ...blockEvents(1, { type: "text", text: "", citations: null }, [
        { type: "text_delta", text: "Grüße " },
        { type: "text_delta", text: "世界" },
      ]),
      ...blockEvents(2, { type: "tool_use", id: "call_1", name: "weather", input: {} }, [
        { type: "input_json_delta", partial_json: '{"city":' },
        { type: "input_json_delta", partial_json: '"Paris"}' },
      ]),
      ...blockEvents(3, { type: "tool_use", id: "call_2", name: "clock", input: {} }, [
        { type: "input_json_delta", partial_json: "{}" },
      ]),
      {
        type: "message_delta",
        delta: { stop_reason: "tool_use", stop_sequence: null, stop_details: null },
        usage: { ...usage, output_tokens_details: { thinking_tokens: 6 } },
      },
      { type: "message_stop" },
    ]);
    const unasked = await read(upstreamOf(whole, 1_000), {});
    expect(unasked).not.toContain("Paris first");
    expect(eventsOf(unasked).filter((event) => (event as Fields)["type"] === "ping")).toHaveLength(2);
  });

  test("is the same however its bytes are cut, and cut at any byte it has no end", async () => {
    const { readMeaning } = dialectOf("messages");
    const text = await read(upstreamOf(whole, whole.length));
    for (const size of [1, 7, 61]) {
      expect(await read(upstreamOf(whole, size))).toBe(text);
    }
    // The last event is whole from its bracket on.
    const end = whole.length - 2;
    for (let at = 0; at < end; at += deep(5, 1)) {
      const part = await read(upstreamOf(whole.subarray(0, at), 512));
      expect(text.startsWith(part)).toBe(true);
      const meanings = createSplitter().push(utf8(part)).map(readMeaning);
      expect(meanings.some(({ kind }) => kind === "done")).toBe(false);
    }
    await expect(read(upstreamOf(whole.subarray(0, 700), 64, "error"))).rejects.toThrow("connection lost");
  });

  test("ends in its error, and one that is done without a finish has no end", async () => {
    const error = 'data: {"error":{"message":"Slow down","type":"tokens","code":"rate_limit_exceeded"}}\n\n';
    const events = eventsOf(await read(upstreamOf(utf8(openAiStream.slice(0, 5).join("") + error), 100)));
    expect(events.at(-1)).toEqual({
      type: "error",
      error: { type: "rate_limit_error", message: "Slow down", code: "rate_limit_exceeded" },
    });
    const covered = openAiStream.filter((event) => !event.includes('"tool_calls"}'));
    expect(covered).toHaveLength(openAiStream.length - 1);
    expect(await read(upstreamOf(utf8(covered.join("")), 100))).not.toContain("message_stop");
  });

  test("tells apart calls that a server numbers alike, and breaks off where it goes back to one", async () => {
    const alike = calls(
      { index: 0, id: "a", function: { name: "f", arguments: '{"x":1}' } },
      { index: 0, id: "b", function: { name: "f", arguments: '{"x":2}' } },
    );
    const starts = eventsOf(await read(upstreamOf(utf8(alike), 100))).filter(
      (event) => (event as Fields)["content_block"] !== undefined,
    );
    expect(starts.map((event) => ((event as Fields)["content_block"] as Fields)["id"])).toEqual(["a", "b"]);
    const back = calls(
      { index: 0, id: "a", function: { name: "f", arguments: "{" } },
      { index: 1, id: "b", function: { name: "f", arguments: "{}" } },
      { index: 0, function: { arguments: "}" } },
    );
    await expect(read(upstreamOf(utf8(back), 10_000))).rejects.toThrow("had left");
  });
});

describe("a provider's stand-in", () => {
  test("is found wherever the catalogue says that a provider serves an endpoint it does not have", () => {
    const asked: readonly UpstreamEndpoint[] = [
      "chat/completions",
      "messages",
      "messages/count_tokens",
      "embeddings",
      "rerank",
    ];
    for (const provider of providers) {
      for (const endpoint of asked) {
        const isServed = provider.endpoints.includes(endpoint) || findTranslator(endpoint, provider) !== null;
        expect([provider.name, endpoint, isServed]).toEqual([provider.name, endpoint, serves(provider.name, endpoint)]);
      }
    }
  });

  test("counts tokens without a call, and says that it is an estimate", async () => {
    const translator = findTranslator("messages/count_tokens", { endpoints: ["chat/completions"] });
    const count = async (request: Fields): Promise<number> => {
      const counted = await translator?.begin(utf8(JSON.stringify(request)), facts);
      if (counted?.kind !== "answer") {
        throw new Error("no call is to be made");
      }
      expect(counted.response.headers.get("x-gatehouse-estimate")).toBe("true");
      return (await counted.response.json<{ input_tokens: number }>()).input_tokens;
    };
    const words = { role: "user", content: "one two three four ".repeat(100) };
    // Some 400 words of one token each; a picture counts as one, not as its bytes.
    const plain = await count({ messages: [words] });
    expect(plain).toBeGreaterThan(400);
    expect(plain).toBeLessThan(700);
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "A".repeat(500_000) } };
    const pictured = await count({ messages: [words, { role: "user", content: [image] }] });
    expect(pictured - plain).toBeGreaterThan(1_000);
    expect(pictured - plain).toBeLessThan(2_000);
    expect(
      await count({ system: "Be terse.", messages: [words], tools: [{ name: "f", input_schema: { type: "object" } }] }),
    ).toBeGreaterThan(plain);
  });

  test("takes no body that would not fit beside its translation", async () => {
    const translator = findTranslator("messages", { endpoints: ["chat/completions"] });
    const begun = translator?.begin(new Uint8Array(10 * 1_048_576 + 1), facts);
    await expect(begun).rejects.toMatchObject({ code: "body_too_large" });
  });
});
