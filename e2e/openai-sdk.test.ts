/** The unmodified OpenAI SDK through a pool of three, once over the sandbox and once over real servers: JSON, streams, tools, leaving early. */
// oxlint-disable-next-line no-restricted-imports -- its connection is reset before there is an answer
import { request } from "node:http";
import { connect as connectTo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI, {
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from "openai";
import { afterAll, beforeAll, beforeEach, describe, type ExpectStatic, inject, it } from "vitest";
import { startUpstreams, type Upstream } from "./support/aimock.ts";
import { collect, connect, makeTeam, type Team } from "./support/client.ts";
import { findWorkerUrl } from "./support/processes.ts";
import { chunk, openEvents, startWire, type Wire } from "./support/wire.ts";

const url = inject("serverUrl");
const hello = [{ role: "user" as const, content: "Say hello" }];
const askWeather = [{ role: "user" as const, content: "Use get_weather for me" }];
const tools: OpenAI.ChatCompletionTool[] = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather of a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

let team: Team;
let client: OpenAI;
let upstreams: Upstream[];

beforeAll(async () => {
  team = await makeTeam(url, inject("sessionToken"), "SDK");
  upstreams = await startUpstreams(inject("upstreamPorts").slice(0, 3));
  for (const { mock } of upstreams) {
    const toolCalls = [{ name: "get_weather", arguments: '{"city":"Oslo"}' }];
    mock.prependFixture({ match: { userMessage: "Use get_weather", hasToolResult: false }, response: { toolCalls } });
  }
  await team.addPool(
    "sandbox",
    await Promise.all(["a", "b", "c"].map((label) => team.addSandbox(`sandbox-${label}`, `ok-${label}`))),
  );
  await team.addPool(
    "servers",
    await Promise.all(upstreams.map(({ baseUrl }, index) => team.addServer(`server-${index}`, baseUrl))),
  );
  client = await team.openai();
});

afterAll(async () => {
  await Promise.all(upstreams.map((upstream) => upstream.stop()));
});

describe.each([
  { model: "sandbox", aliases: ["sandbox-a", "sandbox-b", "sandbox-c"], city: "sandbox" },
  { model: "servers", aliases: ["server-0", "server-1", "server-2"], city: "Oslo" },
])("the SDK over three instances of $model", ({ model, aliases, city }) => {
  it("gets whole JSON answers, one from each instance in turn", async ({ expect }) => {
    const seen: (string | null)[] = [];
    for (let n = 0; n < 3; n += 1) {
      const { data, response } = await client.chat.completions.create({ model, messages: hello }).withResponse();
      seen.push(response.headers.get("x-gatehouse-instance"));
      expect(data.choices[0]?.message.content).toMatch(/\w/);
      expect(data.choices[0]?.finish_reason).toBe("stop");
      expect(data.usage?.total_tokens).toBeGreaterThan(0);
      expect(response.headers.get("x-gatehouse-attempts")).toBe("1");
      expect(response.headers.get("x-request-id")).toMatch(/^req_/);
      expect(response.headers.get("server-timing")).toMatch(/route;dur=.*upstream;dur=/);
    }
    expect(new Set(seen)).toEqual(new Set(aliases));
  });

  it("streams the same text as JSON gives, with usage only when asked for", async ({ expect }) => {
    const texts = new Set<string>();
    for (const options of [undefined, { include_usage: true }]) {
      const stream = await client.chat.completions.create({
        model,
        messages: hello,
        stream: true,
        ...(options === undefined ? {} : { stream_options: options }),
      });
      const chunks = await collect(stream);
      texts.add(chunks.map((part) => part.choices[0]?.delta.content ?? "").join(""));
      expect(chunks.length).toBeGreaterThan(2);
      expect(chunks.filter((part) => (part.usage ?? null) !== null)).toHaveLength(options === undefined ? 0 : 1);
      expect(chunks.findLast((part) => part.choices.length > 0)?.choices[0]?.finish_reason).toBe("stop");
    }
    const whole = await client.chat.completions.create({ model, messages: hello });
    texts.add(whole.choices[0]?.message.content ?? "");
    // The sandbox says the same at every instance; each server says its own number.
    expect(new Set([...texts].map((text) => text.replace(/\d\.$/, "")))).toHaveLength(1);
  });

  it("gets a tool call, and an answer to the tool's result", async ({ expect }) => {
    const asked = await client.chat.completions.create({ model, messages: askWeather, tools });
    const choice = asked.choices[0];
    const call = choice?.message.tool_calls?.[0];
    expect(choice?.finish_reason).toBe("tool_calls");
    expect(call).toMatchObject({ type: "function", function: { name: "get_weather" } });
    expect(JSON.parse(call?.type === "function" ? call.function.arguments : "")).toEqual({ city });

    const result = { role: "tool" as const, tool_call_id: call?.id ?? "", content: "12 °C" };
    const messages = [...askWeather, ...(choice === undefined ? [] : [choice.message]), result];
    const answered = await client.chat.completions.create({ model, messages, tools });
    expect(answered.choices[0]?.finish_reason).toBe("stop");
    expect(answered.choices[0]?.message.content).toMatch(/\w/);
  });

  it("assembles a streamed tool call", async ({ expect }) => {
    const stream = client.chat.completions.stream({ model, messages: askWeather, tools });
    let pieces = 0;
    stream.on("tool_calls.function.arguments.delta", () => (pieces += 1));
    const choice = (await stream.finalChatCompletion()).choices[0];
    const call = choice?.message.tool_calls?.[0];
    expect(choice?.finish_reason).toBe("tool_calls");
    expect(call).toMatchObject({ type: "function", function: { name: "get_weather" } });
    expect(JSON.parse(call?.type === "function" ? call.function.arguments : "")).toEqual({ city });
    expect(pieces).toBeGreaterThan(0);
  });
});

function sum(count: (upstream: Upstream) => number): number {
  return upstreams.reduce((all, upstream) => all + count(upstream), 0);
}

/** No place is held any more, and no instance is blamed. */
async function expectNoTrace(expect: ExpectStatic, model: string): Promise<void> {
  const busy = async (): Promise<number> => (await team.poolState(model)).reduce((all, one) => all + one.in_flight, 0);
  await expect.poll(busy, { timeout: 10_000, interval: 100 }).toBe(0);
  for (const instance of await team.poolState(model)) {
    expect(instance).toMatchObject({ status: "ready", failures: 0 });
  }
}

describe("a client that leaves", () => {
  const noticedWithinMs = 2_000;
  const slow = [{ role: "user" as const, content: "Speak slowly" }];

  beforeAll(() => {
    for (const { mock } of upstreams) {
      const content = Array.from({ length: 200 }, (_, n) => `word${n}`).join(" ");
      const pace = { latency: 100, chunkSize: 8 };
      mock.prependFixture({ match: { userMessage: "Speak slowly" }, response: { content }, ...pace });
    }
  });

  beforeEach(() => {
    for (const upstream of upstreams) {
      upstream.reset();
    }
  });

  /** Waits until one upstream call was left by us, as the upstreams' own sockets tell. */
  async function expectLeft(expect: ExpectStatic, what: string): Promise<void> {
    const from = performance.now();
    await expect.poll(() => sum((one) => one.aborted()), { timeout: noticedWithinMs, interval: 5 }).toBe(1);
    console.log(`${what}: the upstream saw it after ${Math.round(performance.now() - from)} ms`);
  }

  it("ends the upstream's stream, blames no instance and holds no place", async ({ expect }) => {
    const stream = await client.chat.completions.create({ model: "servers", messages: slow, stream: true });
    let seen = 0;
    for await (const part of stream) {
      seen += (part.choices[0]?.delta.content ?? "") === "" ? 0 : 1;
      if (seen === 3) {
        break;
      }
    }
    await expectLeft(expect, "a stream broken off by the SDK");
    await expectNoTrace(expect, "servers");
    expect(sum((one) => one.calls())).toBe(1);
  });

  it("aborts a running stream by the SDK's own signal", async ({ expect }) => {
    const leaving = new AbortController();
    const stream = client.chat.completions.stream({ model: "servers", messages: slow }, { signal: leaving.signal });
    stream.once("content", () => leaving.abort());
    await expect(stream.finalChatCompletion()).rejects.toThrow(APIUserAbortError);
    await expectLeft(expect, "a stream aborted by signal");
    await expectNoTrace(expect, "servers");
  });

  // workerd takes the orderly close of a waiting client for a half-closed connection, and wrangler's proxy tells nothing on:
  // so the call runs to its end, which is bounded by the pool's time-outs.
  it("before the answer: the call is not sent elsewhere, blames nobody and gives its place back", async ({
    expect,
  }) => {
    await team.addPool("slow", [await team.addSandbox("slow", "slow", 1000), await team.addSandbox("spare", "ok")]);
    const call = client.chat.completions.create(
      { model: "slow", messages: hello },
      { signal: AbortSignal.timeout(300) },
    );
    await expect(call).rejects.toThrow(APIUserAbortError);
    await expectNoTrace(expect, "slow");
    expect((await team.poolState("slow")).map(({ picks }) => picks)).toEqual([1, 0]);
  });

  it.skipIf(process.platform !== "linux")(
    "before the answer, by a reset at the Worker's own port: the upstream call ends at once",
    async ({ expect }) => {
      const workerUrl = await findWorkerUrl(inject("serverState"), url);
      const { secret } = await team.addKey("reset");
      for (const upstream of upstreams) {
        upstream.setFault({ kind: "stall" });
      }
      const body = JSON.stringify({ model: "servers", messages: hello });
      const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
      const call = request(`${workerUrl}/v1/chat/completions`, { method: "POST", headers });
      call.once("error", () => undefined).end(body);
      await expect.poll(() => sum((one) => one.calls()), { timeout: 10_000 }).toBe(1);
      call.socket?.resetAndDestroy();
      await expectLeft(expect, "a call reset before its answer");
      await expectNoTrace(expect, "servers");
      expect(sum((one) => one.calls())).toBe(1);
    },
  );
});

function resetConnection(socket: Socket): void {
  socket.resetAndDestroy();
}

/** In good order: nothing is left unread, so the system sends no reset. */
function closeConnection(socket: Socket): void {
  socket.destroy();
}

describe.skipIf(process.platform !== "linux")("a client at the Worker's own port, without wrangler's proxy", () => {
  const rounds = 5;
  let wire: Wire;
  let own: URL;
  let secret: string;
  let closedAt: PromiseWithResolvers<number>;

  beforeAll(async () => {
    wire = await startWire(inject("upstreamPorts")[3] ?? 0, (response) => void response.end());
    own = new URL(await findWorkerUrl(inject("serverState"), url));
    secret = (await team.addKey("own port")).secret;
    await team.addPool("wire", [await team.addServer("wire", wire.baseUrl)]);
  });

  afterAll(() => wire.stop());

  /** Streams over a socket of its own until the first words came, and tells after how many ms the upstream saw it leave. */
  async function leave(how: (socket: Socket) => void, isBusy: boolean, pauseMs: number): Promise<number> {
    closedAt = Promise.withResolvers();
    wire.play(async (response) => {
      response.once("close", () => closedAt.resolve(performance.now()));
      openEvents(response);
      response.write(chunk("one"));
      if (!isBusy) {
        return;
      }
      while (!response.destroyed) {
        response.write(chunk("more"));
        await sleep(5);
      }
    });
    const socket = connectTo(Number(own.port), own.hostname);
    const body = JSON.stringify({ model: "wire", messages: hello, stream: true });
    const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: ${own.host}\r\nauthorization: Bearer ${secret}\r\n`;
    socket.write(`${head}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    let text = "";
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject).on("data", (bytes) => {
        text += bytes.toString();
        if (text.includes('"one"')) {
          resolve();
        }
      });
    });
    await sleep(pauseMs);
    const leftAt = performance.now();
    how(socket);
    return (await closedAt.promise) - leftAt;
  }

  async function measure(what: string, how: (socket: Socket) => void, isBusy: boolean): Promise<number[]> {
    const times: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      // Spread over the second between two heartbeats.
      times.push(Math.round(await leave(how, isBusy, 50 + round * 190)));
    }
    console.log(`${what}: the upstream saw it after ${times.join(", ")} ms`);
    return times.toSorted((a, b) => a - b);
  }

  it("is seen to leave within 100 ms by a reset, and by an orderly close of a busy stream", async ({ expect }) => {
    for (const times of [
      await measure("a reset of a busy stream", resetConnection, true),
      await measure("a reset of a silent stream", resetConnection, false),
      await measure("an orderly close of a busy stream", closeConnection, true),
    ]) {
      // The best of several: other processes share the machine's cores.
      expect(times[0]).toBeLessThan(100);
    }
    await expectNoTrace(expect, "wire");
  });

  it("is seen to close a silent stream in good order within a heartbeat and 200 ms", async ({ expect }) => {
    const times = await measure("an orderly close of a silent stream", closeConnection, false);
    expect(times[Math.floor(rounds / 2)]).toBeLessThan(1_200);
    await expectNoTrace(expect, "wire");
  });
});

describe("the SDK on OpenAI's other endpoints", () => {
  it("gets a response whole and streamed, with the same text and usage", async ({ expect }) => {
    const asked = { model: "sandbox", input: "Say hello", instructions: "Be kind." };
    const whole = await client.responses.create(asked);
    expect(whole).toMatchObject({ status: "completed", error: null });
    expect(whole.output_text).toMatch(/^Sandbox answer/);
    const events = await collect(await client.responses.create({ ...asked, stream: true }));
    const pieces = events.flatMap((one) => (one.type === "response.output_text.delta" ? [one.delta] : []));
    expect(pieces.join("")).toBe(whole.output_text);
    expect(events.at(-1)).toMatchObject({ type: "response.completed", response: { usage: whole.usage } });
    const final = await client.responses.stream(asked).finalResponse();
    expect(final.output_text).toBe(whole.output_text);
  });

  it("gets a function call in a response, and an answer to its output", async ({ expect }) => {
    const asked = { model: "sandbox", tools: tools.map(toFunctionTool) };
    const input: OpenAI.Responses.ResponseInput = [{ role: "user", content: "Use get_weather for me" }];
    const response = await client.responses.create({ ...asked, input });
    const call = response.output.find((item) => item.type === "function_call");
    expect(response.output).toHaveLength(1);
    expect(call).toMatchObject({ type: "function_call", name: "get_weather", arguments: '{"city":"sandbox"}' });
    const output = {
      type: "function_call_output" as const,
      call_id: call?.call_id ?? "",
      output: "12 °C",
    };
    const answered = await client.responses.create({
      ...asked,
      input: [...input, ...(call === undefined ? [] : [call]), output],
    });
    expect(answered.output_text).toMatch(/^Sandbox answer/);
  });

  it("gets embeddings as numbers, packed or not, and text completions", async ({ expect }) => {
    const instance = { ...(await team.addSandbox("embed", "ok-embed")), model: "sandbox-embed" };
    await team.addPool("embed", [instance]);
    const packed = await client.embeddings.create({ model: "embed", input: ["a boat", "a ship"], dimensions: 64 });
    const plain = await client.embeddings.create({
      model: "embed",
      input: ["a boat", "a ship"],
      dimensions: 64,
      encoding_format: "float",
    });
    expect(packed.data.map(({ embedding }) => embedding.length)).toEqual([64, 64]);
    expect(packed.data.map(({ embedding }) => [...embedding])).toEqual(plain.data.map(({ embedding }) => embedding));
    const completion = await client.completions.create({ model: "sandbox", prompt: "Say hello" });
    expect(completion.choices[0]?.text).toMatch(/^Sandbox answer/);
  });
});

function toFunctionTool(tool: OpenAI.ChatCompletionTool): OpenAI.Responses.FunctionTool {
  if (tool.type !== "function") {
    throw new Error("only functions are used here");
  }
  const { name, parameters = null } = tool.function;
  return { type: "function", name, parameters, strict: false };
}

describe("what the SDK is told", () => {
  beforeAll(() => {
    for (const upstream of upstreams) {
      upstream.reset();
    }
  });

  it("lists the pools as models, in OpenAI's shape", async ({ expect }) => {
    const models = await collect(client.models.list());
    expect(models.map(({ id }) => id)).toEqual(expect.arrayContaining(["sandbox", "servers"]));
    expect(await client.models.retrieve("sandbox")).toMatchObject({ id: "sandbox", object: "model" });
  });

  it("raises the SDK's own error classes for refusals", async ({ expect }) => {
    const unknownModel = client.chat.completions.create({ model: "no-such-pool", messages: hello });
    await expect(unknownModel).rejects.toThrow(NotFoundError);
    await expect(unknownModel).rejects.toMatchObject({ code: "model_not_found", param: "model" });
    const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "sk-not-ours", maxRetries: 0 });
    await expect(stranger.models.list()).rejects.toThrow(AuthenticationError);
    const limited = await team.call("POST", "/api-keys", {
      name: "limited",
      scopes: ["models:invoke"],
      limits: { rpm: 2, models: ["sandbox"] },
    });
    const few = new OpenAI({ baseURL: `${url}/v1`, apiKey: String(limited.body["secret"]), maxRetries: 0 });
    const outside = few.chat.completions.create({ model: "servers", messages: hello });
    await expect(outside).rejects.toThrow(PermissionDeniedError);
    for (let n = 0; n < 2; n += 1) {
      await few.chat.completions.create({ model: "sandbox", messages: hello });
    }
    const error = await few.chat.completions.create({ model: "sandbox", messages: hello }).catch((caught) => caught);
    expect(error).toBeInstanceOf(RateLimitError);
    expect(Number(error.headers.get("retry-after"))).toBeGreaterThan(50);
    expect(Number(error.headers.get("retry-after"))).toBeLessThanOrEqual(60);
  });

  it("passes a caller's own mistake on as the upstream said it, without blame", async ({ expect }) => {
    const wrong = client.chat.completions.create({ model: "sandbox", messages: [] });
    await expect(wrong).rejects.toThrow(BadRequestError);
    expect(
      (await team.poolState("sandbox")).every(({ status, failures }) => status === "ready" && failures === 0),
    ).toBe(true);
  });

  it("never shows an upstream's key, headers or the provider's model list", async ({ expect }) => {
    const { secret } = await team.addKey("headers");
    const answer = await connect(url, secret)("POST", "/v1/chat/completions", { model: "servers", messages: hello });
    expect(answer.status).toBe(200);
    const names = [...answer.headers.keys()];
    expect(names.filter((name) => name.startsWith("x-ratelimit") || name === "set-cookie")).toEqual([]);
    expect(JSON.stringify([...answer.headers]) + answer.text).not.toContain("sk-of-e2e");
  });
});
