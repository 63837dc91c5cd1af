/** The sandbox as a client on OpenAI's wire meets it: its answers, its tools, and every way in which its credentials fail. */
import * as fc from "fast-check";
import { describe, it, vi } from "vitest";
import { utf8 } from "../../src/base/bytes.js";
import { Secret } from "../../src/base/secret.js";
import { toRequest } from "../../src/gateway/send.js";
import type { Provider } from "../../src/providers/contract.js";
import { countTokens, cutTokens } from "../../src/providers/sandbox/text.js";
import { sandbox } from "../../src/providers/sandbox.js";
import { deep, seed } from "../support/deep.js";

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

interface ToolCall {
  readonly id?: string;
  readonly type?: string;
  readonly function: { readonly name?: string; readonly arguments: string };
}

interface Completion {
  readonly id: string;
  readonly choices: readonly {
    readonly message: { readonly content: string | null; readonly tool_calls?: readonly ToolCall[] };
    readonly finish_reason: string;
  }[];
  readonly usage: Usage;
}

interface Chunk {
  readonly error?: { readonly code: string };
  readonly usage?: Usage | null;
  readonly choices: readonly {
    readonly delta: {
      readonly role?: string;
      readonly content?: string | null;
      readonly tool_calls?: readonly ToolCall[];
    };
    readonly finish_reason: string | null;
  }[];
}

/** A stream as read: its events until it ended, `[DONE]` among them, and whether it ended by an error. */
interface Played {
  readonly events: readonly string[];
  readonly chunks: readonly Chunk[];
  readonly failed: boolean;
}

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: {
        city: { type: "string" },
        unit: { enum: ["celsius", "kelvin"] },
        days: { type: "integer", minimum: 2 },
        hours: { type: "array", minItems: 2, items: { type: ["number", "null"] } },
        note: { type: "string" },
      },
      required: ["city", "unit", "days", "hours"],
    },
  },
};
const clock = { type: "function", function: { name: "get_weather_clock" } };

function ask(content: unknown, more: object = {}): object {
  return { model: "sandbox-chat", messages: [{ role: "user", content }], ...more };
}

function send(body: object | string, key = "sk-sandbox-ok", signal?: AbortSignal): Promise<Response> {
  const call = sandbox.request({
    endpoint: "chat/completions",
    base_url: sandbox.default_base_url ?? "",
    options: {},
    api_key: new Secret(key),
    model: "sandbox-chat",
    body: utf8(typeof body === "string" ? body : JSON.stringify(body)),
    headers: {},
    stream: true,
  });
  return answer(sandbox, toRequest(call, signal));
}

async function answer(provider: Provider, request: Request): Promise<Response> {
  if (provider.transport === undefined) {
    throw new Error("the sandbox answers inside the Worker");
  }
  return provider.transport(request);
}

async function complete(body: object, key?: string): Promise<Completion> {
  const response = await send(body, key);
  return response.json();
}

async function play(body: object, key?: string, readerDelayMs = 0): Promise<Played> {
  const response = await send({ stream: true, ...body }, key);
  const reader = (response.body ?? new ReadableStream<Uint8Array>()).getReader();
  let text = "";
  let failed = false;
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      text += new TextDecoder().decode(piece.value);
      await (readerDelayMs > 0 ? wait(readerDelayMs) : undefined);
    }
  } catch {
    failed = true;
  }
  const events = text.split("\n\n").filter((event) => event !== "");
  const data = events.map((event) => event.replace(/^data: /, ""));
  return {
    events: data,
    failed,
    chunks: data.filter((event) => event !== "[DONE]").map((event) => JSON.parse(event) as Chunk),
  };
}

function textOf(played: Played): string {
  return played.chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
}

function argumentsOf(played: Played): string {
  return played.chunks.map((chunk) => chunk.choices[0]?.delta.tool_calls?.[0]?.function.arguments ?? "").join("");
}

function finishOf(played: Played): string | null | undefined {
  return played.chunks.findLast((chunk) => chunk.choices.length > 0)?.choices[0]?.finish_reason;
}

describe("sandbox answers", () => {
  it("the same prompt gets the same text, another prompt another one", async ({ expect }) => {
    const [first, again, other] = [await complete(ask("hi")), await complete(ask("hi")), await complete(ask("ho"))];
    expect({ ...first, created: 0 }).toEqual({ ...again, created: 0 });
    expect(first.choices[0]?.message.content).not.toBe(other.choices[0]?.message.content);
    expect(first.choices[0]?.finish_reason).toBe("stop");
  });

  it("counts by its documented rule: 4 bytes of a word a token, 3 a message, 85 a part that is not text", async ({
    expect,
  }) => {
    const messages = [
      { role: "system", content: "abcd abcde" },
      {
        role: "user",
        content: [
          { type: "text", text: "ümlaut" },
          { type: "image_url", image_url: { url: "https://x" } },
        ],
      },
    ];
    const { usage, choices } = await complete({ model: "sandbox-chat", messages });
    expect(usage.prompt_tokens).toBe(3 + (1 + 2) + 3 + 2 + 85);
    expect(usage.completion_tokens).toBe(countTokens(choices[0]?.message.content ?? ""));
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
  });

  it("any prompt and limit: stream and JSON agree in text, finish and usage, and the limit holds exactly", async ({
    expect,
  }) => {
    const content = fc.string({ unit: "grapheme" });
    const limit = fc.option(fc.integer({ min: 1, max: 80 }), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(
        content,
        limit,
        fc.constantFrom("max_tokens", "max_completion_tokens"),
        async (prompt, max, field) => {
          const body = ask(prompt, { [field]: max });
          const whole = await complete(body);
          const played = await play({ ...body, stream_options: { include_usage: true } });
          expect(textOf(played)).toBe(whole.choices[0]?.message.content);
          expect(finishOf(played)).toBe(whole.choices[0]?.finish_reason);
          expect(played.chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage });
          expect(played.events.at(-1)).toBe("[DONE]");
          expect(whole.usage.completion_tokens).toBe(countTokens(textOf(played)));
          const full = (await complete(ask(prompt))).usage.completion_tokens;
          expect(whole.usage.completion_tokens).toBe(Math.min(full, max ?? full));
          expect(finishOf(played)).toBe(full > (max ?? full) ? "length" : "stop");
        },
      ),
      { numRuns: deep(30, 3000), seed: seed() },
    );
  });

  it("any text: its tokens join to it, none is over 4 bytes, and there are as many as are counted", ({ expect }) => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const tokens = cutTokens(text);
        expect(tokens.join("")).toBe(text.trim() === "" && tokens.length === 0 ? "" : text);
        expect(tokens.filter((token) => !/^[ \t\r\n]*$/.test(token)).length).toBe(countTokens(text));
        expect(tokens.every((token) => utf8(token.replaceAll(/[ \t\r\n]/g, "")).byteLength <= 4)).toBe(true);
      }),
      { numRuns: deep(100, 50_000), seed: seed() },
    );
  });

  it("usage is streamed only when it is asked for, and then as null until the last chunk", async ({ expect }) => {
    const without = await play(ask("hi"));
    expect(without.chunks.every((chunk) => chunk.usage === undefined && chunk.choices.length === 1)).toBe(true);
    const asked = await play(ask("hi", { stream_options: { include_usage: true } }));
    expect(asked.chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    expect(without.chunks[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
  });

  it("what it cannot answer is refused in OpenAI's shape", async ({ expect }) => {
    const refusals: readonly (readonly [object | string, number, object])[] = [
      ["{", 400, { type: "invalid_request_error", param: null }],
      [{ model: "sandbox-chat", messages: [] }, 400, { param: "messages" }],
      [ask("hi", { max_tokens: 0 }), 400, { param: "max_tokens" }],
      [ask("hi", { n: 2 }), 400, { param: "n" }],
      [{ ...ask("hi"), model: "gpt-9" }, 404, { code: "model_not_found", param: "model" }],
      [{ ...ask("hi"), model: "sandbox-embed" }, 404, { code: "model_not_found" }],
    ];
    for (const [body, status, error] of refusals) {
      const response = await send(body);
      expect(response.status, JSON.stringify(body)).toBe(status);
      expect(await response.json()).toMatchObject({ error });
    }
    const other = new Request("https://sandbox.gatehouse.internal/v1/files", {
      headers: { authorization: "Bearer sk-sandbox-ok" },
    });
    expect((await answer(sandbox, other)).status).toBe(404);
  });
});

describe("sandbox tools", () => {
  it("calls the tool that the user's last message names as a word, with arguments that fit its schema", async ({
    expect,
  }) => {
    const body = ask("please use get_weather_clock, then get_weather!", { tools: [weather, clock] });
    const whole = await complete(body);
    const call = whole.choices[0]?.message.tool_calls?.[0];
    expect(whole.choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { content: null } });
    expect(call).toMatchObject({ type: "function", function: { name: "get_weather" } });
    expect(JSON.parse(call?.function.arguments ?? "")).toEqual({
      city: "sandbox",
      unit: "celsius",
      days: 2,
      hours: [1, 1],
    });
    expect(
      (await complete(ask("get_weather_clock", { tools: [weather, clock] }))).choices[0]?.message.tool_calls?.[0],
    ).toMatchObject({
      function: { name: "get_weather_clock", arguments: "{}" },
    });
  });

  it("streams the same call: id and name first, then its arguments in pieces", async ({ expect }) => {
    const body = ask("get_weather", { tools: [weather] });
    const call = (await complete(body)).choices[0]?.message.tool_calls?.[0];
    const played = await play(body);
    expect(played.chunks[1]?.choices[0]?.delta.tool_calls).toEqual([
      { index: 0, id: call?.id, type: "function", function: { name: "get_weather", arguments: "" } },
    ]);
    expect(argumentsOf(played)).toBe(call?.function.arguments);
    expect(finishOf(played)).toBe("tool_calls");
    expect(played.events.at(-1)).toBe("[DONE]");
  });

  it("answers in text when no tool is named, none is allowed, or the last message is a tool's result", async ({
    expect,
  }) => {
    const result = [
      { role: "user", content: "get_weather" },
      {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "c", type: "function", function: { name: "get_weather", arguments: "{}" } }],
      },
      { role: "tool", tool_call_id: "c", content: "get_weather says rain" },
    ];
    for (const body of [
      ask("hello", { tools: [weather] }),
      ask("get_weather", { tools: [weather], tool_choice: "none" }),
      ask("get_weather"),
      { model: "sandbox-chat", messages: result, tools: [weather] },
    ]) {
      const { message } = (await complete(body)).choices[0] ?? {};
      expect(message?.tool_calls).toBeUndefined();
      expect(message?.content).toMatch(/^Sandbox answer/);
    }
  });

  it("a forced tool is called whatever the message says, within the token limit", async ({ expect }) => {
    const forced = { tools: [clock, weather], tool_choice: { type: "function", function: { name: "get_weather" } } };
    expect((await complete(ask("hello", forced))).choices[0]?.message.tool_calls?.[0]?.function.name).toBe(
      "get_weather",
    );
    const required = { tools: [clock, weather], tool_choice: "required" };
    expect((await complete(ask("hello", required))).choices[0]?.message.tool_calls?.[0]?.function.name).toBe(
      "get_weather_clock",
    );
    const short = await complete(ask("hello", { ...forced, max_tokens: 5 }));
    expect(short.choices[0]?.finish_reason).toBe("length");
    expect(short.usage.completion_tokens).toBe(5);
    const call = short.choices[0]?.message.tool_calls?.[0];
    expect(countTokens("get_weather") + cutTokens(call?.function.arguments ?? "").length).toBe(5);
  });
});

describe("sandbox credentials", () => {
  const refusals: readonly (readonly [string, number, string | null, string | null])[] = [
    ["sk-sandbox-429", 429, "rate_limit_exceeded", "5"],
    ["sk-sandbox-429-eu", 429, "rate_limit_exceeded", "5"],
    ["sk-sandbox-500", 500, null, null],
    ["sk-sandbox-quota", 429, "insufficient_quota", null],
    ["sk-sandbox-401", 401, "invalid_api_key", null],
    ["sk-sandbox-okay", 401, "invalid_api_key", null],
    ["sk-sandbox-", 401, "invalid_api_key", null],
    ["", 401, "invalid_api_key", null],
  ];

  it.for(refusals)(
    "%s answers %i to a call and to a validation alike",
    async ([key, status, code, retryAfter], { expect }) => {
      const validation = sandbox.validationRequest({
        api_key: new Secret(key),
        base_url: sandbox.default_base_url ?? "",
        options: {},
      });
      for (const response of [
        await send(ask("hi"), key),
        await send(ask("hi", { stream: true }), key),
        await answer(sandbox, validation),
      ]) {
        expect(response.status).toBe(status);
        expect(response.headers.get("retry-after")).toBe(retryAfter);
        expect(await response.json()).toMatchObject({ error: { code } });
      }
    },
  );

  it.for([
    ["sk-sandbox-ok", "valid"],
    ["sk-sandbox-ok-eu", "valid"],
    ["sk-sandbox-slow", "valid"],
    ["sk-sandbox-cut", "valid"],
    ["sk-sandbox-stall", "valid"],
    ["sk-sandbox-inband-error", "valid"],
    ["sk-sandbox-429", "no_quota"],
    ["sk-sandbox-quota", "no_quota"],
    ["sk-sandbox-500", "unknown"],
    ["sk-sandbox-401", "invalid"],
    ["sk-sandbox-typo", "invalid"],
  ] as const)("validating %s proves it %s", async ([key, outcome], { expect }) => {
    const input = sandbox.parse({ api_key: key });
    const response = await answer(sandbox, sandbox.validationRequest(input));
    expect(sandbox.judge(response.status, await response.text(), input).outcome).toBe(outcome);
  });

  it("-slow waits 1.5 s before a JSON answer and before a stream's first content, and goes on slowly", async ({
    expect,
  }) => {
    const start = Date.now();
    const [response, played] = await Promise.all([
      send(ask("hi"), "sk-sandbox-slow"),
      timeEvents(ask("hi"), "sk-sandbox-slow"),
    ]);
    expect(response.status).toBe(200);
    expect(Date.now() - start).toBeGreaterThanOrEqual(1500);
    const [role = 0, first = 0, second = 0] = played;
    expect(role).toBeLessThan(500);
    expect(first).toBeGreaterThanOrEqual(1490);
    expect(second - first).toBeGreaterThanOrEqual(40);
  });

  it("-cut breaks a stream after 3 content events, without finish or [DONE], and a JSON body half-way", async ({
    expect,
  }) => {
    const played = await play(ask("hi"), "sk-sandbox-cut");
    expect(played.failed).toBe(true);
    expect(played.chunks.map((chunk) => chunk.choices[0]?.finish_reason)).toEqual([null, null, null, null]);
    expect(played.events).not.toContain("[DONE]");
    const response = await send(ask("hi"), "sk-sandbox-cut");
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
    expect((await play(ask("hi", { max_tokens: 1 }), "sk-sandbox-cut")).failed).toBe(true);
    expect((await play(ask("hi"), "sk-sandbox-cut", 10)).events.length).toBe(4);
  });

  it("-inband-error answers 200 with an error in place of content", async ({ expect }) => {
    const played = await play(ask("hi"), "sk-sandbox-inband-error");
    expect(played.failed).toBe(false);
    expect(textOf({ ...played, chunks: played.chunks.slice(0, 1) })).toBe("");
    expect(played.chunks.at(-1)?.error?.code).toBe("server_error");
    expect(played.events).not.toContain("[DONE]");
    const response = await send(ask("hi"), "sk-sandbox-inband-error");
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ error: { code: "server_error" } });
  });

  it("-stall falls silent after one content event until it is aborted, and never answers in JSON", async ({
    expect,
  }) => {
    const caller = new AbortController();
    const response = await send(ask("hi", { stream: true }), "sk-sandbox-stall", caller.signal);
    const reader = (response.body ?? new ReadableStream<Uint8Array>()).getReader();
    await reader.read();
    await reader.read();
    const silence = reader.read();
    expect(await Promise.race([silence, wait(200)])).toBe("silent");
    caller.abort();
    await expect(silence).rejects.toThrow();
    const other = new AbortController();
    const json = send(ask("hi"), "sk-sandbox-stall", other.signal);
    expect(await Promise.race([json, wait(200)])).toBe("silent");
    other.abort();
    await expect(json).rejects.toThrow();
  });

  it("an abort ends every delay at once, and a reader that leaves ends the stream", async ({ expect }) => {
    const start = Date.now();
    const slow = send(ask("hi"), "sk-sandbox-slow", AbortSignal.timeout(50));
    await expect(slow).rejects.toThrow();
    await expect(send(ask("hi"), "sk-sandbox-ok", AbortSignal.abort())).rejects.toThrow();
    const response = await send(ask("hi", { stream: true }), "sk-sandbox-stall");
    const reader = (response.body ?? new ReadableStream<Uint8Array>()).getReader();
    await reader.read();
    await reader.read();
    const silence = reader.read();
    const clear = vi.spyOn(globalThis, "clearTimeout");
    await reader.cancel();
    expect((await silence).done).toBe(true);
    expect(clear).toHaveBeenCalledTimes(1);
    clear.mockRestore();
    expect(Date.now() - start).toBeLessThan(1000);
  });
});

function wait(ms: number): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve("silent"), ms));
}

/** Milliseconds from the call to each of its first three events. */
async function timeEvents(body: object, key: string): Promise<number[]> {
  const start = Date.now();
  const response = await send({ ...body, stream: true }, key);
  const reader = (response.body ?? new ReadableStream<Uint8Array>()).getReader();
  const times: number[] = [];
  while (times.length < 3) {
    await reader.read();
    times.push(Date.now() - start);
  }
  await reader.cancel();
  return times;
}
