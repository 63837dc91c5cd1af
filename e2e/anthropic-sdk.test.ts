/** Anthropic's unmodified SDK through the Anthropic door, over instances of its own wire and of OpenAI's: JSON, streams, tools, retries, leaving, and every way to break. */
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import Anthropic, {
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from "@anthropic-ai/sdk";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { collect, connect, makeTeam, type Team } from "./support/client.ts";
import { answerJson, chunk, completion, event, openEvents, type Play, startWire, type Wire } from "./support/wire.ts";

const url = inject("serverUrl");
const hello = [{ role: "user" as const, content: "Say hello" }];
const askWeather = [{ role: "user" as const, content: "Use get_weather for me" }];
const tools: Anthropic.Tool[] = [
  {
    name: "get_weather",
    description: "The weather of a city",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];
const impatient = { idle_timeout_ms: 500, first_byte_timeout_ms: 1_000 };

let team: Team;
let client: Anthropic;
let wire: Wire;

beforeAll(async () => {
  team = await makeTeam(url, inject("sessionToken"), "Anthropic");
  client = await team.anthropic();
  wire = await startWire(inject("upstreamPorts")[3] ?? 0, (response) => void response.end());
  await team.addPool("native", [await team.addSandbox("native-a", "ok-a"), await team.addSandbox("native-b", "ok-b")]);
});

afterAll(() => wire.stop());

/** What an upstream of Anthropic's wire writes. */
function named(type: string, data: object = {}): string {
  return `event: ${type}\n${event({ type, ...data })}`;
}

const usage = { input_tokens: 3, output_tokens: 1 };
const message = { id: "msg_wire", type: "message", role: "assistant", model: "claude-e2e", stop_sequence: null };
const start =
  named("message_start", { message: { ...message, content: [], stop_reason: null, usage } }) +
  named("content_block_start", { index: 0, content_block: { type: "text", text: "" } });

function piece(text: string): string {
  return named("content_block_delta", { index: 0, delta: { type: "text_delta", text } });
}

const close =
  named("content_block_stop", { index: 0 }) +
  named("message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 3 } }) +
  named("message_stop");

/** Both wires that may stand behind the door: how a text begins and goes on in their streams, an error in one, and a whole answer. */
const wires = [
  {
    name: "anthropic" as const,
    opening: start,
    piece,
    closing: close,
    error: named("error", { error: { type: "overloaded_error", message: "the model fell over" } }),
    whole: (text: string): object => ({
      ...message,
      content: [{ type: "text", text }],
      stop_reason: "end_turn",
      usage,
    }),
  },
  {
    name: "openai" as const,
    opening: "",
    piece: (text: string): string => chunk(text),
    closing: chunk(null) + event("[DONE]"),
    error: event({ error: { message: "the model fell over", type: "server_error" } }),
    whole: completion,
  },
];
type Wiring = (typeof wires)[number];

/** A pool of the wire alone under a new name, so that no earlier break cools it. */
async function poolOfWire({ name }: Wiring, model: string, policy: Readonly<Record<string, number>> = impatient) {
  const pool = `${name}-${model}`;
  const base = `${wire.origin}/${pool}/v1`;
  const instance = name === "openai" ? await team.addServer(pool, base) : await team.addAnthropic(pool, base);
  await team.addPool(pool, [instance], policy);
  return pool;
}

/** Streams and tells what came before the end, and the error, if the SDK threw. */
async function stream(model: string): Promise<{ readonly pieces: string[]; readonly error: unknown }> {
  const pieces: string[] = [];
  try {
    const events = await client.messages.create({ model, max_tokens: 100, messages: hello, stream: true });
    for await (const one of events) {
      if (one.type === "content_block_delta" && one.delta.type === "text_delta") {
        pieces.push(one.delta.text);
      }
    }
    return { pieces, error: null };
  } catch (error) {
    return { pieces, error };
  }
}

function textOf({ content }: Anthropic.Message): string {
  return content.map((block) => (block.type === "text" ? block.text : "")).join("");
}

describe("the SDK over instances of its own wire", () => {
  it("gets whole messages from each instance in turn, by either header of a key", async ({ expect }) => {
    const seen = new Set<string | null>();
    const { secret } = await team.addKey("bearer");
    const bearer = new Anthropic({ baseURL: `${url}/anthropic`, apiKey: null, authToken: secret, maxRetries: 0 });
    for (const one of [client, bearer]) {
      const { data, response } = await one.messages
        .create({ model: "native", max_tokens: 100, messages: hello })
        .withResponse();
      expect(data).toMatchObject({ type: "message", role: "assistant", stop_reason: "end_turn" });
      expect(textOf(data)).toMatch(/^Sandbox answer/);
      expect(data.usage.output_tokens).toBeGreaterThan(5);
      expect(response.headers.get("x-gatehouse-attempts")).toBe("1");
      seen.add(response.headers.get("x-gatehouse-instance"));
    }
    expect(seen).toEqual(new Set(["native-a", "native-b"]));
  });

  it("streams the same message as JSON gives, and counts the tokens that it costs", async ({ expect }) => {
    const asked = { model: "native", max_tokens: 100, messages: hello, system: "Be kind." };
    const whole = await client.messages.create(asked);
    const streamed = client.messages.stream(asked);
    let deltas = 0;
    streamed.on("text", () => (deltas += 1));
    const final = await streamed.finalMessage();
    expect(textOf(final)).toBe(textOf(whole));
    expect([final.stop_reason, final.usage.output_tokens]).toEqual([whole.stop_reason, whole.usage.output_tokens]);
    expect(deltas).toBe(whole.usage.output_tokens);
    const counted = await client.messages.countTokens({ model: "native", messages: hello, system: "Be kind." });
    expect(counted.input_tokens).toBe(whole.usage.input_tokens);
  });

  it("gets a tool call, whole and streamed, and an answer to the tool's result", async ({ expect }) => {
    const asked = { model: "native", max_tokens: 100, messages: askWeather, tools };
    const whole = await client.messages.create(asked);
    const final = await client.messages.stream(asked).finalMessage();
    for (const answer of [whole, final]) {
      expect(answer.stop_reason).toBe("tool_use");
      expect(answer.content).toMatchObject([{ type: "tool_use", name: "get_weather", input: { city: "sandbox" } }]);
    }
    const [call] = whole.content;
    const id = call?.type === "tool_use" ? call.id : "";
    const answered = await client.messages.create({
      ...asked,
      messages: [
        ...askWeather,
        { role: "assistant", content: whole.content },
        { role: "user", content: [{ type: "tool_result", tool_use_id: id, content: "12 °C" }] },
      ],
    });
    expect(textOf(answered)).toMatch(/^Sandbox answer/);
  });
});

function ask(one: Anthropic, model: string): Promise<Anthropic.Message> {
  return one.messages.create({ model, max_tokens: 20, messages: hello });
}

describe("what the SDK is told", () => {
  it("raises the SDK's own error classes, in Anthropic's shape", async ({ expect }) => {
    const unknown = ask(client, "no-such-pool");
    await expect(unknown).rejects.toThrow(NotFoundError);
    await expect(unknown).rejects.toMatchObject({ error: { type: "error", error: { type: "not_found_error" } } });
    const stranger = new Anthropic({ baseURL: `${url}/anthropic`, apiKey: "sk-not-ours", maxRetries: 0 });
    await expect(ask(stranger, "native")).rejects.toThrow(AuthenticationError);
    const limits = { rpm: 1, models: ["native"] };
    const limited = await team.call("POST", "/api-keys", { name: "few", scopes: ["models:invoke"], limits });
    const few = new Anthropic({
      baseURL: `${url}/anthropic`,
      apiKey: String(limited.body["secret"]),
      maxRetries: 0,
    });
    await expect(ask(few, "elsewhere")).rejects.toThrow(PermissionDeniedError);
    await ask(few, "native");
    const error = await ask(few, "native").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error).toMatchObject({ error: { error: { type: "rate_limit_error" } } });
    const wait = error instanceof RateLimitError ? Number(error.headers.get("retry-after")) : 0;
    expect(wait).toBeGreaterThan(50);
    expect(wait).toBeLessThanOrEqual(60);
  });

  it("passes a caller's own mistake on as the upstream said it, without blame and without a retry", async ({
    expect,
  }) => {
    const keen = await team.anthropic(2);
    for (const one of wires) {
      const pool = await poolOfWire(one, "mistake");
      const refusal = { type: "invalid_request_error", message: "max_tokens: too many" };
      wire.play((response) => answerJson(response, 400, { type: "error", error: refusal }));
      const before = wire.calls();
      await expect(ask(keen, pool)).rejects.toThrow(BadRequestError);
      await expect(ask(keen, pool)).rejects.toThrow(/max_tokens: too many/);
      expect(wire.calls() - before).toBe(2);
      expect(await team.poolState(pool)).toMatchObject([{ status: "ready", failures: 0 }]);
    }
  });
});

describe.each(wires)("the SDK before an upstream on $name's wire", (one) => {
  it("retries when our header says so, and no earlier", async ({ expect }) => {
    const pool = await poolOfWire(one, "limited");
    const arrivals: number[] = [];
    wire.play((response) => {
      arrivals.push(performance.now());
      const isFirst = arrivals.length === 1;
      const refused = { type: "error", error: { type: "rate_limit_error", message: "slow down" } };
      answerJson(response, isFirst ? 429 : 200, isFirst ? refused : one.whole("hi"), { "retry-after": "2" });
    });
    const keen = await team.anthropic(1);
    const answer = await keen.messages.create({ model: pool, max_tokens: 20, messages: hello });
    expect(textOf(answer)).toBe("hi");
    const [first = 0, second = 0] = arrivals;
    expect(arrivals).toHaveLength(2);
    expect(second - first).toBeGreaterThanOrEqual(1_990);
    expect(second - first).toBeLessThan(6_000);
  });

  it("takes a whole stream for a whole one", async ({ expect }) => {
    const pool = await poolOfWire(one, "whole");
    wire.play((response) => {
      openEvents(response);
      response.end(one.opening + one.piece("one") + one.piece(" two") + one.closing);
    });
    expect(await stream(pool)).toEqual({ pieces: ["one", " two"], error: null });
    const final = await client.messages.stream({ model: pool, max_tokens: 20, messages: hello }).finalMessage();
    expect([textOf(final), final.stop_reason]).toEqual(["one two", "end_turn"]);
  });

  function begin(response: ServerResponse): void {
    openEvents(response);
    response.write(one.opening + one.piece("one") + one.piece(" two") + one.piece(" three"));
  }

  const breaks: readonly (readonly [string, string, Play, RegExp])[] = [
    [
      "cut",
      "whose socket breaks",
      async (response) => {
        begin(response);
        await sleep(100);
        response.destroy();
      },
      /broke off/,
    ],
    [
      "cut-inside",
      "whose socket is reset in the middle of an event",
      async (response) => {
        begin(response);
        response.write(one.piece(" never whole").slice(0, 40));
        await sleep(100);
        response.socket?.resetAndDestroy();
      },
      /broke off/,
    ],
    [
      "cut-clean",
      "that ends in good order without its end",
      (response) => {
        begin(response);
        response.end();
      },
      /broke off/,
    ],
    ["stalled", "that falls silent", begin, /stopped sending/],
    [
      "in-band",
      "that turns into an error",
      (response) => {
        begin(response);
        response.end(one.error + one.closing);
      },
      /the model fell over/,
    ],
  ];

  it.for(breaks)(
    "%s: throws at a stream %s after three pieces, and never makes a message of it",
    async ([name, , play, text], { expect }) => {
      wire.play(play);
      const { pieces, error } = await stream(await poolOfWire(one, name));
      expect(pieces).toEqual(["one", " two", " three"]);
      expect(error).toBeInstanceOf(APIError);
      expect(String(error)).toMatch(text);
      const pool = await poolOfWire(one, `${name}-final`);
      const final = client.messages.stream({ model: pool, max_tokens: 20, messages: hello }).finalMessage();
      await expect(final).rejects.toThrow(text);
      const { secret } = await team.addKey(`${one.name} ${name}`);
      const raw = await connect(url, secret)("POST", "/anthropic/v1/messages", {
        model: await poolOfWire(one, `${name}-raw`),
        max_tokens: 20,
        messages: hello,
        stream: true,
      });
      const last = raw.text.split("\n\n").findLast((part) => part !== "") ?? "";
      expect(last).toMatch(/^event: error\ndata: \{"type":"error","error":\{/);
      expect(raw.text).not.toContain("message_stop");
    },
  );

  it("goes to the next instance for an error on a 200, before anything was said", async ({ expect }) => {
    const pool = `${one.name}-turns`;
    const base = `${wire.origin}/${pool}/v1`;
    const bad =
      one.name === "openai"
        ? await team.addServer(`${pool}-bad`, base, 1000)
        : await team.addAnthropic(`${pool}-bad`, base, 1000);
    await team.addPool(pool, [bad, await team.addSandbox(`${pool}-good`, "ok")], impatient);
    wire.play((response) => {
      openEvents(response);
      response.end(one.opening + one.error);
    });
    const { pieces, error } = await stream(pool);
    expect(error).toBeNull();
    expect(pieces.length).toBeGreaterThan(5);
    expect((await team.poolState(pool)).map(({ failures }) => failures)).toEqual([1, 0]);
  });

  it("ends the upstream's stream when its user aborts, blames nobody and holds no place", async ({ expect }) => {
    const pool = await poolOfWire(one, "left", {});
    const left = Promise.withResolvers<number>();
    wire.play(async (response) => {
      response.once("close", () => left.resolve(performance.now()));
      begin(response);
      while (!response.destroyed) {
        response.write(one.piece(" more"));
        await sleep(50);
      }
    });
    const streamed = client.messages.stream({ model: pool, max_tokens: 20, messages: hello });
    const abortedAt = Promise.withResolvers<number>();
    streamed.once("text", () => {
      abortedAt.resolve(performance.now());
      streamed.abort();
    });
    await expect(streamed.finalMessage()).rejects.toThrow(APIUserAbortError);
    console.log(`the upstream saw it after ${Math.round((await left.promise) - (await abortedAt.promise))} ms`);
    const busy = async (): Promise<number> =>
      (await team.poolState(pool)).reduce((sum, { in_flight }) => sum + in_flight, 0);
    await expect.poll(busy, { timeout: 10_000, interval: 100 }).toBe(0);
    expect(await team.poolState(pool)).toMatchObject([{ status: "ready", failures: 0 }]);
  });
});

it("collects the events of a stream in Anthropic's order", async ({ expect }) => {
  const events = await client.messages.create({ model: "native", max_tokens: 9, messages: hello, stream: true });
  const types = (await collect(events)).map(({ type }) => type);
  expect(types.filter((type) => type !== "content_block_delta")).toEqual([
    "message_start",
    "content_block_start",
    "content_block_stop",
    "message_delta",
    "message_stop",
  ]);
});
