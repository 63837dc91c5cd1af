/** A tiny upstream on a loopback port that does exactly what a test writes: byte by byte, to the broken socket. */
import { createServer, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** How to treat the n-th chat call, counted from 1. The response is open; ending or breaking it is the test's. */
export type Play = (response: ServerResponse, n: number) => void | Promise<void>;

export interface Wire {
  readonly origin: string;
  /** As a credential of `openai_compatible` wants it. */
  readonly baseUrl: string;
  /** Chat calls that have reached it. */
  calls(): number;
  /** Replaces the play for the calls to come. */
  play(next: Play): void;
  stop(): Promise<void>;
}

/** Starts an upstream that answers chat calls by `play`. */
export async function startWire(port: number, first: Play): Promise<Wire> {
  let play = first;
  let calls = 0;
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    // The whole request is read first, as a real upstream does.
    request.resume().once("end", () => {
      if (request.method !== "POST") {
        response.writeHead(404).end();
        return;
      }
      calls += 1;
      void play(response, calls);
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, "127.0.0.1", resolve);
  });
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    baseUrl: `${origin}/v1`,
    calls: () => calls,
    play: (next) => {
      play = next;
    },
    async stop() {
      for (const socket of sockets) {
        socket.destroy();
      }
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers JSON. */
export function answerJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

/** A whole chat completion that says `text`. */
export function completion(text: string): object {
  return {
    id: "chatcmpl-wire",
    object: "chat.completion",
    created: 1,
    model: "gpt-e2e",
    choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  };
}

/** Opens a stream of server-sent events. */
export function openEvents(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
}

/** One server-sent event; an object goes out as JSON. */
export function event(data: object | string): string {
  return `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

/** A chat chunk that says `text`, or the finishing one without. */
export function chunk(text: string | null): string {
  const choice =
    text === null ? { delta: {}, finish_reason: "stop" } : { delta: { content: text }, finish_reason: null };
  const frame = { id: "chatcmpl-wire", object: "chat.completion.chunk", created: 1, model: "gpt-e2e" };
  return event({ ...frame, choices: [{ index: 0, ...choice }] });
}
