/** Fake upstream streams for the gateway's tests: chunks in a given order, an ending, and a record of whether they were let go. */
import { utf8 } from "../../src/base/bytes.js";
import type { Dialect } from "../../src/gateway/dialect.js";
import { type Endpoint, endpoints } from "../../src/gateway/endpoints.js";
import type { UpstreamEndpoint } from "../../src/providers/contract.js";

export type StreamEnd = "close" | "error" | "silence";

export interface FakeStream {
  readonly body: ReadableStream<Uint8Array>;
  /** Resolves when the reader cancelled it. */
  readonly cancelled: Promise<void>;
  /** How many chunks were asked for so far. */
  pulled(): number;
}

/** A stream of chunks; a number between them is a pause in milliseconds. */
export function fakeStream(parts: readonly (string | Uint8Array | number)[], end: StreamEnd = "close"): FakeStream {
  const cancelled = Promise.withResolvers<void>();
  let at = 0;
  let pulls = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (;;) {
          const part = parts[at];
          at += 1;
          if (typeof part === "number") {
            await new Promise((resolve) => setTimeout(resolve, part));
          } else if (part !== undefined) {
            pulls += 1;
            controller.enqueue(typeof part === "string" ? utf8(part) : part);
            return;
          } else if (end === "close") {
            controller.close();
            return;
          } else if (end === "error") {
            controller.error(new Error("connection lost"));
            return;
          } else {
            await new Promise(() => undefined);
          }
        }
      },
      cancel() {
        cancelled.resolve();
      },
    },
    { highWaterMark: 0 },
  );
  return { body, cancelled: cancelled.promise, pulled: () => pulls };
}

/** The gateway's entry of an endpoint. */
export function endpointOf(name: UpstreamEndpoint): Endpoint {
  const found = endpoints.find((endpoint) => endpoint.name === name);
  if (found === undefined) {
    throw new Error(`no endpoint ${name}`);
  }
  return found;
}

/** How an endpoint's streams speak. */
export function dialectOf(name: UpstreamEndpoint): Dialect {
  const { dialect } = endpointOf(name);
  if (dialect === null) {
    throw new Error(`${name} never streams`);
  }
  return dialect;
}

/** One chat chunk as an event. */
export function chunk(choices: readonly object[], more: object = {}): string {
  return `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices, ...more })}\n\n`;
}

export function delta(content: object, finish: string | null = null): string {
  return chunk([{ index: 0, delta: content, finish_reason: finish }], { usage: null });
}

export const role = delta({ role: "assistant", content: "" });
export const usageChunk = chunk([], { usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 } });
export const done = "data: [DONE]\n\n";

/** A whole recorded stream: role, three words with multi-byte characters, finish, usage, end. */
export const recorded = [
  role,
  delta({ content: "Grüße" }),
  delta({ content: " 世界" }),
  delta({ content: "!" }),
  delta({}, "stop"),
  usageChunk,
  done,
];
