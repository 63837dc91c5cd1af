import * as fc from "fast-check";
import { describe, it } from "vitest";
import { fromUtf8, joinChunks, utf8 } from "../../src/base/bytes.js";
import { AppError } from "../../src/base/errors.js";
import { Secret } from "../../src/base/secret.js";
import { type Answer, readResult } from "../../src/gateway/answer.js";
import { openHold } from "../../src/gateway/budget.js";
import { scanForm } from "../../src/gateway/form.js";
import { createLeash } from "../../src/gateway/leash.js";
import { openStream, type Opening, type StreamContext } from "../../src/gateway/opening.js";
import { splice } from "../../src/gateway/scan.js";
import { relayStream, type Report } from "../../src/gateway/stream.js";
import { readAnswerUsage } from "../../src/gateway/usage.js";
import type { UpstreamEndpoint } from "../../src/providers/contract.js";
import { deep, seed } from "../support/deep.js";
import { dialectOf, endpointOf, fakeStream, type StreamEnd } from "./fake-stream.js";
import { messages, recordings, responses } from "./recorded.js";

function contextOf(name: UpstreamEndpoint, choices = 1): StreamContext {
  return {
    leash: createLeash(new AbortController().signal),
    endpoint: endpointOf(name),
    requestId: "req_1",
    choices,
    promptTokens: 11,
    headers: new Headers(),
    hideUsage: false,
    secrets: [new Secret("sk-very-secret-0123456789")],
    idleMs: 5_000,
    keepAliveMs: 5_000,
    hold: openHold({ maxBytes: 24 * 1_048_576, usedBytes: 0 }),
  };
}

type Parts = readonly (string | Uint8Array)[];

async function open(name: UpstreamEndpoint, parts: Parts, end: StreamEnd = "close"): Promise<Opening> {
  return await openStream(fakeStream(parts, end).body, dialectOf(name), contextOf(name));
}

/** What the caller gets of an upstream's stream, and what is reported of it; null when it is never committed. */
async function play(
  name: UpstreamEndpoint,
  parts: Parts,
  end: StreamEnd = "close",
  choices = 1,
): Promise<{ text: string; report: Report } | null> {
  const context = contextOf(name, choices);
  const opening = await openStream(fakeStream(parts, end).body, dialectOf(name), context).catch(() => null);
  if (opening?.kind !== "committed") {
    return null;
  }
  const report = Promise.withResolvers<Report>();
  const text = await new Response(relayStream(opening.stream, context, report.resolve)).text();
  return { text, report: await report.promise };
}

const lastEvent = (text: string) => text.split("\n\n").at(-2) ?? "";
const dataOf = (event: string) => JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? "null");

describe.for(recordings)("the stream of $endpoint", ({ endpoint, events, opening, usage }) => {
  const whole = events.join("");

  it("passes byte for byte, tells its usage, and commits at its first content and no sooner", async ({ expect }) => {
    for (const size of [1, 7, 64, whole.length * 2]) {
      const bytes = utf8(whole);
      const parts = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, (at + 1) * size),
      );
      expect(await play(endpoint, parts), `chunks of ${size}`).toEqual({
        text: whole,
        report: { result: "ok", failure: null, usage },
      });
    }
    expect((await open(endpoint, events.slice(0, opening), "close")).kind).toBe("failed");
    const held = await open(endpoint, events);
    expect(held.kind === "committed" ? held.stream.events.length : held).toBe(opening + 1);
  });

  it("never ends like a whole one when it is cut at any byte, nor when it stops there", async ({ expect }) => {
    const bytes = utf8(whole);
    // The last event's data is whole before its blank line: what follows it may be missing.
    const dataEnd = bytes.length - 2;
    let committed = 0;
    for (let at = 0; at < dataEnd; at += 1) {
      // A broken connection goes the same way as a close that comes too early.
      for (const end of at % deep(7, 1) === 0 ? (["close", "error"] as const) : (["close"] as const)) {
        const played = await play(endpoint, [bytes.subarray(0, at)], end);
        if (played !== null) {
          committed += 1;
          expect([at, played.report.result, played.report.failure?.code]).toEqual([at, "failed", "cut"]);
          const last = lastEvent(played.text);
          expect(dataOf(last).error, last).toMatchObject({ message: expect.stringContaining("broke off") });
          expect(whole.startsWith(played.text.slice(0, played.text.length - last.length - 2)), last).toBe(true);
        }
      }
    }
    expect(committed).toBeGreaterThan(50);
  });
});

describe("streams of all wires", () => {
  it("are ended by an error in each wire's own shape, which the wire's clients throw on", async ({ expect }) => {
    const [, , , , delta = ""] = responses();
    const failed = await play("responses", [...responses().slice(0, 5), delta], "error");
    expect(lastEvent(failed?.text ?? "").startsWith("event: error\n")).toBe(true);
    expect(dataOf(lastEvent(failed?.text ?? ""))).toEqual({
      type: "error",
      code: "stream_cut",
      message: "The provider's stream broke off before its end.",
      param: null,
      sequence_number: 5,
      error: {
        message: "The provider's stream broke off before its end.",
        type: "server_error",
        param: null,
        code: "stream_cut",
      },
    });
    const cut = await play("messages", messages().slice(0, 5), "error");
    expect(lastEvent(cut?.text ?? "").startsWith("event: error\n")).toBe(true);
    expect(dataOf(lastEvent(cut?.text ?? ""))).toEqual({
      type: "error",
      error: { type: "api_error", message: "The provider's stream broke off before its end." },
    });
    expect(cut?.report.usage).toEqual({
      prompt_tokens: 115,
      completion_tokens: 2,
      cached_tokens: 100,
      cache_write_tokens: 5,
      estimated: true,
    });
  });

  it("bring errors in-band that are classed by their own words, before and after commit", async ({ expect }) => {
    const cases: [UpstreamEndpoint, readonly string[], string, string][] = [
      [
        "responses",
        responses().slice(0, 4),
        `event: response.failed\ndata: {"type":"response.failed","response":{"id":"r","error":{"code":"rate_limit_exceeded","message":"slow sk-very-secret-0123456789"}}}\n\n`,
        "rate_limit",
      ],
      [
        "responses",
        responses().slice(0, 4),
        `event: error\ndata: {"type":"error","code":"server_error","message":"no","param":null}\n\n`,
        "transient",
      ],
      [
        "messages",
        messages().slice(0, 3),
        `event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n`,
        "overloaded",
      ],
      [
        "audio/transcriptions",
        [],
        `data: {"type":"error","error":{"code":"server_error","message":"no"}}\n\n`,
        "transient",
      ],
      [
        "images/generations",
        [],
        `event: error\ndata: {"error":{"code":"server_error","message":"no"}}\n\n`,
        "transient",
      ],
    ];
    for (const [endpoint, before, error, kind] of cases) {
      expect(await open(endpoint, [...before, error])).toMatchObject({ kind: "failed", failure: { class: kind } });
      const events = recordings.find((recording) => recording.endpoint === endpoint)?.events ?? [];
      const played = await play(endpoint, [...events.slice(0, before.length + 1), error]);
      expect(played?.report, error).toMatchObject({ result: "failed", failure: { class: kind } });
      expect(played?.text).not.toContain("sk-very-secret");
      expect(dataOf(lastEvent(played?.text ?? "")).error.message.length).toBeGreaterThan(1);
    }
  });

  it("are read whatever comes, and nothing that is not whole ends one", ({ expect }) => {
    const types = ["response.completed", "response.failed", "message_start", "message_delta", "message_stop", "error"];
    const told = fc.oneof(fc.constantFrom(...types, "transcript.text.done", "x.completed"), fc.string());
    const value = fc.oneof(
      fc.jsonValue(),
      fc.record({ type: told, response: fc.jsonValue(), message: fc.jsonValue(), delta: fc.jsonValue() }),
      fc.record({ choices: fc.jsonValue(), usage: fc.jsonValue(), error: fc.jsonValue() }),
    );
    const name = fc.option(told, { nil: null });
    fc.assert(
      fc.property(fc.constantFrom(...recordings), name, value, fc.nat(200), ({ endpoint }, event, data, cut) => {
        const text = JSON.stringify(data);
        const { readMeaning, skimMeaning } = dialectOf(endpoint);
        for (const read of [readMeaning, skimMeaning]) {
          expect(read({ bytes: new Uint8Array(), name: event, data: text }).kind).toMatch(/^[a-z]+$/);
          const part = text.slice(0, Math.min(cut, text.length - 1));
          expect(part.startsWith("{") ? read({ bytes: new Uint8Array(), name: event, data: part }).kind : "").not.toBe(
            "done",
          );
        }
      }),
      { numRuns: deep(500, 50_000), seed: seed() },
    );
  });

  it("keep the kind of an upstream's error where the wire has a word for it", async ({ expect }) => {
    const error = `event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n`;
    const played = await play("messages", [...messages().slice(0, 4), error]);
    expect(dataOf(lastEvent(played?.text ?? ""))).toEqual({
      type: "error",
      error: { type: "overloaded_error", message: "Overloaded" },
    });
  });

  it("end without a finish only as cut: message_stop, or an image that is missing", async ({ expect }) => {
    const silent = messages().filter((event) => !event.includes("message_delta"));
    expect((await play("messages", silent))?.report.failure?.code).toBe("no_finish");
    const [partial = "", completed = ""] = recordings.at(-1)?.events ?? [];
    expect((await play("images/generations", [partial, completed], "close", 2))?.report.result).toBe("failed");
    expect((await play("images/generations", [partial, completed, completed], "close", 2))?.report.result).toBe("ok");
  });

  it("take an incomplete response for the end that it is, and a tool call for content", async ({ expect }) => {
    const incomplete = `event: response.incomplete\ndata: ${JSON.stringify({ type: "response.incomplete", response: { incomplete_details: { reason: "max_output_tokens" }, usage: { input_tokens: 3, output_tokens: 9 } } })}\n\n`;
    expect((await play("responses", responses(incomplete)))?.report).toEqual({
      result: "ok",
      failure: null,
      usage: { prompt_tokens: 3, completion_tokens: 9 },
    });
    const call = `event: response.output_item.added\ndata: {"type":"response.output_item.added","item":{"type":"function_call","name":"f","arguments":""}}\n\n`;
    expect((await open("responses", [...responses().slice(0, 2), call])).kind).toBe("committed");
    const tool = `event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}\n\n`;
    expect((await open("messages", [...messages().slice(0, 1), tool])).kind).toBe("committed");
  });

  it("are kept open on Anthropic's wire by a ping", async ({ expect }) => {
    const context = { ...contextOf("messages"), keepAliveMs: 20 };
    const opening = await openStream(
      fakeStream(messages().slice(0, 4), "silence").body,
      dialectOf("messages"),
      context,
    );
    if (opening.kind !== "committed") {
      throw new Error("not committed");
    }
    const reader = relayStream(opening.stream, context, () => undefined).getReader();
    const heard: string[] = [];
    for (let reads = 0; reads < 6; reads += 1) {
      heard.push(fromUtf8((await reader.read()).value ?? new Uint8Array()));
    }
    const ping = 'event: ping\ndata: {"type": "ping"}\n\n';
    expect(heard.slice(4)).toEqual([ping, ping]);
    await reader.cancel();
  });
});

const speech = (parts: Parts, headers: Record<string, string>, end: StreamEnd = "close") =>
  readResult(new Response(fakeStream(parts, end).body, { headers }), contextOf("audio/speech"));

async function bodyOf(answer: Answer): Promise<string> {
  return answer.kind === "committed" ? await new Response(answer.body).text() : (answer.failure.code ?? "");
}

describe("answers that are neither JSON nor events", () => {
  it("pass from their first bytes on, and are held to the length that was announced", async ({ expect }) => {
    const type = { "content-type": "audio/mpeg" };
    const length = { ...type, "content-length": "6" };
    expect(await bodyOf(await speech(["abc", "def"], type))).toBe("abcdef");
    expect(await bodyOf(await speech(["abc", "def"], length))).toBe("abcdef");
    await expect(speech(["abc"], length).then(bodyOf)).rejects.toThrow(/./);
    await expect(speech(["abc"], type, "error").then(bodyOf)).rejects.toThrow(/./);
    // What the platform has unpacked is longer than was announced.
    expect(await bodyOf(await speech(["abc", "def", "g"], { ...length, "content-encoding": "gzip" }))).toBe("abcdefg");
  });

  it("are no answer when they are empty, a page or an error", async ({ expect }) => {
    expect(await bodyOf(await speech([], { "content-type": "audio/mpeg" }))).toBe("empty_answer");
    expect(await bodyOf(await speech(["<html>"], { "content-type": "text/html" }))).toBe("malformed_answer");
    const error = JSON.stringify({ error: { message: "x", type: "server_error", code: "server_error" } });
    expect(await bodyOf(await speech([error], { "content-type": "application/json" }))).toBe("server_error");
  });
});

describe("readAnswerUsage", () => {
  it("reads the counts of every wire", ({ expect }) => {
    const cases: [object, object | null][] = [
      [{ usage: { prompt_tokens: 5, total_tokens: 5 } }, { prompt_tokens: 5, completion_tokens: 0 }],
      [{ usage: { total_tokens: 8 } }, { prompt_tokens: 8, completion_tokens: 0 }],
      [
        { usage: { prompt_tokens: 9, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 4 } } },
        { prompt_tokens: 9, completion_tokens: 2, cached_tokens: 4 },
      ],
      [
        { usage: { prompt_tokens: 9, completion_tokens: 2, prompt_cache_hit_tokens: 3 } },
        { prompt_tokens: 9, completion_tokens: 2, cached_tokens: 3 },
      ],
      [
        { usage: { input_tokens: 1, cache_read_input_tokens: 6, cache_creation_input_tokens: 2, output_tokens: 3 } },
        { prompt_tokens: 9, completion_tokens: 3, cached_tokens: 6, cache_write_tokens: 2 },
      ],
      [{ meta: { tokens: { input_tokens: 7, output_tokens: 0 } } }, { prompt_tokens: 7, completion_tokens: 0 }],
      [{ meta: { billed_units: { search_units: 1 } } }, null],
      [{ usage: { type: "duration", seconds: 9 } }, null],
      [{ usage: { prompt_tokens: -1 } }, null],
    ];
    for (const [answer, usage] of cases) {
      expect(readAnswerUsage(answer), JSON.stringify(answer)).toEqual(usage);
    }
  });
});

const boundary = "----formdata-1";
const formType = `multipart/form-data; boundary=${boundary}`;
const names = endpointOf("audio/transcriptions").fields;

interface FormPart {
  readonly head: string;
  readonly body: Uint8Array;
}

function writeForm(parts: readonly FormPart[]): Uint8Array<ArrayBuffer> {
  const chunks = parts.flatMap(({ head, body }) => [utf8(`--${boundary}\r\n${head}\r\n\r\n`), body, utf8("\r\n")]);
  return join([...chunks, utf8(`--${boundary}--\r\n`)]);
}

function join(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  chunks.reduce((at, chunk) => {
    joined.set(chunk, at);
    return at + chunk.length;
  }, 0);
  return joined;
}

const field = (name: string, value: string): FormPart => ({
  head: `Content-Disposition: form-data; name="${name}"`,
  body: utf8(value),
});
const file = (body: Uint8Array): FormPart => ({
  head: 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav',
  body,
});

const codeOf = (form: Uint8Array, type = formType) => {
  try {
    scanForm(form, type, names);
    return "accepted";
  } catch (error) {
    return error instanceof AppError ? error.code : String(error);
  }
};

describe("scanForm", () => {
  it("splices the model and keeps every other byte, whatever the files hold", async ({ expect }) => {
    // Bytes that look like the form's own grammar come up often.
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .constantFrom("\r\n", "--", "\r\n--", "\r\n\r\n", `--${boundary}`, `\n--${boundary}--`, 'name="model"')
        .map(utf8),
    );
    const content = fc.array(piece, { maxLength: 12 }).map(join);
    await fc.assert(
      fc.asyncProperty(content, fc.nat(2), fc.string({ minLength: 1, maxLength: 20 }), async (bytes, place, model) => {
        fc.pre(!`\r\n${latin1(bytes)}`.includes(`\r\n--${boundary}`) && !/[\r\n]/.test(model) && model.isWellFormed());
        const others = [file(bytes), field("language", "de")];
        const form = writeForm(others.toSpliced(place, 0, field("model", "mix")));
        const scan = scanForm(form, formType, names);
        expect(scan.fields.model?.value).toBe("mix");
        expect(scan.fileBytes).toBe(bytes.length);
        const spliced = joinChunks(splice(form, scan, { model, streamUsage: false, cap: null }).parts);
        expect(spliced).toEqual(writeForm(others.toSpliced(place, 0, field("model", model))));
      }),
      { numRuns: deep(200, 20_000), seed: seed() },
    );
  });

  it("reads what the platform's own writer makes, and the platform reads what it has spliced", async ({ expect }) => {
    const data = new FormData();
    data.append("model", "mix");
    data.append("stream", "true");
    data.append("file", new File([new Uint8Array([0, 13, 10, 45, 45, 255])], 'ä "x".wav'));
    const request = new Request("https://x.test", { method: "POST", body: data });
    const type = request.headers.get("content-type") ?? "";
    const body = new Uint8Array(await request.arrayBuffer());
    const scan = scanForm(body, type, names);
    expect([scan.fields.model?.value, scan.fields.stream?.value, scan.fileBytes]).toEqual(["mix", "true", 6]);
    const spliced = joinChunks(splice(body, scan, { model: "whisper-1", streamUsage: false, cap: null }).parts);
    const read = await new Response(spliced, { headers: { "content-type": type } }).formData();
    expect(read.get("model")).toBe("whisper-1");
    const sent = read.get("file");
    expect(sent instanceof File ? new Uint8Array(await sent.arrayBuffer()) : null).toEqual(
      new Uint8Array([0, 13, 10, 45, 45, 255]),
    );
  });

  it("refuses what another reader could read differently", ({ expect }) => {
    const good = writeForm([field("model", "mix"), file(utf8("x"))]);
    const text = fromUtf8(good);
    const cases: [string, Uint8Array, string][] = [
      ["whole", good, "accepted"],
      ["two models", writeForm([field("model", "a"), field("model", "b")]), "repeated_field"],
      ["cut", good.subarray(0, -4), "malformed_form"],
      ["empty", new Uint8Array(), "malformed_form"],
      [
        "a boundary that runs on",
        utf8(text.replace(`\r\n--${boundary}\r\n`, `\r\n--${boundary}x\r\n`)),
        "malformed_form",
      ],
      [
        "padding behind a boundary",
        utf8(text.replace(`\r\n--${boundary}\r\n`, `\r\n--${boundary} \r\n`)),
        "malformed_form",
      ],
      ["lines that end in LF", utf8(text.replaceAll("\r\n", "\n")), "malformed_form"],
      ["two names", utf8(text.replace('name="model"', 'name="model"; name="x"')), "malformed_form"],
      ["an encoded name", utf8(text.replace('name="model"', "name*=utf-8''model")), "malformed_form"],
      ["no name", utf8(text.replace('; name="model"', "")), "malformed_form"],
      ["a folded header", utf8(text.replace('; name="model"', ';\r\n name="model"')), "malformed_form"],
      [
        "two dispositions",
        utf8(text.replace("Content-Type: audio/wav", 'Content-Disposition: form-data; name="model"')),
        "malformed_form",
      ],
      ["a model as a file", utf8(text.replace('name="model"', 'name="model"; filename="m"')), "malformed_form"],
      ["a model of 5 KB", writeForm([field("model", "m".repeat(5_000))]), "malformed_form"],
      [
        "a model that is no UTF-8",
        writeForm([{ ...field("model", ""), body: new Uint8Array([0xff]) }]),
        "malformed_form",
      ],
    ];
    for (const [name, form, code] of cases) {
      expect([name, codeOf(form)]).toEqual([name, code]);
    }
    expect(codeOf(good, "multipart/form-data")).toBe("malformed_form");
    expect(codeOf(good, `multipart/form-data; boundary="${boundary}"`)).toBe("accepted");
  });
});

function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}
