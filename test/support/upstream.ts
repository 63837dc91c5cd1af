/**
 * The fake outside world of the test runner: runs in Node behind upstream-server.ts, so no test reaches a network.
 *
 * `https://<behaviour>.upstream.test[/<tag>]/v1` is an OpenAI-compatible server; behaviours are the keys of `behaviours`
 * and `status-<nnn>`. `api.openai.com` and `api.anthropic.com` list models for keys that contain `good`. Calls are filed
 * under their tag: the path before `/v1`, else the `x-test-tag` header, else the host.
 * `GET https://inspect.upstream.test/last?tag=…` reads them, `POST …/behave?tag=…&as=…` changes a tag's behaviour.
 */
import { answerIssuer } from "./upstream-issuer.js";
import { answerMcp } from "./upstream-mcp.js";
import { answerMedia } from "./upstream-media.js";
import { answerTools } from "./upstream-tools.js";

/** What `inspect` answers: how many calls came, how many of them the Worker broke off, and the last one. Credentials only as SHA-256. */
export interface Inspection {
  readonly count: number;
  readonly aborted: number;
  readonly last: ArrivedCall | null;
}

export interface ArrivedCall {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly authorization_sha256: string | null;
  readonly x_api_key_sha256: string | null;
  readonly body: string;
}

interface Tag {
  count: number;
  aborted: number;
  last: ArrivedCall | null;
  behaviour: string | null;
}

interface Call {
  readonly tag: Tag;
  readonly path: string;
  readonly stream: boolean;
  readonly usage: boolean;
  readonly model: string;
}

type Behaviour = (call: Call) => Response | Promise<Response>;

const tags = new Map<string, Tag>();
const encoder = new TextEncoder();
/** Stands on every answer: none of it is the business of who calls through the gateway. */
const vendorHeaders = {
  "openai-organization": "org-fake",
  "set-cookie": "fake=1",
  "x-ratelimit-remaining-requests": "9",
  "x-request-id": "req_fake",
};
const words = ["Hello ", "from ", "the ", "fake ", "upstream", "."];
const usage = { prompt_tokens: 7, completion_tokens: words.length, total_tokens: 7 + words.length };

const behaviours: Readonly<Record<string, Behaviour>> = {
  ok: (call) => answer(call),
  slow: async (call) => {
    await pause(1500);
    return answer(call);
  },
  /** The connection breaks after three content events, or half-way through a JSON body. */
  cut: (call) => answer(call, { events: 4, end: "error" }),
  /** Ends cleanly after three content events, without a finish or `[DONE]`. */
  "end-early": (call) => answer(call, { events: 4, end: "close" }),
  /** Headers and one content event, then silence. */
  stall: (call) => answer(call, { events: 2, end: "silence" }),
  /** Never sends headers. */
  mute: () => new Promise<Response>(() => undefined),
  "inband-error": (call) => {
    const error = JSON.stringify({
      error: { message: "in-band", type: "server_error", param: null, code: "server_error" },
    });
    return call.stream ? eventStream([`data: ${error}\n\n`], "close") : json(200, error);
  },
  /** A web page instead of an API. */
  html: () => new Response("<!doctype html><title>Parked</title>", { headers: { "content-type": "text/html" } }),
  "no-models": (call) => (call.path === "/models" ? failure(404) : answer(call)),
  /** Refuses every call, and has no list of models to say so. */
  "refuses-calls": (call) => failure(call.path === "/models" ? 404 : 401),
  /** Refuses every call, and lists its models to anyone. */
  "lists-to-anyone": (call) => (call.path === "/models" ? modelList() : failure(401)),
  /** Streams three content events, then says in-band that it is the key. Has no list of models. */
  "refuses-midway": (call) => {
    const error = JSON.stringify({ error: { message: "no", type: "authentication_error", code: "invalid_api_key" } });
    return call.path === "/models"
      ? failure(404)
      : eventStream([...chatEvents(call).slice(0, 4), `data: ${error}\n\n`], "close");
  },
  "redirect-same": (call) => (call.path === "/models" ? moved("/v1/models-moved") : answer(call)),
  "redirect-other": () => moved("https://ok.upstream.test/v1/models"),
  "no-quota": () => failure(429, "insufficient_quota"),
};

/** Answers every fetch that leaves the Worker under test. Any host that is not of this world gets a 502 that says so. */
export async function fakeUpstream(request: Request): Promise<Response> {
  const url = new URL(request.url);
  if (url.host === "inspect.upstream.test") {
    return inspect(request.method, url);
  }
  const answered = (await answerIssuer(request)) ?? (await answerMcp(request)) ?? (await answerMedia(request));
  if (answered !== null) {
    return answered;
  }
  const invoked = await answerTools(request);
  if (invoked !== null) {
    return invoked;
  }
  const [, prefix, path = ""] = /^(?:\/([^/]+))?\/v1(\/.*)$/.exec(url.pathname) ?? [];
  const tag = tagOf(prefix ?? request.headers.get("x-test-tag") ?? url.host);
  const body = await request.text();
  tag.count += 1;
  tag.last = await describeCall(request, body);
  request.signal.addEventListener("abort", () => {
    tag.aborted += 1;
  });
  if (url.host === "api.openai.com" || url.host === "api.anthropic.com") {
    return answerVendor(request, path);
  }
  const name = tag.behaviour ?? url.host.replace(/\.upstream\.test$/, "");
  const status = Number(/^status-(\d{3})$/.exec(name)?.[1] ?? 0);
  const behaviour = status > 0 ? () => failure(status) : behaviours[name];
  if (!url.host.endsWith(".upstream.test") || behaviour === undefined) {
    return new Response(`no such upstream in tests: ${url.host}`, { status: 502 });
  }
  return behaviour({ tag, path, ...readBody(body) });
}

function answerVendor(request: Request, path: string): Response {
  const key = request.headers.get("x-api-key") ?? request.headers.get("authorization") ?? "";
  if (!key.includes("good")) {
    return failure(401, "invalid_api_key");
  }
  return path === "/models" ? modelList() : failure(404);
}

function answer(call: Call, broken?: { events: number; end: "error" | "close" | "silence" }): Response {
  if (call.path === "/models" || call.path === "/models-moved") {
    return modelList();
  }
  if (call.path !== "/chat/completions") {
    return failure(404);
  }
  if (!call.stream) {
    const message = { role: "assistant", content: words.join("") };
    const choices = [{ index: 0, message, finish_reason: "stop" }];
    const text = JSON.stringify({
      id: "chatcmpl-fake",
      object: "chat.completion",
      created: 1,
      model: call.model,
      choices,
      usage,
    });
    return broken === undefined
      ? json(200, text)
      : eventStream([text.slice(0, text.length / 2)], broken.end, "application/json");
  }
  const events = chatEvents(call);
  return broken === undefined ? eventStream(events, "close") : eventStream(events.slice(0, broken.events), broken.end);
}

function chatEvents(call: Call): string[] {
  const chunk = (choices: readonly object[], more: object = {}): string =>
    `data: ${JSON.stringify({ id: "chatcmpl-fake", object: "chat.completion.chunk", created: 1, model: call.model, choices, ...more })}\n\n`;
  const delta = (content: object, finish: string | null = null): string =>
    chunk([{ index: 0, delta: content, finish_reason: finish }]);
  return [
    delta({ role: "assistant", content: "" }),
    ...words.map((content) => delta({ content })),
    delta({}, "stop"),
    ...(call.usage ? [chunk([], { usage })] : []),
    "data: [DONE]\n\n",
  ];
}

function eventStream(
  events: readonly string[],
  end: "error" | "close" | "silence",
  type = "text/event-stream",
): Response {
  let at = 0;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const event = events[at];
      at += 1;
      if (event !== undefined) {
        await pause(1);
        controller.enqueue(encoder.encode(event));
      } else if (end === "close") {
        controller.close();
      } else if (end === "error") {
        // Breaking the connection drops what is still on its way to the socket.
        await pause(20);
        controller.error(new Error("fake upstream cut the connection"));
      } else {
        await new Promise(() => undefined);
      }
    },
  });
  return new Response(body, { headers: { ...vendorHeaders, "content-type": type } });
}

function readBody(text: string): Pick<Call, "stream" | "usage" | "model"> {
  if (text === "") {
    return { stream: false, usage: false, model: "" };
  }
  const body = JSON.parse(text) as { model?: string; stream?: boolean; stream_options?: { include_usage?: boolean } };
  return { stream: body.stream === true, usage: body.stream_options?.include_usage === true, model: body.model ?? "" };
}

function inspect(method: string, url: URL): Response {
  const tag = tagOf(url.searchParams.get("tag") ?? "");
  if (method === "POST") {
    tag.behaviour = url.searchParams.get("as");
  }
  const inspection: Inspection = { count: tag.count, aborted: tag.aborted, last: tag.last };
  return json(200, JSON.stringify(inspection));
}

function tagOf(name: string): Tag {
  const tag = tags.get(name) ?? { count: 0, aborted: 0, last: null, behaviour: null };
  tags.set(name, tag);
  return tag;
}

async function describeCall(request: Request, body: string): Promise<ArrivedCall> {
  const headers = Object.fromEntries(request.headers);
  const authorization = request.headers.get("authorization");
  const apiKey = request.headers.get("x-api-key");
  delete headers["authorization"];
  delete headers["x-api-key"];
  return {
    method: request.method,
    url: request.url,
    headers,
    authorization_sha256: authorization === null ? null : await digest(authorization),
    x_api_key_sha256: apiKey === null ? null : await digest(apiKey),
    body: body.slice(0, 65_536),
  };
}

async function digest(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function modelList(): Response {
  return json(
    200,
    JSON.stringify({ object: "list", data: [{ id: "fake-model", object: "model", created: 1, owned_by: "tests" }] }),
  );
}

function failure(status: number, code: string | null = null): Response {
  const error = { message: `fake upstream says ${status}`, type: code ?? "fake_error", param: null, code };
  const headers = status === 429 || status === 503 ? { "retry-after": "5" } : undefined;
  return json(status, JSON.stringify({ error }), headers);
}

function moved(location: string): Response {
  return new Response(null, { status: 307, headers: { location } });
}

function json(status: number, body: string, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(body, { status, headers: { ...vendorHeaders, "content-type": "application/json", ...headers } });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
