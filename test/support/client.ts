/** Calls the Worker under test like a customer: by HTTP, through its real fetch handler. */
import { exports } from "cloudflare:workers";
import { app } from "../../src/app.js";
// oxlint-disable-next-line import/no-unassigned-import -- loaded with the file, so that its first test does not pay for it
import "../../src/index.js";
import { isJson } from "./answer-check.js";
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

/** A Worker with settings of its own, or one whose work after the answer the test awaits. */
export interface Stage {
  readonly env: Env;
  readonly context?: ExecutionContext;
}

/**
 * The answer to a request, with its body to be read. Throws when it is not as the contract says: a JSON body is read and
 * checked whole, of any other the status, the headers and the content type are.
 */
export async function send(request: Request, stage?: Stage): Promise<Response> {
  const { method, url } = request;
  const response =
    stage === undefined ? await exports.default.fetch(request) : await app.fetch(request, stage.env, stage.context);
  const { pathname } = new URL(url);
  const { status, headers } = response;
  if (response.body === null || isJson(response)) {
    const text = await response.text();
    checkAnswer(method, pathname, { status, headers, text });
    return new Response(response.body === null ? null : text, response);
  }
  checkAnswer(method, pathname, { status, headers, text: null });
  return response;
}

/** `send` with the signature of `fetch`, for a client that takes one. */
export async function sendAsFetch(input: Request | string | URL, init?: RequestInit): Promise<Response> {
  return await send(new Request(input, init));
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
  const response = await send(new Request(`${origin}${path}`, init));
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: tryJson(text), text };
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
