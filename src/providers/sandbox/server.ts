/** The sandbox's server side: takes a request as an upstream would, on the wire of its path, and answers as its credential says. */
import { composeAnswer, type SandboxAnswer, sandboxChatModel, type SandboxEvents, toEvent } from "./answer.js";
import { parseChat, toChunks, toCompletion } from "./chat.js";
import { parseTextCompletion, toTextChunks, toTextCompletion } from "./completions.js";
import { behaviourOf, type SandboxBehaviour } from "./credentials.js";
import { parseEmbedding, sandboxEmbedModel, toEmbeddings } from "./embeddings.js";
import {
  inbandError,
  missingModel,
  refuseMistake,
  refuseTrouble,
  type SandboxMistake,
  type SandboxRefusal,
  type SandboxShape,
} from "./errors.js";
import { parseCount, parseMessages, toCount, toMessage, toMessageEvents } from "./messages.js";
import { playEvents, playJson, toJson } from "./play.js";
import type { Parsed, SandboxAsk } from "./prompt.js";
import { parseResponses, toFailedEvent, toFailedResponse, toResponse, toResponseEvents } from "./responses.js";

/** One wire of text answers. */
interface Wire {
  readonly shape: SandboxShape;
  parse(body: string): Parsed<SandboxAsk>;
  toWhole(answer: SandboxAnswer, ask: SandboxAsk): object;
  /** Null where answers are never streamed. */
  readonly toEvents: ((answer: SandboxAnswer, hasUsage: boolean) => SandboxEvents) | null;
  /** The error inside a 200, whole and as an event. */
  toError(answer: SandboxAnswer): object;
  toErrorEvent(answer: SandboxAnswer): string;
}

const openaiErrors = { toError: () => inbandError("openai"), toErrorEvent: () => toEvent(inbandError("openai")) };
const anthropicErrors = {
  toError: () => inbandError("anthropic"),
  toErrorEvent: () => toEvent(inbandError("anthropic"), "error"),
};

const wires: Readonly<Record<string, Wire>> = {
  "/v1/chat/completions": {
    shape: "openai",
    parse: parseChat,
    toWhole: toCompletion,
    toEvents: toChunks,
    ...openaiErrors,
  },
  "/v1/completions": {
    shape: "openai",
    parse: parseTextCompletion,
    toWhole: toTextCompletion,
    toEvents: toTextChunks,
    ...openaiErrors,
  },
  "/v1/responses": {
    shape: "openai",
    parse: parseResponses,
    toWhole: toResponse,
    toEvents: toResponseEvents,
    toError: toFailedResponse,
    toErrorEvent: toFailedEvent,
  },
  "/v1/messages": {
    shape: "anthropic",
    parse: parseMessages,
    toWhole: toMessage,
    toEvents: toMessageEvents,
    ...anthropicErrors,
  },
  "/v1/messages/count_tokens": {
    shape: "anthropic",
    parse: parseCount,
    toWhole: (_answer, ask) => toCount(ask),
    toEvents: null,
    ...anthropicErrors,
  },
};

/** Answers a request to the sandbox's base URL. Rejects, or fails the body, when the request's signal aborts; its timers end then. */
export async function answerSandbox(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const wire = Object.hasOwn(wires, pathname) ? wires[pathname] : undefined;
  const shape = wire?.shape ?? "openai";
  const bearer = request.headers.get("authorization")?.replace(/^Bearer /i, "");
  const key = bearer ?? request.headers.get("x-api-key") ?? "";
  const behaviour = behaviourOf(key);
  if (behaviour.refusal !== null) {
    return refuse(refuseTrouble(behaviour.refusal, shape, key));
  }
  if (request.method === "GET" && pathname === "/v1/models") {
    return listModels();
  }
  if (request.method === "POST" && pathname === "/v1/embeddings") {
    return answerEmbeddings(await request.text(), behaviour, request.signal);
  }
  if (request.method === "POST" && wire !== undefined) {
    return answerText(wire, await request.text(), behaviour, request.signal);
  }
  return refuseWrong(
    { status: 404, message: `The sandbox has nothing at ${pathname}.`, param: null, code: null },
    shape,
  );
}

async function answerText(
  wire: Wire,
  body: string,
  behaviour: SandboxBehaviour,
  signal: AbortSignal,
): Promise<Response> {
  const parsed = wire.parse(body);
  if ("mistake" in parsed) {
    return refuseWrong(parsed.mistake, wire.shape);
  }
  const { model, prompt, stream, hasUsage } = parsed.value;
  if (model !== sandboxChatModel) {
    return refuseWrong(missingModel(model, sandboxChatModel), wire.shape);
  }
  const answer = composeAnswer(prompt, Date.now());
  return stream && wire.toEvents !== null
    ? playEvents(wire.toEvents(answer, hasUsage), wire.toErrorEvent(answer), behaviour, signal)
    : playJson(wire.toWhole(answer, parsed.value), wire.toError(answer), behaviour, signal);
}

async function answerEmbeddings(body: string, behaviour: SandboxBehaviour, signal: AbortSignal): Promise<Response> {
  const parsed = parseEmbedding(body);
  if ("mistake" in parsed) {
    return refuseWrong(parsed.mistake, "openai");
  }
  const { model } = parsed.value;
  return model === sandboxEmbedModel
    ? playJson(toEmbeddings(parsed.value), inbandError("openai"), behaviour, signal)
    : refuseWrong(missingModel(model, sandboxEmbedModel), "openai");
}

function listModels(): Response {
  const data = [sandboxChatModel, sandboxEmbedModel].map((id) => ({
    id,
    object: "model",
    created: 0,
    owned_by: "sandbox",
  }));
  return toJson(200, JSON.stringify({ object: "list", data }));
}

function refuseWrong(mistake: SandboxMistake, shape: SandboxShape): Response {
  return refuse(refuseMistake(mistake, shape));
}

function refuse({ status, headers, body }: SandboxRefusal): Response {
  return toJson(status, JSON.stringify(body), headers);
}
