/** A server that plays the parts it is given, one for each request: what clients meet on a bad day. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { expectProxy } from "./contract.ts";

/** What a request looked like. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  /** Its bytes, each as one character. */
  readonly body: string;
  /** Its Idempotency-Key. */
  readonly key: string | undefined;
  readonly headers: IncomingMessage["headers"];
}

/** Answers one request, or does not. `body` is the request's. */
export type Step = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

/** A running one. */
export interface Play {
  readonly url: string;
  /** The requests so far, in their order. */
  readonly seen: Seen[];
  end(): void;
}

/** Takes one step for each request, and keeps to the last. */
export async function play(...steps: readonly Step[]): Promise<Play> {
  const seen: Seen[] = [];
  const take = (request: IncomingMessage, response: ServerResponse, body: Buffer): void => {
    const step = steps[Math.min(seen.length, steps.length - 1)];
    const { method = "", url = "", headers } = request;
    const key = headers["idempotency-key"];
    seen.push({ method, url, key: typeof key === "string" ? key : undefined, headers, body: body.toString("latin1") });
    step?.(request, response, body);
  };
  const server = createServer((request, response) => {
    // Of a request that breaks off nothing is seen.
    buffer(request).then(
      (body) => take(request, response, body),
      () => undefined,
    );
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  expectProxy(url);
  return {
    url,
    seen,
    end() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Answers JSON. */
export const json =
  (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Step =>
  (_, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  };

/** Answers nothing: the connection ends. */
export const cut: Step = (request) => void request.socket.destroy();

/** How the length of an answer is told: ahead, by chunks, or by the connection's end alone. */
export type Framing = "length" | "chunks" | "close";

/** Answers one half of a text, and breaks off. */
export const half =
  (text: string, framing: Framing = "length", type = "application/json"): Step =>
  (request, response) => {
    const bytes = Buffer.from(text);
    const framed = { length: `content-length: ${bytes.length}`, chunks: "transfer-encoding: chunked", close: "x-y: z" };
    const part = bytes.subarray(0, Math.ceil(bytes.length / 2));
    const head = `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\nconnection: close\r\n${framed[framing]}\r\n\r\n`;
    const chunk = framing === "chunks" ? [`${part.length.toString(16)}\r\n`, part, "\r\n"] : [part];
    response.detachSocket(request.socket);
    request.socket.end(Buffer.concat([head, ...chunk].map((piece) => Buffer.from(piece))));
  };

/** Has another server do what is asked, and passes its answer on. */
export const pass =
  (target: string): Step =>
  (request, response, body) => {
    forward(target, request, body).then(
      ({ status, headers, text }) => {
        const kept = [...headers].filter(([name]) => !framing.has(name));
        return response.writeHead(status, Object.fromEntries(kept)).end(text);
      },
      () => request.socket.destroy(),
    );
  };

/** Has another server do what is asked, and passes on one half of its answer: the deed is done, and the caller cannot know. */
export const doneButHalf =
  (target: string): Step =>
  (request, response, body) => {
    forward(target, request, body).then(
      ({ text }) => half(text)(request, response, body),
      () => request.socket.destroy(),
    );
  };

/** Headers of one connection, not of what it carries. */
const framing = new Set([
  "host",
  "connection",
  "keep-alive",
  "transfer-encoding",
  "content-length",
  "content-encoding",
]);

async function forward(
  target: string,
  { method = "", url = "", headers }: IncomingMessage,
  body: Buffer,
): Promise<{ readonly status: number; readonly headers: Headers; readonly text: string }> {
  const kept = Object.entries(headers).filter(([name]) => !framing.has(name)) as [string, string][];
  const payload = body.length > 0 ? { body: new Uint8Array(body) } : {};
  const answer = await fetch(`${target}${url}`, { method, headers: kept, ...payload });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}
