import { describe, it } from "vitest";
import { fromUtf8, utf8 } from "../../src/base/bytes.js";
import { Secret } from "../../src/base/secret.js";
import { type Budget, openHold } from "../../src/gateway/budget.js";
import { createLeash, type Leash } from "../../src/gateway/leash.js";
import { openStream, type Opening, type StreamContext } from "../../src/gateway/opening.js";
import { relayStream, type Report } from "../../src/gateway/stream.js";
import { deep } from "../support/deep.js";
import {
  chunk,
  delta,
  dialectOf,
  done,
  endpointOf,
  fakeStream,
  recorded,
  role,
  usageChunk,
  type FakeStream,
} from "./fake-stream.js";

const key = new Secret("sk-very-secret-0123456789");
const whole = recorded.join("");
const withoutUsage = recorded.filter((event) => event !== usageChunk).join("");

interface Setting {
  readonly client?: AbortSignal;
  readonly hideUsage?: boolean;
  readonly idleMs?: number;
  readonly keepAliveMs?: number;
  readonly budget?: Budget;
}

function contextOf(setting: Setting = {}): StreamContext & { leash: Leash } {
  return {
    leash: createLeash(setting.client ?? new AbortController().signal),
    endpoint: endpointOf("chat/completions"),
    requestId: "req_1",
    choices: 1,
    promptTokens: 11,
    headers: new Headers(),
    hideUsage: setting.hideUsage ?? false,
    secrets: [key],
    idleMs: setting.idleMs ?? 10_000,
    keepAliveMs: setting.keepAliveMs ?? 10_000,
    hold: openHold(setting.budget ?? { maxBytes: 24 * 1_048_576, usedBytes: 0 }),
  };
}

interface Relayed {
  readonly context: ReturnType<typeof contextOf>;
  readonly body: ReadableStream<Uint8Array>;
  readonly report: Promise<Report>;
  readonly reports: Report[];
}

async function start(source: FakeStream, setting: Setting = {}): Promise<Relayed> {
  const context = contextOf(setting);
  const opening = await openStream(source.body, dialectOf("chat/completions"), context);
  if (opening.kind !== "committed") {
    throw new Error(`not committed: ${opening.failure.code ?? ""}`);
  }
  const reports: Report[] = [];
  const ended = Promise.withResolvers<Report>();
  const body = relayStream(opening.stream, context, (report) => {
    reports.push(report);
    ended.resolve(report);
  });
  return { context, body, report: ended.promise, reports };
}

async function readAll(body: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(body).text();
}

/** The error of the last event; null when the stream ends in another way. */
function lastError(text: string): { code: string; message: string; type: string } | null {
  const last = text.split("\n\n").at(-2) ?? "";
  const parsed = last.startsWith("data: {")
    ? (JSON.parse(last.slice(6)) as { error?: { code: string; message: string; type: string } })
    : {};
  return text.endsWith("\n\n") ? (parsed.error ?? null) : null;
}

async function open(
  parts: readonly (string | number)[],
  end: "close" | "error" | "silence" = "close",
): Promise<Opening> {
  return await openStream(fakeStream(parts, end).body, dialectOf("chat/completions"), contextOf());
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("openStream", () => {
  it("holds role deltas, comments and empty chunks back until the first content of any kind", async ({ expect }) => {
    const contents = [
      delta({ content: "x" }),
      delta({ reasoning_content: "hm" }),
      delta({ tool_calls: [{ index: 0, id: "call_1", function: { name: "f", arguments: "" } }] }),
      delta({ refusal: "no" }),
      delta({ audio: { data: "AAAA" } }),
      delta({}, "stop"),
    ];
    for (const content of contents) {
      const before = [
        ": hello\n\n",
        role,
        delta({ content: "", refusal: null }),
        chunk([]),
        "event: ping\ndata: {}\n\n",
      ];
      const opening = await open([...before, content, delta({ content: "later" })]);
      expect(opening.kind, content).toBe("committed");
      const events = opening.kind === "committed" ? opening.stream.events.map(({ bytes }) => fromUtf8(bytes)) : [];
      expect(events).toEqual([...before, content]);
    }
  });

  it("fails for another instance to try when a stream ends, breaks or errs before any content", async ({ expect }) => {
    const cases: [string, Opening][] = [
      ["cut", await open([role])],
      ["empty_stream", await open([])],
      ["empty_stream", await open([role, done])],
      ["malformed_event", await open([role, "data: <html>\n\n"])],
      ["server_error", await open([role, 'data: {"error":{"message":"x","type":"server_error"}}\n\n'])],
      ["no_content", await open(Array.from({ length: 20 }, () => `: ${"x".repeat(65_536)}\n\n`))],
    ];
    for (const [code, opening] of cases) {
      expect(opening).toMatchObject({ kind: "failed", failure: { class: "transient", code } });
    }
    await expect(open([role], "error")).rejects.toThrow("connection lost");
  });

  it("classes an in-band error by its own code", async ({ expect }) => {
    const opening = await open([
      'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n',
    ]);
    expect(opening).toMatchObject({
      kind: "failed",
      failure: { class: "overloaded", status: 200, code: "overloaded_error" },
    });
  });
});

describe("relayStream", () => {
  it("passes a whole stream on byte for byte, however the upstream cuts it", async ({ expect }) => {
    const bytes = utf8(whole);
    for (const size of [1, 2, 3, 7, 64, 1000, bytes.length]) {
      const parts = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      const { body, report } = await start(fakeStream(parts));
      expect(await readAll(body), `chunks of ${size}`).toBe(whole);
      expect(await report).toEqual({ result: "ok", failure: null, usage: { prompt_tokens: 7, completion_tokens: 3 } });
    }
  });

  it("keeps odd bytes as they are: CR LF, comments, unknown fields, invalid UTF-8", async ({ expect }) => {
    const odd = utf8(
      `: hi\r\n\r\nid: 7\r\ndata: {"choices":[{"delta":{"content":"?"}}],\r\ndata: "x": 1}\r\n\r\n${delta({}, "stop")}${done}`,
    );
    odd[odd.indexOf(0x3f)] = 0xff;
    const { body } = await start(fakeStream([odd]));
    expect(new Uint8Array(await new Response(body).arrayBuffer())).toEqual(odd);
  });

  it("leaves out the usage chunk that only we asked for, and still reads it", async ({ expect }) => {
    const { body, report } = await start(fakeStream(recorded), { hideUsage: true });
    expect(await readAll(body)).toBe(withoutUsage);
    expect((await report).usage).toEqual({ prompt_tokens: 7, completion_tokens: 3 });
  });

  it("keeps usage that stands on a chunk with choices, whoever asked", async ({ expect }) => {
    const parts = [
      delta({ content: "x" }),
      chunk([{ index: 0, delta: {}, finish_reason: "stop" }], { usage: { prompt_tokens: 1, completion_tokens: 2 } }),
      done,
    ];
    const { body, report } = await start(fakeStream(parts), { hideUsage: true });
    expect(await readAll(body)).toBe(parts.join(""));
    expect((await report).usage).toEqual({ prompt_tokens: 1, completion_tokens: 2 });
  });

  it("never lets a stream cut at any byte end like a whole one", async ({ expect }) => {
    const bytes = utf8(whole);
    const firstContent = utf8(recorded.slice(0, 2).join("")).length;
    const beginnings = new Set(recorded.map((_, index) => recorded.slice(0, index).join("")));
    const step = deep(3, 1);
    let cuts = 0;
    for (let at = firstContent; at < bytes.length; at += at > bytes.length - 40 ? 1 : step) {
      for (const end of ["close", "error"] as const) {
        const { body, reports } = await start(
          fakeStream([bytes.subarray(0, firstContent), bytes.subarray(firstContent, at)], end),
        );
        const text = await readAll(body);
        // The end was told, only its blank line is missing.
        if (new TextDecoder().decode(bytes.subarray(0, at)).trimEnd().endsWith("[DONE]")) {
          expect(reports[0]?.result).toBe("ok");
          continue;
        }
        cuts += 1;
        expect(text, `cut at ${at} by ${end}`).not.toContain("[DONE]");
        expect(lastError(text), `cut at ${at} by ${end}`).toMatchObject({ code: "stream_cut", type: "server_error" });
        const passed = text.slice(0, text.lastIndexOf('data: {"error"'));
        expect(beginnings.has(passed), `whole events only, cut at ${at}`).toBe(true);
        expect(reports).toHaveLength(1);
        expect(reports[0]).toMatchObject({ result: "failed", failure: { class: "transient", code: "cut" } });
      }
    }
    console.log(`${cuts} cuts of a stream of ${bytes.length} bytes`);
  });

  it("does not believe a [DONE] without any finish before it", async ({ expect }) => {
    const { body, report } = await start(fakeStream([role, delta({ content: "half" }), done]));
    const text = await readAll(body);
    expect(text).not.toContain("[DONE]");
    expect(lastError(text)?.code).toBe("stream_cut");
    expect(await report).toMatchObject({ result: "failed", failure: { code: "no_finish" } });
  });

  it("ends a stall with an error event after the idle time-out, and lets the upstream go", async ({ expect }) => {
    const source = fakeStream([role, delta({ content: "x" })], "silence");
    const { body, report } = await start(source, { idleMs: 150 });
    const text = await readAll(body);
    expect(text.startsWith(role + delta({ content: "x" }))).toBe(true);
    expect(lastError(text)?.code).toBe("stream_stalled");
    expect(await report).toMatchObject({
      result: "failed",
      failure: { class: "transient", code: "idle_timeout", timed_out: true },
    });
    await source.cancelled;
  });

  it("ends with an error event when the total time is over, even if nobody reads", async ({ expect }) => {
    const source = fakeStream([role, delta({ content: "x" })], "silence");
    const { context, body, report } = await start(source);
    context.leash.arm(100, "total");
    expect(await report).toMatchObject({ result: "failed", failure: { code: "total_timeout", timed_out: true } });
    expect(lastError(await readAll(body))?.code).toBe("timeout");
    await source.cancelled;
  });

  it("turns an in-band error after commit into one error event, without the credential and without [DONE]", async ({
    expect,
  }) => {
    const error = `data: ${JSON.stringify({ error: { message: `bad key ${key.reveal()}!`, type: "rate_limit_error", code: "rate_limit_exceeded" } })}\n\n`;
    const { body, report } = await start(fakeStream([role, delta({ content: "x" }), error, done]));
    const text = await readAll(body);
    expect(text).not.toContain("[DONE]");
    expect(text).not.toContain(key.reveal());
    expect(lastError(text)).toEqual({
      message: "bad key [redacted]!",
      type: "rate_limit_error",
      param: null,
      code: "rate_limit_exceeded",
    });
    expect(await report).toMatchObject({ result: "failed", failure: { class: "rate_limit", status: 200 } });
  });

  it("does not take an error inside a text for an error", async ({ expect }) => {
    const parts = [
      role,
      delta({ content: '{"error": {"message": "x"}, "finish_reason": "stop"}' }),
      delta({}, "stop"),
      done,
    ];
    const { body, report } = await start(fakeStream(parts));
    expect(await readAll(body)).toBe(parts.join(""));
    expect((await report).result).toBe("ok");
  });

  it("sends a comment line in each silence after commit, between events and never inside one", async ({ expect }) => {
    const second = delta({ content: "later" });
    const parts = [
      role,
      delta({ content: "x" }),
      350,
      second.slice(0, 20),
      350,
      second.slice(20),
      delta({}, "stop"),
      done,
    ];
    const { body, report } = await start(fakeStream(parts), { keepAliveMs: 100 });
    const text = await readAll(body);
    const comments = text.match(/: keep-alive\n\n/g) ?? [];
    expect(comments.length).toBeGreaterThanOrEqual(4);
    expect(comments.length).toBeLessThanOrEqual(7);
    expect(text.replaceAll(": keep-alive\n\n", "")).toBe(parts.filter((part) => typeof part === "string").join(""));
    expect((await report).result).toBe("ok");
  });

  it("sends nothing at all before commit, not even a comment", async ({ expect }) => {
    const source = fakeStream([role, 300, delta({ content: "x" }), delta({}, "stop"), done]);
    const { body } = await start(source, { keepAliveMs: 50 });
    expect((await readAll(body)).startsWith(role + delta({ content: "x" }))).toBe(true);
  });

  it("leaves a whole stream's connection good for another call, and cuts one that stays open", async ({ expect }) => {
    const closing = await start(fakeStream(recorded));
    expect(await readAll(closing.body)).toBe(whole);
    expect((await closing.report).result).toBe("ok");
    expect(closing.context.leash.ending()).toBe("done");
    expect(closing.context.leash.signal.aborted).toBe(false);
    const staying = await start(fakeStream(recorded, "silence"));
    expect(await readAll(staying.body)).toBe(whole);
    expect((await staying.report).result).toBe("ok");
    expect(staying.context.leash.signal.aborted).toBe(true);
  });

  it("lets the upstream go at once when the caller's reader cancels, and blames nobody", async ({ expect }) => {
    const source = fakeStream([role, delta({ content: "x" })], "silence");
    const { body, report, reports } = await start(source);
    const reader = body.getReader();
    await reader.read();
    await reader.cancel();
    await source.cancelled;
    const usage = { prompt_tokens: 11, completion_tokens: 2, estimated: true };
    expect(await report).toEqual({ result: "departed", failure: null, usage });
    expect(reports).toHaveLength(1);
  });

  it("lets the upstream go at once when the caller's signal aborts in mid-stream", async ({ expect }) => {
    const client = new AbortController();
    const source = fakeStream([role, delta({ content: "x" }), usageChunk], "silence");
    const { body, report, context } = await start(source, { client: client.signal });
    const reader = body.getReader();
    await reader.read();
    await reader.read();
    await reader.read();
    const next = reader.read().catch(() => "broken");
    await pause(20);
    client.abort();
    await source.cancelled;
    expect(context.leash.signal.aborted).toBe(true);
    expect(await next).toBe("broken");
    expect(await report).toEqual({
      result: "departed",
      failure: null,
      usage: { prompt_tokens: 7, completion_tokens: 3 },
    });
  });

  it("reads the upstream no faster than the caller reads", async ({ expect }) => {
    const source = fakeStream([
      role,
      delta({ content: "x" }),
      ...Array.from({ length: 100 }, () => delta({ content: "y" })),
      delta({}, "stop"),
      done,
    ]);
    const { body } = await start(source, { keepAliveMs: 20 });
    await pause(100);
    expect(source.pulled()).toBe(2);
    const reader = body.getReader();
    for (let reads = 0; reads < 7; reads += 1) {
      await reader.read();
    }
    expect(source.pulled()).toBeLessThanOrEqual(8);
    await reader.cancel();
  });

  it("loses no chunk that arrives while the caller is not reading", async ({ expect }) => {
    const parts = [role, delta({ content: "a" }), 120, delta({ content: "b" }), 10, delta({}, "stop"), done];
    const { body } = await start(fakeStream(parts), { keepAliveMs: 50 });
    const reader = body.getReader();
    let text = "";
    for (;;) {
      const { done: isOver, value } = await reader.read();
      if (isOver) {
        break;
      }
      text += fromUtf8(value);
      await pause(40);
    }
    expect(text.replaceAll(": keep-alive\n\n", "")).toBe(parts.filter((part) => typeof part === "string").join(""));
  });

  it("gives up on an event without end", async ({ expect }) => {
    const { body } = await start(
      fakeStream([role, delta({ content: "x" }), "data: ", ...Array.from({ length: 5 }, () => "x".repeat(1_048_576))]),
    );
    const text = await readAll(body);
    expect(lastError(text)?.code).toBe("stream_cut");
    expect(text.length).toBeLessThan(2_000);
  });
});
