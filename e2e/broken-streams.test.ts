/** A stream that breaks never ends like a whole one: the SDK throws, raw readers see an error event and no `[DONE]`. */
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { APIError } from "openai";
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { type Call, connect, makeTeam, type Team } from "./support/client.ts";
import { answerJson, chunk, completion, event, openEvents, startWire, type Wire } from "./support/wire.ts";

const url = inject("serverUrl");
const hello = [{ role: "user" as const, content: "Say hello" }];
const impatient = { idle_timeout_ms: 500, first_byte_timeout_ms: 1_000 };

let team: Team;
let client: OpenAI;
let raw: Call;
let wire: Wire;

beforeAll(async () => {
  team = await makeTeam(url, inject("sessionToken"), "Broken");
  client = await team.openai();
  raw = connect(url, (await team.addKey("raw")).secret);
  wire = await startWire(inject("upstreamPorts")[4] ?? 0, (response) => void response.end());
});

afterAll(() => wire.stop());

/** A pool of the wire alone under a new name, so that no earlier break cools it. */
async function poolOfWire(name: string): Promise<string> {
  await team.addPool(name, [await team.addServer(name, `${wire.baseUrl}/${name}`)], impatient);
  return name;
}

/** Streams by the SDK and tells what came before the end, and the error, if it threw. */
async function stream(model: string): Promise<{ readonly pieces: string[]; readonly error: unknown }> {
  const pieces: string[] = [];
  try {
    for await (const part of await client.chat.completions.create({ model, messages: hello, stream: true })) {
      const content = part.choices[0]?.delta.content ?? "";
      if (content !== "") {
        pieces.push(content);
      }
    }
    return { pieces, error: null };
  } catch (error) {
    return { pieces, error };
  }
}

function threeChunks(response: ServerResponse): void {
  openEvents(response);
  response.write(chunk("one"));
  response.write(chunk(" two"));
  response.write(chunk(" three"));
}

interface Break {
  readonly name: string;
  readonly how: string;
  readonly play: (response: ServerResponse) => Promise<void>;
  readonly message: RegExp;
}

const breaks: readonly Break[] = [
  {
    name: "cut-socket",
    how: "whose socket breaks",
    async play(response) {
      threeChunks(response);
      await sleep(100);
      response.destroy();
    },
    message: /broke off/,
  },
  {
    name: "cut-reset",
    how: "whose socket is reset in the middle of an event",
    async play(response) {
      threeChunks(response);
      response.write(chunk(" never whole").slice(0, 40));
      await sleep(100);
      response.socket?.resetAndDestroy();
    },
    message: /broke off/,
  },
  {
    name: "cut-clean",
    how: "that ends in good order but without a finish",
    async play(response) {
      threeChunks(response);
      response.end();
    },
    message: /broke off/,
  },
  {
    name: "cut-done",
    how: "with a [DONE] that covers up a missing finish",
    async play(response) {
      threeChunks(response);
      response.end(event("[DONE]"));
    },
    message: /broke off/,
  },
  {
    name: "stalled",
    how: "that falls silent",
    async play(response) {
      threeChunks(response);
    },
    message: /stopped sending/,
  },
  {
    name: "in-band",
    how: "that turns into an error",
    async play(response) {
      threeChunks(response);
      response.end(event({ error: { message: "the model fell over", type: "server_error" } }) + event("[DONE]"));
    },
    message: /the model fell over/,
  },
];

describe.each(breaks)("a stream $how after three chunks", ({ name, play, message }) => {
  it("makes the SDK throw after the three chunks", async ({ expect }) => {
    wire.play(play);
    const { pieces, error } = await stream(await poolOfWire(name));
    expect(pieces).toEqual(["one", " two", " three"]);
    expect(error).toBeInstanceOf(APIError);
    expect(String(error)).toMatch(message);
  });

  it("ends with an error event and no [DONE] for a raw reader", async ({ expect }) => {
    wire.play(play);
    const model = await poolOfWire(`${name}-raw`);
    const answer = await raw("POST", "/v1/chat/completions", { model, messages: hello, stream: true });
    const events = answer.text.split("\n\n").filter((text) => text.startsWith("data: "));
    expect(answer.status).toBe(200);
    expect(events.slice(0, 3).join("")).toMatch(/one.* two.* three/);
    expect(JSON.parse(events.at(-1)?.slice("data: ".length) ?? "")).toMatchObject({ error: { message } });
    expect(answer.text).not.toContain("[DONE]");
  });
});

describe("the sandbox's misbehaving credentials", () => {
  it("cut: the SDK throws after three chunks", async ({ expect }) => {
    await team.addPool("sandbox-cut", [await team.addSandbox("cut", "cut")]);
    const { pieces, error } = await stream("sandbox-cut");
    expect(pieces).toHaveLength(3);
    expect(error).toBeInstanceOf(APIError);
  });

  it("cut: a JSON answer that breaks half-way comes whole from the next instance", async ({ expect }) => {
    await team.addPool("cut-then-ok", [
      await team.addSandbox("cut-j", "cut", 1000),
      await team.addSandbox("ok-j", "ok"),
    ]);
    const { data, response } = await client.chat.completions
      .create({ model: "cut-then-ok", messages: hello })
      .withResponse();
    expect(data.choices[0]?.finish_reason).toBe("stop");
    expect(response.headers.get("x-gatehouse-instance")).toBe("ok-j");
    expect(response.headers.get("x-gatehouse-attempts")).toBe("2");
  });

  it("stall: the SDK throws as soon as the pool's idle time-out is over", async ({ expect }) => {
    await team.addPool("sandbox-stall", [await team.addSandbox("stall", "stall")], impatient);
    const startedAt = Date.now();
    const { pieces, error } = await stream("sandbox-stall");
    expect(pieces).toHaveLength(1);
    expect(String(error)).toMatch(/stopped sending/);
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(impatient.idle_timeout_ms);
    expect(Date.now() - startedAt).toBeLessThan(5_000);
  });

  it("inband-error: an error on a 200 goes to the next instance, in JSON and in streams", async ({ expect }) => {
    for (const mode of ["json", "stream"]) {
      const bad = await team.addSandbox(`in-band-${mode}`, "inband-error", 1000);
      await team.addPool(`in-band-${mode}`, [bad, await team.addSandbox(`ok-${mode}`, "ok")]);
    }
    const whole = await client.chat.completions.create({ model: "in-band-json", messages: hello }).withResponse();
    expect(whole.response.headers.get("x-gatehouse-attempts")).toBe("2");
    const { pieces, error } = await stream("in-band-stream");
    expect(error).toBeNull();
    expect(pieces.length).toBeGreaterThan(3);
  });

  it("inband-error: with no other instance the SDK throws an upstream failure, not a 200", async ({ expect }) => {
    await team.addPool("in-band-alone", [await team.addSandbox("in-band-alone", "inband-error")]);
    const { pieces, error } = await stream("in-band-alone");
    expect(pieces).toEqual([]);
    expect(error).toMatchObject({ status: 502, code: "upstream_failed" });
  });
});

/** Streams a response by the SDK and tells the text before the end, and the error, if it threw. */
async function respond(model: string): Promise<{ readonly pieces: string[]; readonly error: unknown }> {
  const pieces: string[] = [];
  try {
    for await (const one of await client.responses.create({ model, input: "Say hello", stream: true })) {
      if (one.type === "response.output_text.delta") {
        pieces.push(one.delta);
      }
    }
    return { pieces, error: null };
  } catch (error) {
    return { pieces, error };
  }
}

describe("a response that breaks", () => {
  it.for([
    { behaviour: "cut", pieces: 3, text: /broke off/ },
    { behaviour: "stall", pieces: 1, text: /stopped sending/ },
  ])(
    "$behaviour: the SDK throws after what was said, and never makes a response of it",
    async ({ behaviour, pieces, text }, { expect }) => {
      const model = `response-${behaviour}`;
      await team.addPool(model, [await team.addSandbox(model, behaviour)], impatient);
      const broken = await respond(model);
      expect(broken.pieces).toHaveLength(pieces);
      expect(broken.error).toBeInstanceOf(APIError);
      expect(String(broken.error)).toMatch(text);
      const again = `${model}-final`;
      await team.addPool(again, [await team.addSandbox(again, behaviour)], impatient);
      await expect(client.responses.stream({ model: again, input: "Say hello" }).finalResponse()).rejects.toThrow(text);
    },
  );

  it("in-band error: the next instance answers, whole and streamed", async ({ expect }) => {
    for (const mode of ["json", "stream"]) {
      const bad = await team.addSandbox(`response-bad-${mode}`, "inband-error", 1000);
      await team.addPool(`response-${mode}`, [bad, await team.addSandbox(`response-ok-${mode}`, "ok")]);
    }
    const whole = await client.responses.create({ model: "response-json", input: "Say hello" }).withResponse();
    expect(whole.response.headers.get("x-gatehouse-attempts")).toBe("2");
    const { pieces, error } = await respond("response-stream");
    expect(error).toBeNull();
    expect(pieces.join("")).toBe(whole.data.output_text);
  });
});

describe("the SDK that retries", () => {
  it("does so when our header says, and no earlier", async ({ expect }) => {
    const keen = await team.openai(1);
    const arrivals: number[] = [];
    wire.play((response) => {
      arrivals.push(performance.now());
      const error = { error: { message: "slow down", type: "requests", code: "rate_limit_exceeded" } };
      answerJson(response, arrivals.length === 1 ? 429 : 200, arrivals.length === 1 ? error : completion("hi"), {
        "retry-after": "2",
      });
    });
    const answer = await keen.chat.completions.create({ model: await poolOfWire("limited"), messages: hello });
    expect(answer.choices[0]?.message.content).toBe("hi");
    expect(arrivals).toHaveLength(2);
    expect((arrivals[1] ?? 0) - (arrivals[0] ?? 0)).toBeGreaterThanOrEqual(1_990);
    expect((arrivals[1] ?? 0) - (arrivals[0] ?? 0)).toBeLessThan(6_000);
  });

  it("does not repeat what no repeat can mend", async ({ expect }) => {
    const keen = await team.openai(2);
    wire.play((response) =>
      answerJson(response, 413, { error: { message: "too large", type: "invalid_request_error" } }),
    );
    const before = wire.calls();
    const model = await poolOfWire("too-large");
    await expect(keen.chat.completions.create({ model, messages: hello })).rejects.toMatchObject({ status: 413 });
    expect(wire.calls() - before).toBe(1);
  });
});

describe("an upstream that never begins", () => {
  it("is left for the next instance when the first-byte time-out is over", async ({ expect }) => {
    wire.play(() => undefined);
    const silent = await team.addServer("silent", `${wire.baseUrl}/silent`, 1000);
    await team.addPool("silent-first", [silent, await team.addSandbox("awake", "ok")], impatient);
    const startedAt = Date.now();
    const { pieces, error } = await stream("silent-first");
    expect(error).toBeNull();
    expect(pieces.length).toBeGreaterThan(3);
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(impatient.first_byte_timeout_ms);
    expect(Date.now() - startedAt).toBeLessThan(6_000);
  });
});
