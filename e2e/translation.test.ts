/** Both unmodified SDKs over servers of the other wire alone: JSON, streams, tool loops, thinking that is sent back, errors, cuts and leaving. */
import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import { APIError, APIUserAbortError, BadRequestError } from "openai";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { startUpstream, type Upstream } from "./support/aimock.ts";
import { collect, makeTeam, type Team } from "./support/client.ts";
import { answerJson, openEvents, startWire, type Wire } from "./support/wire.ts";

const url = inject("serverUrl");
const words = "Grüße aus Köln, 世界!";
const schema = { type: "object" as const, properties: { city: { type: "string" } }, required: ["city"] };
const chatTools: OpenAI.ChatCompletionTool[] = [
  { type: "function", function: { name: "get_weather", description: "The weather of a city", parameters: schema } },
];
const messageTools: Anthropic.Tool[] = [{ name: "get_weather", description: "The weather", input_schema: schema }];
const hello = [{ role: "user" as const, content: "Say hello" }];
const askWeather = [{ role: "user" as const, content: "Compare the weather" }];

let team: Team;
let openai: OpenAI;
let anthropic: Anthropic;
let mock: Upstream;
let wire: Wire;

beforeAll(async () => {
  const [first = 0, second = 0] = inject("upstreamPorts");
  team = await makeTeam(url, inject("sessionToken"), "Translation");
  mock = await startUpstream(first, words);
  wire = await startWire(second, (response) => void response.end());
  const toolCalls = [
    { name: "get_weather", arguments: '{"city":"Oslo"}' },
    { name: "get_weather", arguments: '{"city":"Rom"}' },
  ];
  const reasoning = "Two cities, so two calls.";
  mock.mock.prependFixture({ match: { userMessage: "Compare", hasToolResult: false }, response: { toolCalls } });
  mock.mock.prependFixture({
    match: { userMessage: "Think, then compare", hasToolResult: false },
    response: { toolCalls, reasoning },
  });
  mock.mock.prependFixture({ match: { hasToolResult: true }, response: { content: "Oslo is colder." } });
  await team.addPool("claude", [await team.addAnthropic("claude", mock.baseUrl)]);
  await team.addPool("gpt", [await team.addServer("gpt", mock.baseUrl)]);
  openai = await team.openai();
  anthropic = await team.anthropic();
});

afterAll(async () => {
  await Promise.all([mock.stop(), wire.stop()]);
});

/** A pool over the hand-written upstream as a server of Anthropic's wire. */
async function poolOnWire(name: string): Promise<string> {
  await team.addPool(name, [await team.addAnthropic(name, `${wire.origin}/${name}/v1`)]);
  return name;
}

function weatherOf(calls: readonly { readonly function: { readonly arguments: string } }[]): readonly string[] {
  return calls.map((call) => call.function.arguments);
}

describe("OpenAI's SDK over a server of Anthropic's wire", () => {
  it("gets whole answers with the counts of both sides", async ({ expect }) => {
    const { data, response } = await openai.chat.completions
      .create({ model: "claude", messages: hello })
      .withResponse();
    expect(data.choices[0]?.message).toMatchObject({ role: "assistant", content: words });
    expect(data.choices[0]?.finish_reason).toBe("stop");
    expect(data.object).toBe("chat.completion");
    expect(data.usage?.total_tokens).toBe((data.usage?.prompt_tokens ?? 0) + (data.usage?.completion_tokens ?? 0));
    expect(response.headers.get("x-gatehouse-instance")).toBe("claude");
    expect(response.headers.get("x-gatehouse-attempts")).toBe("1");
  });

  it("streams the same words, with the counts only for who asks", async ({ expect }) => {
    for (const options of [undefined, { include_usage: true }]) {
      const stream = await openai.chat.completions.create({
        model: "claude",
        messages: hello,
        stream: true,
        ...(options === undefined ? {} : { stream_options: options }),
      });
      const chunks = await collect(stream);
      expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe(words);
      expect(chunks.filter((chunk) => chunk.choices.length === 0)).toHaveLength(options === undefined ? 0 : 1);
      expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason === "stop")).toHaveLength(1);
    }
  });

  it.for([false, true])(
    "plays a loop of two calls at once to its end, thinking carried along (streamed: %s)",
    async (isStreamed, { expect }) => {
      const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "Think, then compare" }];
      const request = { model: "claude", tools: chatTools, reasoning_effort: "high" as const, messages };
      const turn = isStreamed
        ? await readTurn(await openai.chat.completions.create({ ...request, stream: true }))
        : (await openai.chat.completions.create(request)).choices[0]?.message;
      const calls = turn?.tool_calls?.filter((call) => call.type === "function") ?? [];
      expect(weatherOf(calls)).toEqual(['{"city":"Oslo"}', '{"city":"Rom"}']);
      expect(turn).toMatchObject({ reasoning_content: "Two cities, so two calls." });
      const results = calls.map(({ id }) => ({ role: "tool" as const, tool_call_id: id, content: "12 °C" }));
      // This server refuses, as Anthropic does, a loop whose thinking was asked for and does not come back signed.
      const last = await openai.chat.completions.create({
        ...request,
        messages: [...messages, ...(turn === undefined ? [] : [turn]), ...results],
      });
      expect(last.choices[0]?.message.content).toBe("Oslo is colder.");
    },
  );

  it("is told by name what Anthropic cannot say, and nothing is sent", async ({ expect }) => {
    mock.reset();
    const refused = openai.chat.completions.create({ model: "claude", messages: hello, logprobs: true });
    await expect(refused).rejects.toSatisfy((error) => {
      return error instanceof BadRequestError && error.code === "untranslatable" && error.param === "logprobs";
    });
    expect(mock.calls()).toBe(0);
    expect((await team.poolState("claude"))[0]).toMatchObject({ status: "ready" });
  });

  it("meets a server's refusal in OpenAI's shape, and goes on elsewhere from its overload", async ({ expect }) => {
    const refusing = await poolOnWire("refusing");
    wire.play((response) => {
      const error = { type: "invalid_request_error", message: "max_tokens: 64001 > 64000" };
      answerJson(response, 400, { type: "error", error, request_id: "req_upstream" });
    });
    await expect(openai.chat.completions.create({ model: refusing, messages: hello })).rejects.toSatisfy(
      (error) =>
        error instanceof BadRequestError &&
        error.type === "invalid_request_error" &&
        error.message.includes("max_tokens: 64001 > 64000"),
    );
    const mixed = [
      await team.addAnthropic("overloaded", `${wire.origin}/overloaded/v1`, 10_000),
      await team.addServer("other", mock.baseUrl),
    ];
    await team.addPool("mixed", mixed);
    wire.play((response) => {
      openEvents(response);
      response.end(
        'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
      );
    });
    const { data, response } = await openai.chat.completions
      .create({ model: "mixed", messages: hello, stream: true })
      .withResponse();
    expect((await collect(data)).map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe(words);
    expect(response.headers.get("x-gatehouse-instance")).toBe("other");
    expect(response.headers.get("x-gatehouse-attempts")).toBe("2");
  });

  it("throws on a stream that is cut, after the words that came", async ({ expect }) => {
    const cut = await poolOnWire("cut");
    wire.play((response) => {
      openEvents(response);
      const start = {
        type: "message_start",
        message: { id: "msg_1", model: "c", usage: { input_tokens: 1, output_tokens: 1 } },
      };
      const block = { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } };
      const piece = { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Half" } };
      const stop = { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 1 } };
      const events = [start, block, piece, stop].map(
        (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
      );
      response.write(events.join(""), () => response.destroy());
    });
    const pieces: string[] = [];
    const read = async (): Promise<void> => {
      for await (const chunk of await openai.chat.completions.create({ model: cut, messages: hello, stream: true })) {
        pieces.push(chunk.choices[0]?.delta.content ?? "");
      }
    };
    await expect(read()).rejects.toSatisfy((error) => error instanceof APIError && error.code === "stream_cut");
    expect(pieces.join("")).toBe("Half");
  });

  it("lets the server go when the caller leaves", async ({ expect }) => {
    const left = await poolOnWire("left");
    const gone = Promise.withResolvers<void>();
    wire.play((response) => {
      openEvents(response);
      response.on("close", gone.resolve);
      response.write(
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"More"}}\n\n',
      );
    });
    const stream = await openai.chat.completions.create({ model: left, messages: hello, stream: true });
    const read = async (): Promise<void> => {
      for await (const chunk of stream) {
        expect(chunk.choices[0]?.delta.content).toBe("More");
        stream.controller.abort(new APIUserAbortError());
      }
    };
    await read().catch(() => undefined);
    await gone.promise;
    expect((await team.poolState(left))[0]).toMatchObject({ status: "ready", failures: 0 });
  });
});

describe("Anthropic's SDK over a server of OpenAI's wire", () => {
  it("gets whole messages and the same words as a stream, and counts", async ({ expect }) => {
    const asked = { model: "gpt", max_tokens: 100, messages: hello };
    const message = await anthropic.messages.create(asked);
    expect(message).toMatchObject({
      type: "message",
      role: "assistant",
      stop_reason: "end_turn",
      content: [{ type: "text", text: words }],
    });
    const streamed = await anthropic.messages.stream(asked).finalMessage();
    expect(streamed.content).toMatchObject([{ type: "text", text: words }]);
    expect(streamed.usage.output_tokens).toBe(message.usage.output_tokens);
    const { data, response } = await anthropic.messages.countTokens({ model: "gpt", messages: hello }).withResponse();
    expect(data.input_tokens).toBeGreaterThan(0);
    expect(data.input_tokens).toBeLessThan(20);
    expect(response.headers.get("x-gatehouse-estimate")).toBe("true");
    expect(response.headers.get("x-gatehouse-attempts")).toBe("1");
  });

  it.for([false, true])(
    "plays a loop of two calls at once to its end (streamed: %s)",
    async (isStreamed, { expect }) => {
      const request = { model: "gpt", max_tokens: 100, tools: messageTools, messages: askWeather };
      const turn = isStreamed
        ? await anthropic.messages.stream(request).finalMessage()
        : await anthropic.messages.create(request);
      const calls = turn.content.filter((block) => block.type === "tool_use");
      expect(turn.stop_reason).toBe("tool_use");
      expect(calls.map(({ input }) => input)).toEqual([{ city: "Oslo" }, { city: "Rom" }]);
      const results = calls.map(({ id }) => ({ type: "tool_result" as const, tool_use_id: id, content: "12 °C" }));
      const messages = [
        ...askWeather,
        { role: "assistant" as const, content: turn.content },
        { role: "user" as const, content: results },
      ];
      const last = await anthropic.messages.create({ ...request, messages });
      expect(last.content).toMatchObject([{ type: "text", text: "Oslo is colder." }]);
    },
  );

  it("is told by name what a chat cannot say", async ({ expect }) => {
    const refused = anthropic.messages.create({
      model: "gpt",
      max_tokens: 10,
      messages: [...hello, { role: "assistant", content: "Hel" }],
    });
    await expect(refused).rejects.toMatchObject({
      status: 400,
      type: "invalid_request_error",
      message: expect.stringContaining("/messages/1"),
    });
  });
});

type Delta = OpenAI.ChatCompletionChunk.Choice.Delta & {
  readonly reasoning_content?: string;
  readonly thinking_blocks?: readonly unknown[];
};

/** The assistant's turn as a caller puts it together from its chunks. */
async function readTurn(stream: AsyncIterable<OpenAI.ChatCompletionChunk>): Promise<OpenAI.ChatCompletionMessage> {
  const calls: { id: string; type: "function"; function: { name: string; arguments: string } }[] = [];
  const thinking: unknown[] = [];
  let [content, reasoning] = ["", ""];
  for await (const chunk of stream) {
    const delta: Delta | undefined = chunk.choices[0]?.delta;
    content += delta?.content ?? "";
    reasoning += delta?.reasoning_content ?? "";
    thinking.push(...(delta?.thinking_blocks ?? []));
    for (const { index, id, function: called } of delta?.tool_calls ?? []) {
      calls[index] ??= { id: id ?? "", type: "function", function: { name: called?.name ?? "", arguments: "" } };
      const call = calls[index];
      call.function.arguments += called?.arguments ?? "";
    }
  }
  const turn = { role: "assistant" as const, content, refusal: null, tool_calls: calls };
  return Object.assign(turn, { reasoning_content: reasoning, thinking_blocks: thinking });
}
