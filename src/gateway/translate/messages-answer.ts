/** A chat completion as an Anthropic message, and the words that both its whole and its streamed form share. */
import { asList, asNumber, asRecord, asText, lookUp, type Json, type JsonRecord, parse } from "./json.js";

/** Finish reasons of OpenAI, in Anthropic's words. */
const stopReasons: Readonly<Record<string, string>> = {
  stop: "end_turn",
  length: "max_tokens",
  tool_calls: "tool_use",
  function_call: "tool_use",
  content_filter: "refusal",
};

/** What an answer's end is read from. */
export interface ChatEnd {
  readonly finishReason: string;
  readonly hasCalls: boolean;
  readonly isRefused: boolean;
  /** The text that stopped the model, where the server tells it. */
  readonly stopSequence: string | null;
}

/** Why the model stopped: `stop_reason`, `stop_sequence` and, for a refusal, `stop_details`. Some servers say `stop` after a call too. */
export function toStop({ finishReason, hasCalls, isRefused, stopSequence }: ChatEnd): JsonRecord {
  const word = lookUp(stopReasons, finishReason) ?? "end_turn";
  const plain = hasCalls && word === "end_turn" ? "tool_use" : word;
  const matched = plain === "end_turn" && stopSequence !== null ? "stop_sequence" : plain;
  const reason = isRefused ? "refusal" : matched;
  return {
    stop_reason: reason,
    stop_sequence: reason === "stop_sequence" ? stopSequence : null,
    stop_details: reason === "refusal" ? { type: "refusal", category: null, explanation: null } : null,
  };
}

/** Counts of OpenAI as Anthropic tells them: what the cache read or took is apart from the input. */
export function toMessagesUsage(value: Json | undefined): JsonRecord {
  const usage = asRecord(value);
  const details = asRecord(usage?.["prompt_tokens_details"]);
  const cached = asNumber(details?.["cached_tokens"]) ?? asNumber(usage?.["prompt_cache_hit_tokens"]) ?? 0;
  const written = asNumber(details?.["cache_write_tokens"]) ?? 0;
  const prompt = asNumber(usage?.["prompt_tokens"]) ?? 0;
  const reasoning = asNumber(asRecord(usage?.["completion_tokens_details"])?.["reasoning_tokens"]);
  return {
    input_tokens: Math.max(0, prompt - cached - written),
    cache_creation_input_tokens: written,
    cache_read_input_tokens: cached,
    output_tokens: asNumber(usage?.["completion_tokens"]) ?? 0,
    ...(reasoning === null ? {} : { output_tokens_details: { thinking_tokens: reasoning } }),
  };
}

/** The name of a message, made of that of a chat. */
export function toMessageId(id: Json | undefined): string {
  return `msg_${(asText(id) ?? crypto.randomUUID()).replace(/^chatcmpl-/, "")}`;
}

/** Reasoning in the two fields that servers use for it. */
export function reasoningOf(told: JsonRecord): string {
  return asText(told["reasoning_content"]) ?? asText(told["reasoning"]) ?? "";
}

/** A whole answer; null for what is no completion, or one whose calls cannot be read. Reasoning becomes unsigned thinking, where it was asked for. */
export function toMessagesAnswer(completion: JsonRecord, showsThinking: boolean): JsonRecord | null {
  const choice = asRecord(asList(completion["choices"])[0]);
  const message = asRecord(choice?.["message"]);
  if (choice === null || message === null) {
    return null;
  }
  const finishReason = asText(choice["finish_reason"]) ?? "stop";
  const calls = toToolUses(message["tool_calls"], finishReason === "length");
  if (calls === null) {
    return null;
  }
  const refusal = asText(message["refusal"]) ?? "";
  const text = textOf(message["content"]) + refusal;
  const reasoning = showsThinking ? reasoningOf(message) : "";
  const end: ChatEnd = {
    finishReason,
    hasCalls: calls.length > 0,
    isRefused: refusal !== "",
    stopSequence: asText(choice["stop_reason"]),
  };
  return {
    id: toMessageId(completion["id"]),
    type: "message",
    role: "assistant",
    model: completion["model"],
    content: [
      ...(reasoning === "" ? [] : [{ type: "thinking", thinking: reasoning, signature: "" }]),
      ...(text === "" ? [] : [{ type: "text", text, citations: null }]),
      ...calls,
    ],
    ...toStop(end),
    usage: toMessagesUsage(completion["usage"]),
  };
}

/** The name of a call that its server left without one. */
export function newCallId(): string {
  return `toolu_${crypto.randomUUID().replaceAll("-", "")}`;
}

/** Null when a call's arguments are no object: half an answer must not pass for one. One that the token limit cut off is left out. */
function toToolUses(list: Json | undefined, isCutOff: boolean): readonly JsonRecord[] | null {
  const blocks: JsonRecord[] = [];
  for (const item of asList(list)) {
    const call = asRecord(item);
    const called = asRecord(call?.["function"]);
    const text = asText(called?.["arguments"]) ?? "";
    const input = asRecord(parse(text.trim() === "" ? "{}" : text));
    const name = asText(called?.["name"]);
    if (input !== null && name !== null) {
      blocks.push({ type: "tool_use", id: asText(call?.["id"]) ?? newCallId(), name, input });
    } else if (!isCutOff) {
      return null;
    }
  }
  return blocks;
}

/** Some servers answer in parts. */
function textOf(content: Json | undefined): string {
  return typeof content === "string"
    ? content
    : asList(content)
        .map((part) => asText(asRecord(part)?.["text"]) ?? "")
        .join("");
}
