/** The sandbox's server side: takes a request as an upstream would and plays the answer in time, to the end or as far as the credential lets it. */
import { utf8 } from "../base/bytes.js";
import {
  composeAnswer,
  sandboxChatModel,
  toCompletion,
  toErrorEvent,
  toEvents,
  type SandboxAnswer,
} from "./sandbox-chat.js";
import { behaviourOf, type SandboxBehaviour, type SandboxError } from "./sandbox-credentials.js";
import { parseChat } from "./sandbox-request.js";

/** Content events before the silence of `stall` and the break of `cut`. */
const eventsBeforeBreak = { stall: 1, cut: 3 } as const;

/** Longer than any caller waits: the silence of a stalled upstream. */
const silenceMs = 3_600_000;

const inbandError: SandboxError = {
  message: "The server had an error while answering.",
  type: "server_error",
  param: null,
  code: "server_error",
};

/** Answers a request to the sandbox's base URL. Rejects, or fails the body, when the request's signal aborts; its timers end then. */
export async function answerSandbox(request: Request): Promise<Response> {
  const key = request.headers.get("authorization")?.replace(/^Bearer /i, "") ?? "";
  const behaviour = behaviourOf(key);
  if (behaviour.refusal !== null) {
    return refuse(behaviour.refusal.status, behaviour.refusal.error, behaviour.refusal.headers);
  }
  const path = new URL(request.url).pathname;
  if (request.method === "GET" && path === "/v1/models") {
    return listModels();
  }
  if (request.method === "POST" && path === "/v1/chat/completions") {
    return answerChat(request, behaviour);
  }
  return refuse(404, {
    message: `The sandbox has nothing at ${path}.`,
    type: "invalid_request_error",
    param: null,
    code: null,
  });
}

async function answerChat(request: Request, behaviour: SandboxBehaviour): Promise<Response> {
  const parsed = parseChat(await request.text());
  if ("error" in parsed) {
    return refuse(400, parsed.error);
  }
  const { model, stream, stream_options: options } = parsed.request;
  if (model !== sandboxChatModel) {
    const message = `The model '${model}' does not exist in the sandbox or is not a chat model. Use '${sandboxChatModel}'.`;
    return refuse(404, { message, type: "invalid_request_error", param: "model", code: "model_not_found" });
  }
  const answer = composeAnswer(parsed.request, Date.now());
  if (stream !== true) {
    return answerJson(answer, behaviour, request.signal);
  }
  const left = new AbortController();
  const signal = AbortSignal.any([request.signal, left.signal]);
  const events = playEvents(answer, options?.include_usage === true, behaviour, signal);
  return new Response(toStream(events, left), {
    headers: { "content-type": "text/event-stream", "cache-control": "no-cache" },
  });
}

async function answerJson(answer: SandboxAnswer, behaviour: SandboxBehaviour, signal: AbortSignal): Promise<Response> {
  await sleep(behaviour.ending === "stall" ? silenceMs : behaviour.firstDelayMs, signal);
  if (behaviour.ending === "error") {
    return json(200, JSON.stringify({ error: inbandError }));
  }
  const text = toCompletion(answer);
  return behaviour.ending === "cut"
    ? json(200, toStream(cutText(text.slice(0, text.length / 2)), new AbortController()))
    : json(200, text);
}

async function* playEvents(
  answer: SandboxAnswer,
  hasUsage: boolean,
  behaviour: SandboxBehaviour,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const { ending } = behaviour;
  const { opening, content, closing } = toEvents(answer, hasUsage);
  yield opening;
  if (ending === "error") {
    yield toErrorEvent(inbandError);
    return;
  }
  const isBroken = ending === "cut" || ending === "stall";
  for (const [index, event] of (isBroken ? content.slice(0, eventsBeforeBreak[ending]) : content).entries()) {
    await sleep(index === 0 ? behaviour.firstDelayMs : behaviour.eventDelayMs, signal);
    yield event;
  }
  if (isBroken) {
    await sleep(ending === "stall" ? silenceMs : 0, signal);
    throw new Error("The sandbox broke the connection.");
  }
  yield* closing;
}

async function* cutText(text: string): AsyncGenerator<string> {
  yield text;
  throw new Error("The sandbox broke the connection.");
}

/** A body that asks for the next piece only when the reader does, so what was said before a break is always delivered. */
function toStream(pieces: AsyncGenerator<string>, left: AbortController): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const piece = await pieces.next();
        if (piece.done === true) {
          controller.close();
        } else {
          controller.enqueue(utf8(piece.value));
        }
      },
      cancel() {
        left.abort(new Error("The reader left."));
      },
    },
    { highWaterMark: 0 },
  );
}

/** Waits, even for 0 ms only as long as the signal stands. Rejects with its reason, and leaves no timer behind. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (ms === 0) {
    return Promise.resolve();
  }
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", leave);
      resolve();
    }, ms);
    signal.addEventListener("abort", leave, { once: true });
  });
}

function listModels(): Response {
  const data = [{ id: sandboxChatModel, object: "model", created: 0, owned_by: "sandbox" }];
  return json(200, JSON.stringify({ object: "list", data }));
}

function refuse(status: number, error: SandboxError, headers: Readonly<Record<string, string>> = {}): Response {
  return json(status, JSON.stringify({ error }), headers);
}

function json(status: number, body: BodyInit, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(body, { status, headers: { "content-type": "application/json", ...headers } });
}
