/** The Worker with its queues held back and its background work awaited: after each answer the record stands still. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { type Answer, origin, send } from "./client.js";

/** What is sent. A text body goes out as it is. */
export interface Sending {
  readonly method: string;
  readonly path: string;
  readonly token?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

const heldBack = {
  send: () => Promise.resolve(),
  sendBatch: () => Promise.resolve(),
} as unknown as Queue;

/** Sends one request and waits for all that it began. `d1` stands in for the record's binding. */
export async function sendQuietly(sending: Sending, d1: D1Database = env.DB): Promise<Answer> {
  const headers = new Headers(sending.headers);
  if (sending.token !== undefined) {
    headers.set("authorization", `Bearer ${sending.token}`);
  }
  const init: RequestInit = { method: sending.method, headers };
  if (sending.body !== undefined) {
    headers.set("content-type", "application/json");
    init.body = typeof sending.body === "string" ? sending.body : JSON.stringify(sending.body);
  }
  const context = createExecutionContext();
  const on: Env = { ...env, DB: d1, MAIL: heldBack, WEBHOOKS: heldBack };
  const response = await send(new Request(`${origin}${sending.path}`, init), { env: on, context });
  const text = await response.text();
  await waitOnExecutionContext(context);
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : null, text };
}
