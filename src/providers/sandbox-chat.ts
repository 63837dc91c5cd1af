/** What the sandbox says: a deterministic answer to a chat request, and its forms on OpenAI's wire. */
import type { SandboxError } from "./sandbox-credentials.js";
import type { SandboxChatRequest } from "./sandbox-request.js";
import { countTokens, cutTokens, hashName, hashText, makeText } from "./sandbox-text.js";
import { chooseTool, makeArguments } from "./sandbox-tools.js";

/** The sandbox's chat model. */
export const sandboxChatModel = "sandbox-chat";

/** What a message costs beside its text. */
const tokensPerMessage = 3;

/** An answer before it takes a form: its pieces are tokens of the text, or of the tool's arguments. */
export interface SandboxAnswer {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly tool: { readonly id: string; readonly name: string } | null;
  readonly pieces: readonly string[];
  readonly finish: "stop" | "length" | "tool_calls";
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number };
}

/**
 * Makes up the answer; the same messages and tools give the same one. Prompt tokens are the tokens of every message's
 * text and tool calls, 3 a message, 85 for each part that is not text, and those of the tools' JSON; completion tokens are the
 * pieces, plus those of the called tool's name. The token limit of the request holds exactly.
 */
export function composeAnswer(request: SandboxChatRequest, nowMs: number): SandboxAnswer {
  const hash = request.messages.reduce(
    (from, { role, text, calls }) => hashText(`${role}\n${text}\n${calls}\n`, from),
    hashText(""),
  );
  const tool = chooseTool(request);
  const all = cutTokens(tool === null ? makeText(hash) : makeArguments(tool.parameters));
  const nameTokens = tool === null ? 0 : countTokens(tool.name);
  const limit = request.max_completion_tokens ?? request.max_tokens ?? Infinity;
  const pieces = all.slice(0, Math.max(0, limit - nameTokens));
  const complete = tool === null ? "stop" : "tool_calls";
  const promptTokens = countPromptTokens(request);
  const completionTokens = Math.min(limit, nameTokens + pieces.length);
  return {
    id: `chatcmpl-sandbox-${hashName(hash)}`,
    created: Math.floor(nowMs / 1000),
    tool: tool === null ? null : { id: `call_sandbox_${hashName(hashText(tool.name, hash))}`, name: tool.name },
    pieces,
    finish: pieces.length < all.length ? "length" : complete,
    usage: {
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
    },
  };
}

/** The whole answer as one JSON text. */
export function toCompletion(answer: SandboxAnswer): string {
  const text = answer.pieces.join("");
  const message =
    answer.tool === null
      ? { role: "assistant", content: text, refusal: null }
      : { role: "assistant", content: null, refusal: null, tool_calls: [toToolCall(answer.tool, text)] };
  return JSON.stringify({
    ...frame(answer, "chat.completion"),
    choices: [{ index: 0, message, logprobs: null, finish_reason: answer.finish }],
    usage: answer.usage,
  });
}

/** The answer as server-sent events, in the three groups between which a behaviour may break it off. */
export function toEvents(
  answer: SandboxAnswer,
  hasUsage: boolean,
): { opening: string; content: readonly string[]; closing: readonly string[] } {
  const usage = hasUsage ? { usage: null } : {};
  const chunk = (delta: object, finish: string | null = null): string =>
    toEvent({
      ...frame(answer, "chat.completion.chunk"),
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      ...usage,
    });
  const isText = answer.tool === null;
  const content = answer.pieces.map((piece) =>
    chunk(isText ? { content: piece } : { tool_calls: [{ index: 0, function: { arguments: piece } }] }),
  );
  const call = answer.tool === null ? [] : [chunk({ tool_calls: [{ index: 0, ...toToolCall(answer.tool, "") }] })];
  const usageEvent = toEvent({ ...frame(answer, "chat.completion.chunk"), choices: [], usage: answer.usage });
  return {
    opening: chunk({ role: "assistant", content: isText ? "" : null }),
    content: [...call, ...content],
    closing: [chunk({}, answer.finish), ...(hasUsage ? [usageEvent] : []), "data: [DONE]\n\n"],
  };
}

/** An error as a server-sent event. */
export function toErrorEvent(error: SandboxError): string {
  return toEvent({ error });
}

function toEvent(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

function frame(answer: SandboxAnswer, object: string): object {
  return { id: answer.id, object, created: answer.created, model: sandboxChatModel, system_fingerprint: "fp_sandbox" };
}

function toToolCall(tool: { readonly id: string; readonly name: string }, text: string): object {
  return { id: tool.id, type: "function", function: { name: tool.name, arguments: text } };
}

function countPromptTokens(request: SandboxChatRequest): number {
  const tools = request.tools ?? [];
  const start = tools.length === 0 ? 0 : countTokens(JSON.stringify(tools));
  return request.messages.reduce(
    (sum, message) =>
      sum + tokensPerMessage + message.extraTokens + countTokens(message.text) + countTokens(message.calls),
    start,
  );
}
