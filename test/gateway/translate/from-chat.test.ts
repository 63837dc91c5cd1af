import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../../../src/base/bytes.js";
import { AppError } from "../../../src/base/errors.js";
import { toChatEvents } from "../../../src/gateway/translate/chat-stream.js";
import type { TranslationFacts } from "../../../src/gateway/translate/contract.js";
import { beginFromChat } from "../../../src/gateway/translate/from-chat.js";
import { beginFromMessages } from "../../../src/gateway/translate/from-messages.js";
import { toMessagesEvents } from "../../../src/gateway/translate/messages-stream.js";
import { openHold } from "../../../src/gateway/budget.js";
import { createSplitter } from "../../../src/gateway/sse.js";
import { dialectOf } from "../fake-stream.js";
import { deep, seed } from "../../support/deep.js";
import { anthropicStream, eventsOf, upstreamOf } from "./recordings.js";
import { chatWire, messagesWire } from "./wires.js";

type Fields = Readonly<Record<string, unknown>>;

const hi: Fields = { role: "user", content: "Hi" };

const anyRoom = openHold({ maxBytes: 64 * 1_048_576, usedBytes: 0 });

function begin(request: Fields): Extract<ReturnType<typeof beginFromChat>, { kind: "call" }> {
  const begun = beginFromChat(utf8(JSON.stringify({ model: "claude-sonnet-4-5", messages: [hi], ...request })));
  if (begun.kind !== "call") {
    throw new Error("a chat is a call");
  }
  return begun;
}

/** The body for the other wire, which is valid there. */
function translated(request: Fields): Fields {
  return messagesWire.parse(JSON.parse(fromUtf8(begin(request).body)));
}

function refusal(request: Fields): unknown {
  try {
    translated(request);
  } catch (error) {
    return error instanceof AppError ? [error.code, error.errors[0]?.pointer] : error;
  }
  return null;
}

async function answer(message: unknown, status = 200): Promise<unknown> {
  return await begin({}).respond(anyRoom, Response.json(message, { status })).json();
}

function thinking(model: string, more: Fields = {}): unknown {
  const { thinking: field, output_config: config } = translated({ model, reasoning_effort: "high", ...more });
  return [field, config];
}

function budget(tokens: number): unknown {
  return [{ type: "enabled", budget_tokens: tokens }, undefined];
}

const nothing = [undefined, undefined];

function cap(model: string): unknown {
  return translated({ model })["max_tokens"];
}

async function respond(body: string, status: number): Promise<string> {
  return await begin({}).respond(anyRoom, new Response(body, { status })).text();
}

async function read(response: Response): Promise<string> {
  const asked = begin({ stream: true, stream_options: { include_usage: true } });
  const text = await asked.respond(anyRoom, response).text();
  // The clock may move on between two readings.
  return text.replaceAll(/"created":\d+/g, '"created":0');
}

function callDelta(index: number, fields: Fields): Fields {
  return { tool_calls: [{ index, ...fields }] };
}

describe("a chat request on Anthropic's wire", () => {
  const tool = { type: "function", function: { name: "f", description: "d", parameters: { type: "object" } } };

  test("says the same: words of the system, pictures, calls with their results, limits and who asks", () => {
    expect(
      translated({
        messages: [
          { role: "developer", content: "Be terse." },
          {
            role: "user",
            content: [
              { type: "text", text: "Look" },
              { type: "image_url", image_url: { url: "data:image/png;base64,AAAA", detail: "low" } },
            ],
          },
          {
            role: "user",
            content: [
              { type: "image_url", image_url: { url: "https://x.example/a.png" } },
              { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,BBBB" } },
            ],
          },
          {
            role: "assistant",
            // Anthropic refuses white space alone, which some models write before a call.
            content: "\n\n",
            thinking_blocks: [
              { type: "thinking", thinking: "hm", signature: "s" },
              { type: "thinking", thinking: "unsigned" },
            ],
            tool_calls: [
              { id: "c1", type: "function", function: { name: "f", arguments: '{"a":1}' } },
              { id: "c2", type: "function", function: { name: "f", arguments: "" } },
            ],
          },
          { role: "tool", tool_call_id: "c1", content: "one" },
          {
            role: "tool",
            tool_call_id: "c2",
            content: [{ type: "text", text: "two", cache_control: { type: "ephemeral" } }],
          },
          { role: "user", content: "Go on" },
          { role: "system", content: "Stay terse." },
        ],
        max_tokens: 900,
        max_completion_tokens: 700,
        stream: true,
        stop: "END",
        temperature: 0.5,
        tools: [tool],
        tool_choice: { type: "function", function: { name: "f" } },
        parallel_tool_calls: false,
        response_format: { type: "json_schema", json_schema: { name: "n", schema: { type: "object" } } },
        user: "u1",
        // None of these asks for anything here.
        n: 1,
        seed: 7,
        logprobs: false,
        presence_penalty: 0,
        top_p: null,
        store: true,
        modalities: ["text"],
      }),
    ).toEqual({
      model: "claude-sonnet-4-5",
      max_tokens: 700,
      system: [
        { type: "text", text: "Be terse." },
        { type: "text", text: "Stay terse." },
      ],
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "Look" },
            { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } },
            { type: "image", source: { type: "url", url: "https://x.example/a.png" } },
            {
              type: "document",
              source: { type: "base64", media_type: "application/pdf", data: "BBBB" },
              title: "a.pdf",
            },
          ],
        },
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "hm", signature: "s" },
            { type: "tool_use", id: "c1", name: "f", input: { a: 1 } },
            { type: "tool_use", id: "c2", name: "f", input: {} },
          ],
        },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "c1", content: [{ type: "text", text: "one" }] },
            {
              type: "tool_result",
              tool_use_id: "c2",
              content: [{ type: "text", text: "two", cache_control: { type: "ephemeral" } }],
            },
            { type: "text", text: "Go on" },
          ],
        },
      ],
      stream: true,
      stop_sequences: ["END"],
      temperature: 0.5,
      tools: [{ name: "f", description: "d", input_schema: { type: "object" } }],
      tool_choice: { type: "tool", name: "f", disable_parallel_tool_use: true },
      output_config: { format: { type: "json_schema", schema: { type: "object" } } },
      metadata: { user_id: "u1" },
    });
  });

  test("is refused by the field's name where Anthropic cannot say it, not answered as if it had not been asked", () => {
    const assistant = (fields: Fields): Fields => ({ messages: [hi, { role: "assistant", ...fields }] });
    const part = (content: Fields): Fields => ({ messages: [{ role: "user", content: [content] }] });
    const cases: readonly (readonly [Fields, string])[] = [
      [{ n: 2 }, "/n"],
      [{ logprobs: true }, "/logprobs"],
      [{ logit_bias: { "5": 1 } }, "/logit_bias"],
      [{ frequency_penalty: 0.1 }, "/frequency_penalty"],
      [{ "future/field": 1 }, "/future~1field"],
      [{ temperature: 1.2 }, "/temperature"],
      [{ stop: ["\n"] }, "/stop"],
      [{ response_format: { type: "json_object" } }, "/response_format"],
      [{ tools: [{ type: "custom", custom: { name: "x" } }] }, "/tools/0/type"],
      [{ tools: [tool], tool_choice: { type: "allowed_tools" } }, "/tool_choice"],
      [{ functions: [{ name: "f" }] }, "/functions"],
      [{ modalities: ["text", "audio"] }, "/modalities"],
      [{ messages: [{ role: "function", name: "f", content: "1" }] }, "/messages/0/role"],
      [assistant({ function_call: { name: "f", arguments: "{}" } }), "/messages/1/function_call"],
      [
        assistant({ tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "[1]" } }] }),
        "/messages/1/tool_calls/0/function/arguments",
      ],
      [part({ type: "input_audio", input_audio: { data: "AA" } }), "/messages/0/content/0/type"],
      [
        part({ type: "image_url", image_url: { url: "data:image/bmp;base64,AA" } }),
        "/messages/0/content/0/image_url/url",
      ],
      [part({ type: "file", file: { file_id: "file-1" } }), "/messages/0/content/0/file"],
    ];
    for (const [request, pointer] of cases) {
      expect(refusal(request)).toEqual(["untranslatable", pointer]);
    }
    expect(refusal({ messages: "Hi" })).toEqual(["validation_failed", "/messages"]);
    expect(refusal({ messages: [{ role: "user", content: { text: "Hi" } }] })).toEqual([
      "validation_failed",
      "/messages/0/content",
    ]);
    expect(refusal({ reasoning: { max_tokens: 2_000 } })).toEqual(["untranslatable", "/reasoning/max_tokens"]);
    expect(refusal({ reasoning: { effort: "low", exclude: true } })).toEqual(["untranslatable", "/reasoning/exclude"]);
    expect(refusal({ messages: [hi, { role: "tool", content: "1" }] })).toEqual([
      "validation_failed",
      "/messages/1/tool_call_id",
    ]);
  });

  test("tells each generation of models to think in its own way, and leaves it where thinking would be refused", () => {
    expect(thinking("claude-opus-4-6")).toEqual([{ type: "adaptive" }, { effort: "high" }]);
    expect(thinking("anthropic/claude-sonnet-5-20260301", { reasoning_effort: "minimal" })).toEqual([
      { type: "adaptive" },
      { effort: "low" },
    ]);
    expect(thinking("claude-sonnet-4-20250514")).toEqual(budget(16_384));
    expect(thinking("kimi-k3", { max_tokens: 5_000 })).toEqual(budget(2_500));
    expect(thinking("claude-sonnet-4-5", { max_tokens: 2_000 })).toEqual(nothing);
    expect(thinking("claude-3-5-haiku-latest")).toEqual(nothing);
    expect(thinking("claude-opus-4-6", { reasoning_effort: "none" })).toEqual(nothing);
    expect(thinking("claude-opus-4-6", { tools: [tool], tool_choice: "required" })).toEqual(nothing);
    const call = {
      role: "assistant",
      tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }],
    };
    const loop = [hi, call, { role: "tool", tool_call_id: "c", content: "1" }];
    expect(thinking("claude-sonnet-4-5", { messages: loop })).toEqual(nothing);
    const thought = { ...call, thinking_blocks: [{ type: "redacted_thinking", data: "x" }] };
    expect(thinking("claude-sonnet-4-5", { messages: [hi, thought, loop[2]] })).toEqual(budget(16_384));
  });

  test("always says how much may be answered, within what the model allows", () => {
    expect(["claude-3-haiku-20240307", "claude-opus-4-1", "claude-opus-4-5", "glm-5"].map(cap)).toEqual([
      4_096, 32_000, 64_000, 8_192,
    ]);
  });

  test("comes back the same when it is translated to and fro, whatever was talked about", () => {
    const filled = fc.string({ minLength: 1, unit: "grapheme" }).filter((text) => text.trim() !== "");
    const call = fc.record({
      name: filled,
      input: fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }),
    });
    const round = fc.record({ asked: filled, said: fc.option(filled), calls: fc.array(call, { maxLength: 3 }) });
    fc.assert(
      fc.property(fc.array(round, { minLength: 1, maxLength: 4 }), fc.option(filled), (rounds, system) => {
        let calls = 0;
        const messages = [
          ...(system === null ? [] : [{ role: "system", content: system }]),
          ...rounds.flatMap(({ asked, said, calls: made }) => {
            const named = made.map(({ name, input }) => ({
              id: `c${(calls += 1)}`,
              type: "function",
              function: { name, arguments: JSON.stringify(input) },
            }));
            const results = named.map(({ id }) => ({ role: "tool", tool_call_id: id, content: `result of ${id}` }));
            const answered = named.length > 0 ? { content: said, tool_calls: named } : { content: said ?? "ok" };
            return [{ role: "user", content: asked }, { role: "assistant", ...answered }, ...results];
          }),
          // A chat cannot end with an answer, and a user's words after results stand in one turn with them.
          { role: "user", content: "go on" },
        ];
        const there = translated({ messages, max_tokens: 100 });
        const back = beginFromMessages(utf8(JSON.stringify(there)), { takesStreamOptions: false, capField: null });
        const request: Fields = back.kind === "call" ? chatWire.parse(JSON.parse(fromUtf8(back.body))) : {};
        // Each turn's words keep their order; what one user says after another is one turn there.
        expect(flatten(request["messages"])).toEqual(flatten(messages));
      }),
      { numRuns: deep(60, 800), seed: seed() },
    );
  });

  test("is read or refused, whatever it holds: no text of a caller's is trouble of ours", () => {
    const names = [
      "role",
      "content",
      "type",
      "text",
      "tool_calls",
      "function",
      "arguments",
      "image_url",
      "url",
      "constructor",
      "file",
    ];
    const words = fc.constantFrom(
      "user",
      "assistant",
      "tool",
      "text",
      "function",
      "constructor",
      "toString",
      "__proto__",
      "{}",
      "",
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 4 }, words, fc.integer(), fc.constant(null), tie("list"), tie("record")),
      list: fc.array(tie("value"), { maxLength: 3 }),
      record: fc.dictionary(fc.constantFrom(...names), tie("value"), { maxKeys: 4 }),
    }));
    const fields = [
      "tools",
      "tool_choice",
      "stop",
      "response_format",
      "reasoning_effort",
      "system",
      "thinking",
      "constructor",
    ];
    const request = fc.record({
      messages: fc.array(value, { maxLength: 3 }),
      more: fc.dictionary(fc.constantFrom(...fields), value, { maxKeys: 2 }),
    });
    const facts: TranslationFacts = { takesStreamOptions: true, capField: null };
    const event = fc.record({
      type: words,
      index: value,
      delta: value,
      choices: value,
      content_block: value,
      message: value,
      error: value,
    });
    fc.assert(
      fc.property(request, fc.array(event, { maxLength: 3 }), ({ messages, more }, events) => {
        const body = utf8(JSON.stringify({ model: "m", max_tokens: 9, messages, ...more }));
        for (const translate of [() => beginFromChat(body), () => beginFromMessages(body, facts)]) {
          const thrown = thrownBy(translate);
          expect(thrown === null || thrown instanceof AppError).toBe(true);
        }
        for (const start of [() => toChatEvents(true), () => toMessagesEvents(true)]) {
          const translate = start();
          const told = events.map((one) => {
            const data = JSON.stringify(one);
            return thrownBy(() => translate({ bytes: utf8(data), name: one.type, data }));
          });
          expect(told.filter((error) => error instanceof TypeError)).toEqual([]);
        }
      }),
      { numRuns: deep(150, 20_000), seed: seed() },
    );
  });
});

function thrownBy(act: () => unknown): unknown {
  try {
    act();
    return null;
  } catch (error) {
    return error;
  }
}

/** What is said and called, in order, whether or not neighbours of one role are joined. */
function flatten(messages: unknown): unknown {
  const list = messages as readonly Fields[];
  return list.flatMap((message) => {
    const content = message["content"];
    const texts =
      typeof content === "string"
        ? [content]
        : ((content ?? []) as readonly { text: string }[]).map(({ text }) => text);
    const calls = (message["tool_calls"] ?? []) as readonly {
      id: string;
      function: { name: string; arguments: string };
    }[];
    return [
      ...texts.map((text) => [message["role"], text, message["tool_call_id"]]),
      ...calls.map(({ id, function: called }) => [id, called.name, JSON.parse(called.arguments) as unknown]),
    ];
  });
}

describe("an answer of Anthropic on OpenAI's wire", () => {
  const message = {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "claude-sonnet-4-5",
    content: [
      { type: "thinking", thinking: "hm", signature: "s" },
      { type: "text", text: "Let me " },
      { type: "text", text: "see." },
      { type: "tool_use", id: "t1", name: "f", input: { a: [1] } },
    ],
    stop_reason: "tool_use",
    usage: { input_tokens: 10, cache_read_input_tokens: 5, cache_creation_input_tokens: 2, output_tokens: 4 },
  };

  test("brings text, calls, thinking to be sent back, and the prompt counted with its cache", async () => {
    expect(await answer(message)).toEqual({
      id: "msg_1",
      object: "chat.completion",
      created: expect.any(Number),
      model: "claude-sonnet-4-5",
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: "Let me see.",
            refusal: null,
            reasoning_content: "hm",
            thinking_blocks: [{ type: "thinking", thinking: "hm", signature: "s" }],
            tool_calls: [{ id: "t1", type: "function", function: { name: "f", arguments: '{"a":[1]}' } }],
          },
          logprobs: null,
          finish_reason: "tool_calls",
        },
      ],
      usage: {
        prompt_tokens: 17,
        completion_tokens: 4,
        total_tokens: 21,
        prompt_tokens_details: { cached_tokens: 5, cache_write_tokens: 2 },
      },
    });
  });

  test("ends for the reason that the model had", async () => {
    const reasons = [
      "end_turn",
      "stop_sequence",
      "max_tokens",
      "model_context_window_exceeded",
      "refusal",
      "later_word",
    ];
    const told = await Promise.all(
      reasons.map(async (stop_reason) => {
        const body = (await answer({ ...message, stop_reason })) as { choices: readonly { finish_reason: string }[] };
        return body.choices[0]?.finish_reason;
      }),
    );
    expect(told).toEqual(["stop", "stop", "length", "length", "content_filter", "stop"]);
  });

  test("keeps an error's words, and what is no answer does not become one", async () => {
    const error = { type: "error", error: { type: "overloaded_error", message: "Overloaded" }, request_id: "req_1" };
    const inner = { type: "overloaded_error", message: "Overloaded", param: null, code: "overloaded_error" };
    expect(await answer(error, 529)).toEqual({ error: inner });
    expect(await answer(error, 200)).toEqual({ error: inner });
    expect(await respond("<html>", 502)).toBe("<html>");
    expect(await respond('{"half":', 200)).toBe('{"half":');
    expect(await respond('{"choices":[]}', 200)).toBe("");
  });

  test("is broken off when it is larger than can be held", async () => {
    const large = { ...message, content: [{ type: "text", text: "x".repeat(4_300_000) }] };
    await expect(answer(large)).rejects.toThrow("too large to translate");
  });
});

describe("a stream of Anthropic on OpenAI's wire", () => {
  const whole = utf8(anthropicStream.join(""));

  test("brings each piece as a chunk of its own, and the counts only to who asked for them", async () => {
    const events = eventsOf(await read(upstreamOf(whole, 1_000)));
    const deltas = events.flatMap(
      (event) => (event as { choices?: readonly { delta: unknown }[] }).choices?.map(({ delta }) => delta) ?? [],
    );
    expect(deltas).toEqual([
      { role: "assistant", content: "" },
      { reasoning_content: "Paris " },
      { reasoning_content: "first." },
      { thinking_blocks: [{ type: "thinking", thinking: "Paris first.", signature: "c2ln" }] },
      { content: "Grüße " },
      { content: "世界" },
      callDelta(0, { id: "toolu_1", type: "function", function: { name: "weather", arguments: "" } }),
      callDelta(0, { function: { arguments: '{"city":' } }),
      callDelta(0, { function: { arguments: '"Paris"}' } }),
      callDelta(1, { id: "toolu_2", type: "function", function: { name: "clock", arguments: "" } }),
      callDelta(1, { function: { arguments: "{}" } }),
      {},
    ]);
    expect(events.at(-3)).toMatchObject({
      id: "msg_01",
      model: "claude-sonnet-4-5",
      choices: [{ finish_reason: "tool_calls" }],
    });
    expect(events.at(-2)).toMatchObject({
      choices: [],
      usage: {
        prompt_tokens: 35,
        completion_tokens: 31,
        prompt_tokens_details: { cached_tokens: 20, cache_write_tokens: 3 },
      },
    });
    expect(events.at(-1)).toBe("[DONE]");
    const unasked = await begin({ stream: true }).respond(anyRoom, upstreamOf(whole, 1_000)).text();
    expect(unasked).not.toContain('"usage"');
  });

  test("is the same however its bytes are cut, and cut at any byte it has no end", async () => {
    const { readMeaning } = dialectOf("chat/completions");
    const text = await read(upstreamOf(whole, whole.length));
    for (const size of [1, 7, 61]) {
      expect(await read(upstreamOf(whole, size))).toBe(text);
    }
    // The last event is whole from its closing brace on.
    const end = whole.length - 2;
    const step = deep(5, 1);
    for (let at = 0; at < end; at += step) {
      const part = await read(upstreamOf(whole.subarray(0, at), 512));
      expect(text.startsWith(part), `cut at ${at}`).toBe(true);
      const meanings = createSplitter().push(utf8(part)).map(readMeaning);
      expect(
        meanings.some(({ kind }) => kind === "done"),
        `cut at ${at}`,
      ).toBe(false);
    }
    await expect(read(upstreamOf(whole.subarray(0, 700), 64, "error"))).rejects.toThrow("connection lost");
  });

  test("ends in its error, and one that stops without a reason has no end", async () => {
    const error = `event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n`;
    const events = eventsOf(await read(upstreamOf(utf8(anthropicStream.slice(0, 9).join("") + error), 100)));
    expect(events.at(-1)).toEqual({
      error: { type: "overloaded_error", message: "Overloaded", param: null, code: "overloaded_error" },
    });
    const covered = anthropicStream.filter((event) => !event.startsWith("event: message_delta"));
    expect(await read(upstreamOf(utf8(covered.join("")), 100))).not.toContain("[DONE]");
  });

  test("is broken off at an event that no such stream holds, or that has no end", async () => {
    await expect(read(upstreamOf(utf8("data: {half\n\n"), 100))).rejects.toThrow("no JSON");
    await expect(read(upstreamOf(utf8(`data: ${"x".repeat(4_300_000)}`), 262_144))).rejects.toThrow("no end");
  });

  test("is read no faster than it is taken, and let go when it is left", async () => {
    let pulls = 0;
    const left = Promise.withResolvers<unknown>();
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          controller.enqueue(utf8(anthropicStream[pulls] ?? ""));
          pulls += 1;
        },
        cancel: left.resolve,
      },
      { highWaterMark: 0 },
    );
    const reader = begin({ stream: true })
      .respond(anyRoom, new Response(body, { headers: { "content-type": "text/event-stream" } }))
      .body?.getReader();
    expect(pulls).toBe(0);
    await reader?.read();
    expect(pulls).toBe(1);
    await reader?.cancel("gone");
    expect(await left.promise).toBe("gone");
  });
});

function endless(type: string, piece: string): Response {
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(utf8(piece));
    },
  });
  return new Response(body, { headers: { "content-type": type } });
}

describe("the memory of a translation", () => {
  test.for(["application/json", "text/event-stream"])("counts what is kept of an answer as %s", async (type) => {
    const room = { maxBytes: 100_000, usedBytes: 0 };
    const hold = openHold(room);
    const response = begin({ stream: true }).respond(hold, endless(type, "x".repeat(10_000)));
    await expect(response.text()).rejects.toMatchObject({ code: "overloaded" });
    expect(room.usedBytes).toBe(100_000);
  });
});
