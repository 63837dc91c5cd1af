/** Calls the Worker under test like a customer: by HTTP, through its real fetch handler. */
import { exports } from "cloudflare:workers";
// oxlint-disable-next-line import/no-unassigned-import -- loaded with the file, so that its first test does not pay for it
import "../../src/index.js";
import { checkAnswer } from "./contract.js";

/** The service's own address in tests. */
export const origin = "http://127.0.0.1:8787";

/** One answer with its body read as JSON (null when there is none). */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers freely; a wrong look is a failing test
  readonly body: any;
  readonly text: string;
}

interface CallOptions {
  readonly token?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends one request and reads the whole answer. Throws when it is not as the contract says. */
export async function call(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const headers = new Headers(options.headers);
  if (options.token !== undefined) {
    headers.set("authorization", `Bearer ${options.token}`);
  }
  const init: RequestInit = { method, headers, redirect: "manual" };
  if (options.body !== undefined) {
    headers.set("content-type", headers.get("content-type") ?? "application/json");
    init.body = typeof options.body === "string" ? options.body : JSON.stringify(options.body);
  }
  const response = await exports.default.fetch(new Request(`${origin}${path}`, init));
  const text = await response.text();
  checkAnswer(method, path, { status: response.status, headers: response.headers, text });
  return { status: response.status, headers: response.headers, body: tryJson(text), text };
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
