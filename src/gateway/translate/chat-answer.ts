/** An Anthropic message as a chat completion, and the words that both its whole and its streamed form share. */
import { asList, asNumber, asRecord, asText, lookUp, type Json, type JsonRecord } from "./json.js";

/** Stop reasons of Anthropic, in OpenAI's words. */
const finishReasons: Readonly<Record<string, string>> = {
  end_turn: "stop",
  stop_sequence: "stop",
  pause_turn: "stop",
  tool_use: "tool_calls",
  max_tokens: "length",
  model_context_window_exceeded: "length",
  refusal: "content_filter",
};

/** Null while the model has not stopped. A reason that is not known is an end. */
export function toFinishReason(stopReason: Json | undefined): string | null {
  const word = asText(stopReason);
  return word === null ? null : (lookUp(finishReasons, word) ?? "stop");
}

/** Counts of Anthropic as OpenAI tells them: what the cache read or took is part of the prompt. Null for what is no usage. */
export function toChatUsage(value: Json | undefined): JsonRecord | null {
  const usage = asRecord(value);
  const [input, output] = [asNumber(usage?.["input_tokens"]), asNumber(usage?.["output_tokens"])];
  if (usage === null || input === null || output === null) {
    return null;
  }
  const cached = asNumber(usage["cache_read_input_tokens"]) ?? 0;
  const written = asNumber(usage["cache_creation_input_tokens"]) ?? 0;
  const thinking = asNumber(asRecord(usage["output_tokens_details"])?.["thinking_tokens"]);
  const prompt = input + cached + written;
  return {
    prompt_tokens: prompt,
    completion_tokens: output,
    total_tokens: prompt + output,
    prompt_tokens_details: { cached_tokens: cached, cache_write_tokens: written },
    ...(thinking === null ? {} : { completion_tokens_details: { reasoning_tokens: thinking } }),
  };
}

/** A whole answer; null for what is no message. Signed thinking goes along in `thinking_blocks`, to be sent back as it is. */
export function toChatAnswer(message: JsonRecord): JsonRecord | null {
  if (message["type"] !== "message" || !Array.isArray(message["content"])) {
    return null;
  }
  const blocks = asList(message["content"])
    .map(asRecord)
    .filter((block) => block !== null);
  const ofType = (type: string): readonly JsonRecord[] => blocks.filter((block) => block["type"] === type);
  const calls = ofType("tool_use").map(toToolCall);
  const texts = ofType("text").map(({ text }) => asText(text) ?? "");
  const reasoning = ofType("thinking").map(({ thinking }) => asText(thinking) ?? "");
  const thinking = blocks.filter(({ type }) => type === "thinking" || type === "redacted_thinking");
  const usage = toChatUsage(message["usage"]);
  return {
    id: message["id"],
    object: "chat.completion",
    created: nowSeconds(),
    model: message["model"],
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: texts.length === 0 ? null : texts.join(""),
          refusal: toRefusal(message),
          ...(reasoning.length === 0 ? {} : { reasoning_content: reasoning.join("\n") }),
          ...(thinking.length === 0 ? {} : { thinking_blocks: thinking }),
          ...(calls.length === 0 ? {} : { tool_calls: calls }),
        },
        logprobs: null,
        finish_reason: toFinishReason(message["stop_reason"]) ?? "stop",
      },
    ],
    ...(usage === null ? {} : { usage }),
  };
}

/** Why the model refused, if it did and said so. */
export function toRefusal(told: JsonRecord): string | null {
  return told["stop_reason"] === "refusal" ? asText(asRecord(told["stop_details"])?.["explanation"]) : null;
}

/** The time in seconds since 1970, as OpenAI dates its answers. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1_000);
}

function toToolCall(block: JsonRecord): JsonRecord {
  const called = { name: block["name"], arguments: JSON.stringify(block["input"] ?? {}) };
  return { id: block["id"], type: "function", function: called };
}
