/**
 * Puts the fake outside world behind Node's own request and response, so that a broken connection really breaks and an
 * abort really arrives: behind miniflare's fetch handler a failing body ends cleanly, and nobody hears of an abort.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { answerGoogle } from "./upstream-google.js";
import { fakeUpstream } from "./upstream.js";

/** Answers one request of the Worker under test; for miniflare's `outboundService: { node }`. */
export async function serveUpstream(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const left = new AbortController();
  let isOver = false;
  outgoing.on("close", () => {
    if (!isOver) {
      left.abort();
    }
  });
  const request = await toRequest(incoming, left.signal);
  const response = (await answerGoogle(request)) ?? (await fakeUpstream(request));
  const headers = Object.fromEntries(response.headers);
  outgoing.writeHead(response.status, { ...headers, "set-cookie": response.headers.getSetCookie() });
  outgoing.flushHeaders();
  const reader = response.body?.getReader();
  left.signal.addEventListener("abort", () => void reader?.cancel());
  try {
    for (let piece = await reader?.read(); piece?.done === false; piece = await reader?.read()) {
      outgoing.write(piece.value);
    }
    isOver = true;
    outgoing.end();
  } catch {
    isOver = true;
    outgoing.destroy();
  }
}

async function toRequest(incoming: IncomingMessage, signal: AbortSignal): Promise<Request> {
  const url = new URL(incoming.url ?? "/", `https://${incoming.headers.host ?? "unknown"}`);
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (!name.startsWith("mf-")) {
      headers.set(name, String(value));
    }
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of incoming) {
    pieces.push(piece as Uint8Array);
  }
  const body = pieces.length === 0 ? null : await new Blob(pieces).arrayBuffer();
  return new Request(url, { method: incoming.method ?? "GET", headers, body, signal });
}
