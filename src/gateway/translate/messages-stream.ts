/** The chunks of a chat stream as events of Anthropic's messages: one block at a time, each delta as soon as it comes. */
import { toAnthropicError } from "./errors.js";
import { asList, asNumber, asRecord, asText, isSaid, type JsonRecord, parse } from "./json.js";
import { newCallId, reasoningOf, toMessageId, toMessagesUsage, toStop } from "./messages-answer.js";
import type { EventTranslator } from "./respond.js";

/** What must be known of the stream to write the next event. */
interface State {
  readonly showsThinking: boolean;
  hasBegun: boolean;
  /** The block that is open. */
  open: Block | null;
  blocks: number;
  /** Names of calls that have begun, by the index that their chunks carry. */
  readonly calls: Map<number, string>;
  finishReason: string | null;
  stopSequence: string | null;
  isRefused: boolean;
  usage: JsonRecord | null;
  isEnded: boolean;
}

interface Block {
  readonly kind: "text" | "thinking" | "tool_use";
  readonly index: number;
  /** Of a call: the index that its chunks carry. */
  readonly call: number | null;
}

/** Translates one stream. `showsThinking`: reasoning was asked for. */
export function toMessagesEvents(showsThinking: boolean): EventTranslator {
  const state: State = {
    showsThinking,
    hasBegun: false,
    open: null,
    blocks: 0,
    calls: new Map(),
    finishReason: null,
    stopSequence: null,
    isRefused: false,
    usage: null,
    isEnded: false,
  };
  return ({ data, name }) => {
    if (data === null || data === "" || state.isEnded) {
      return "";
    }
    if (data.trim() === "[DONE]") {
      return end(state);
    }
    const value = asRecord(parse(data));
    if (value === null) {
      throw new Error("an event of the upstream is no JSON");
    }
    if (isSaid(value["error"]) || name === "error") {
      return write("error", toAnthropicError(isSaid(value["error"]) ? value : { error: value }, 0));
    }
    return takeChunk(value, state);
  };
}

function takeChunk(chunk: JsonRecord, state: State): string {
  state.usage = asRecord(chunk["usage"]) ?? state.usage;
  const choice = asList(chunk["choices"])
    .map(asRecord)
    .find((one) => one !== null && (asNumber(one["index"]) ?? 0) === 0);
  if (choice === null || choice === undefined) {
    return "";
  }
  const begun = begin(chunk, state);
  const events = takeDelta(asRecord(choice["delta"]) ?? {}, state);
  state.finishReason = asText(choice["finish_reason"]) ?? state.finishReason;
  state.stopSequence = asText(choice["stop_reason"]) ?? state.stopSequence;
  return begun + events;
}

function begin(chunk: JsonRecord, state: State): string {
  if (state.hasBegun) {
    return "";
  }
  state.hasBegun = true;
  const stop = { stop_reason: null, stop_sequence: null, stop_details: null };
  const usage = toMessagesUsage(chunk["usage"]);
  const id = toMessageId(chunk["id"]);
  return write("message_start", {
    message: { id, type: "message", role: "assistant", model: chunk["model"], content: [], ...stop, usage },
  });
}

function takeDelta(delta: JsonRecord, state: State): string {
  const reasoning = reasoningOf(delta);
  const refusal = asText(delta["refusal"]) ?? "";
  const text = (asText(delta["content"]) ?? "") + refusal;
  state.isRefused ||= refusal !== "";
  const calls = asList(delta["tool_calls"]).map((call, index) => takeCall(asRecord(call) ?? {}, index, state));
  return [takeReasoning(reasoning, state), ...(text === "" ? [] : [takeText(text, state)]), ...calls].join("");
}

/** Reasoning that was not asked for still shows that the model is at work. */
function takeReasoning(text: string, state: State): string {
  if (text === "") {
    return "";
  }
  if (!state.showsThinking) {
    return write("ping", {});
  }
  const opened = state.open?.kind === "thinking" ? "" : open("thinking", { thinking: "", signature: "" }, null, state);
  return opened + writeDelta(state, { type: "thinking_delta", thinking: text });
}

function takeText(text: string, state: State): string {
  const opened = state.open?.kind === "text" ? "" : open("text", { text: "", citations: null }, null, state);
  return opened + writeDelta(state, { type: "text_delta", text });
}

/** A call begins with its name. A server that numbers all calls alike tells them apart by their ids. */
function takeCall(call: JsonRecord, position: number, state: State): string {
  const at = asNumber(call["index"]) ?? position;
  const called = asRecord(call["function"]) ?? {};
  const id = asText(call["id"]) ?? "";
  const known = state.calls.get(at);
  const isNew = known === undefined || (id !== "" && id !== known);
  const opened = isNew ? beginCall(at, id === "" ? newCallId() : id, called, state) : "";
  const text = asText(called["arguments"]) ?? "";
  if (text === "") {
    return opened;
  }
  if (state.open?.call !== at) {
    // Blocks come one after the other: what belongs to a closed one cannot be told any more.
    throw new Error("the upstream goes on with a call that it had left");
  }
  return opened + writeDelta(state, { type: "input_json_delta", partial_json: text });
}

function beginCall(at: number, id: string, called: JsonRecord, state: State): string {
  const name = asText(called["name"]) ?? "";
  if (name === "") {
    throw new Error("a call of the upstream has no name");
  }
  state.calls.set(at, id);
  return open("tool_use", { id, name, input: {} }, at, state);
}

function open(kind: Block["kind"], content: JsonRecord, call: number | null, state: State): string {
  const closed = close(state);
  state.open = { kind, index: state.blocks, call };
  state.blocks += 1;
  return closed + write("content_block_start", { index: state.open.index, content_block: { type: kind, ...content } });
}

function close(state: State): string {
  const index = state.open?.index;
  state.open = null;
  return index === undefined ? "" : write("content_block_stop", { index });
}

/** The end as the upstream told it. Without a finish before it, something has covered up a cut: then no end is told. */
function end(state: State): string {
  state.isEnded = true;
  if (state.finishReason === null) {
    return "";
  }
  const { finishReason, isRefused, stopSequence } = state;
  const delta = toStop({ finishReason, hasCalls: state.calls.size > 0, isRefused, stopSequence });
  const usage = toMessagesUsage(state.usage ?? {});
  return close(state) + write("message_delta", { delta, usage }) + write("message_stop", {});
}

function writeDelta(state: State, delta: JsonRecord): string {
  return write("content_block_delta", { index: state.open?.index ?? 0, delta });
}

function write(type: string, members: JsonRecord): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...members })}\n\n`;
}
