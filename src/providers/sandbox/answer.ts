/** What the sandbox says to a prompt: deterministic, and the same on every wire. */
import type { SandboxPrompt } from "./prompt.js";
import { countTokens, cutTokens, hashName, hashText, makeText } from "./text.js";
import { chooseTool, makeArguments } from "./tools.js";

/** The sandbox's chat model. */
export const sandboxChatModel = "sandbox-chat";

/** What a message costs beside its text. */
const tokensPerMessage = 3;

/** An answer before it takes a form: its pieces are tokens of the text, or of the tool's arguments. */
export interface SandboxAnswer {
  /** Names the answer in ids: eight hexadecimal digits, the same for the same prompt. */
  readonly name: string;
  /** Unix seconds. */
  readonly created: number;
  /** The called tool; `call` names the call in ids. */
  readonly tool: { readonly call: string; readonly name: string } | null;
  readonly pieces: readonly string[];
  readonly finish: "stop" | "length" | "tool";
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** A streamed answer's events, in the three groups between which a behaviour may break it off. */
export interface SandboxEvents {
  readonly opening: readonly string[];
  readonly content: readonly string[];
  readonly closing: readonly string[];
}

/**
 * Makes up the answer; the same messages and tools give the same one. Completion tokens are the pieces, plus those of the
 * called tool's name. The token limit of the prompt holds exactly.
 */
export function composeAnswer(prompt: SandboxPrompt, nowMs: number): SandboxAnswer {
  const hash = prompt.messages.reduce(
    (from, { role, text, calls }) => hashText(`${role}\n${text}\n${calls}\n`, from),
    hashText(""),
  );
  const tool = chooseTool(prompt);
  const all = cutTokens(tool === null ? makeText(hash) : makeArguments(tool.parameters));
  const nameTokens = tool === null ? 0 : countTokens(tool.name);
  const limit = prompt.limit ?? Infinity;
  const pieces = all.slice(0, Math.max(0, limit - nameTokens));
  const complete = tool === null ? "stop" : "tool";
  return {
    name: hashName(hash),
    created: Math.floor(nowMs / 1000),
    tool: tool === null ? null : { call: hashName(hashText(tool.name, hash)), name: tool.name },
    pieces,
    finish: pieces.length < all.length ? "length" : complete,
    promptTokens: countPrompt(prompt),
    completionTokens: Math.min(limit, nameTokens + pieces.length),
  };
}

/** Tokens of every message's text and calls, 3 a message, 85 for each part that is not text, and those of the tools' JSON. */
export function countPrompt(prompt: SandboxPrompt): number {
  return prompt.messages.reduce(
    (sum, message) =>
      sum + tokensPerMessage + message.extraTokens + countTokens(message.text) + countTokens(message.calls),
    countTokens(prompt.toolsJson),
  );
}

/** A server-sent event: named where the wire names its events. */
export function toEvent(data: object, name?: string): string {
  return `${name === undefined ? "" : `event: ${name}\n`}data: ${JSON.stringify(data)}\n\n`;
}
