/** The events of an Anthropic stream as chunks of a chat, each as soon as it comes. */
import { nowSeconds, toChatUsage, toFinishReason, toRefusal } from "./chat-answer.js";
import { toOpenAiError } from "./errors.js";
import { asNumber, asRecord, asText, isSaid, lookUp, type Json, type JsonRecord, parse } from "./json.js";
import type { EventTranslator } from "./respond.js";

/** What must be known of the stream to write the next chunk. */
interface State {
  readonly created: number;
  readonly tellsUsage: boolean;
  id: Json;
  model: Json;
  usage: JsonRecord;
  /** By the block's index. */
  readonly calls: Map<number, Call>;
  thinking: Thinking | null;
  /** The model has said why it stopped. */
  isFinished: boolean;
}

interface Call {
  /** Counts calls alone, from 0. */
  readonly index: number;
  /** What the block began with. */
  readonly input: Json | undefined;
  hasArguments: boolean;
}

interface Thinking {
  text: string;
  signature: string;
}

/** Thinking that is longer is shown, but not given along to be sent back. */
const maxThinkingLength = 1_048_576;

/** Translates one stream. `tellsUsage`: a last chunk with counts alone was asked for. */
export function toChatEvents(tellsUsage: boolean): EventTranslator {
  const state: State = {
    created: nowSeconds(),
    tellsUsage,
    id: "chatcmpl",
    model: "",
    usage: {},
    calls: new Map(),
    thinking: null,
    isFinished: false,
  };
  return (event) => {
    if (event.data === null || event.data === "") {
      return "";
    }
    const data = asRecord(parse(event.data));
    const type = asText(data?.["type"]) ?? event.name ?? "";
    if (data === null) {
      throw new Error("an event of the upstream is no JSON");
    }
    return isSaid(data["error"]) ? write(toOpenAiError(data)) : (lookUp(readers, type)?.(data, state) ?? "");
  };
}

type Reader = (data: JsonRecord, state: State) => string;

/** Events that are not listed say nothing to a chat's caller. */
const readers: Readonly<Record<string, Reader>> = {
  message_start: begin,
  content_block_start: beginBlock,
  content_block_delta: continueBlock,
  content_block_stop: endBlock,
  message_delta: finish,
  message_stop: end,
  // It keeps the caller's side open as it does ours.
  ping: () => ": ping\n\n",
};

function begin(data: JsonRecord, state: State): string {
  const message = asRecord(data["message"]) ?? {};
  state.id = message["id"] ?? state.id;
  state.model = message["model"] ?? state.model;
  state.usage = asRecord(message["usage"]) ?? {};
  return chunk(state, { role: "assistant", content: "" });
}

function beginBlock(data: JsonRecord, state: State): string {
  const block = asRecord(data["content_block"]) ?? {};
  switch (asText(block["type"]) ?? "") {
    case "text":
      return isSaid(block["text"]) && block["text"] !== "" ? chunk(state, { content: block["text"] }) : "";
    case "thinking":
      state.thinking = { text: asText(block["thinking"]) ?? "", signature: asText(block["signature"]) ?? "" };
      return state.thinking.text === "" ? "" : chunk(state, { reasoning_content: state.thinking.text });
    case "redacted_thinking":
      return chunk(state, { thinking_blocks: [block] });
    case "tool_use":
      return beginCall(block, indexOf(data), state);
    default:
      return "";
  }
}

function beginCall(block: JsonRecord, at: number, state: State): string {
  const call: Call = { index: state.calls.size, input: block["input"], hasArguments: false };
  state.calls.set(at, call);
  const called = { name: block["name"], arguments: "" };
  return chunk(state, { tool_calls: [{ index: call.index, id: block["id"], type: "function", function: called }] });
}

function continueBlock(data: JsonRecord, state: State): string {
  const delta = asRecord(data["delta"]) ?? {};
  switch (asText(delta["type"]) ?? "") {
    case "text_delta":
      return chunk(state, { content: delta["text"] });
    case "thinking_delta":
      return continueThinking(asText(delta["thinking"]) ?? "", state);
    case "signature_delta":
      if (state.thinking !== null) {
        state.thinking.signature += asText(delta["signature"]) ?? "";
      }
      return "";
    case "input_json_delta":
      return continueCall(asText(delta["partial_json"]) ?? "", state.calls.get(indexOf(data)), state);
    default:
      return "";
  }
}

function continueThinking(text: string, state: State): string {
  if (state.thinking !== null && state.thinking.text.length <= maxThinkingLength) {
    state.thinking.text += text;
  }
  return text === "" ? "" : chunk(state, { reasoning_content: text });
}

function continueCall(text: string, call: Call | undefined, state: State): string {
  if (call === undefined) {
    throw new Error("a tool's input came before its block");
  }
  call.hasArguments ||= text !== "";
  return text === "" ? "" : chunk(state, { tool_calls: [{ index: call.index, function: { arguments: text } }] });
}

/** A call without arguments is still an object in OpenAI's wire, and signed thinking goes out as a whole, to be sent back as it is. */
function endBlock(data: JsonRecord, state: State): string {
  const call = state.calls.get(indexOf(data));
  if (call !== undefined && !call.hasArguments) {
    return continueCall(JSON.stringify(call.input ?? {}), call, state);
  }
  const { thinking } = state;
  state.thinking = null;
  return thinking === null || thinking.signature === "" || thinking.text.length > maxThinkingLength
    ? ""
    : chunk(state, {
        thinking_blocks: [{ type: "thinking", thinking: thinking.text, signature: thinking.signature }],
      });
}

/** Later counts stand over earlier ones; Anthropic's are running totals. */
function finish(data: JsonRecord, state: State): string {
  const counts = Object.entries(asRecord(data["usage"]) ?? {}).filter(([, value]) => value !== null);
  state.usage = { ...state.usage, ...Object.fromEntries(counts) };
  const delta = asRecord(data["delta"]) ?? {};
  const reason = toFinishReason(delta["stop_reason"]);
  if (reason === null || state.isFinished) {
    return "";
  }
  state.isFinished = true;
  const refusal = toRefusal(delta);
  return chunk(state, refusal === null ? {} : { refusal }, reason);
}

/** Without a finish before it, something has covered up a cut: then no end is told. */
function end(_data: JsonRecord, state: State): string {
  if (!state.isFinished) {
    return "";
  }
  const usage = state.tellsUsage ? toChatUsage(state.usage) : null;
  return `${usage === null ? "" : write({ ...frame(state), choices: [], usage })}data: [DONE]\n\n`;
}

function chunk(state: State, delta: JsonRecord, finishReason: string | null = null): string {
  return write({ ...frame(state), choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }] });
}

function frame({ id, created, model }: State): JsonRecord {
  return { id, object: "chat.completion.chunk", created, model };
}

function write(value: JsonRecord): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

function indexOf(data: JsonRecord): number {
  return asNumber(data["index"]) ?? -1;
}
