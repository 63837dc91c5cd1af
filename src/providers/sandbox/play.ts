/** Plays an answer in time, to the end or as far as the credential lets it. */
import { utf8 } from "../../base/bytes.js";
import type { SandboxEvents } from "./answer.js";
import type { SandboxBehaviour } from "./credentials.js";

/** Content events before the silence of `stall` and the break of `cut`. */
const eventsBeforeBreak = { stall: 1, cut: 3 } as const;

/** Longer than any caller waits: the silence of a stalled upstream. */
const silenceMs = 3_600_000;

/** A JSON answer; `error` stands in its place where the credential wants one inside a 200. Rejects when the signal aborts. */
export async function playJson(
  body: object,
  error: object,
  behaviour: SandboxBehaviour,
  signal: AbortSignal,
): Promise<Response> {
  await sleep(behaviour.ending === "stall" ? silenceMs : behaviour.firstDelayMs, signal);
  const text = JSON.stringify(behaviour.ending === "error" ? error : body);
  return toJson(200, behaviour.ending === "cut" ? toStream(cutText(text), new AbortController()) : text);
}

/** A streamed answer; `error` is the event that breaks it off where the credential wants one. Its body fails when the signal aborts. */
export function playEvents(
  events: SandboxEvents,
  error: string,
  behaviour: SandboxBehaviour,
  callerSignal: AbortSignal,
): Response {
  const left = new AbortController();
  const signal = AbortSignal.any([callerSignal, left.signal]);
  return new Response(toStream(eventsInTime(events, error, behaviour, signal), left), {
    headers: { "content-type": "text/event-stream", "cache-control": "no-cache" },
  });
}

/** A JSON body with its status and headers. */
export function toJson(
  status: number,
  body: string | ReadableStream<Uint8Array>,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(body, { status, headers: { "content-type": "application/json", ...headers } });
}

async function* eventsInTime(
  { opening, content, closing }: SandboxEvents,
  error: string,
  behaviour: SandboxBehaviour,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const { ending } = behaviour;
  if (opening.length > 0) {
    yield opening.join("");
  }
  if (ending === "error") {
    yield error;
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
  yield text.slice(0, text.length / 2);
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
