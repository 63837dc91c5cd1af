/** The turns of a chat as Anthropic's messages: system words apart, tool results as the user's, neighbours of one role joined. */
import { toImage, toDocument } from "./media.js";
import {
  asList,
  asRecord,
  asText,
  isSaid,
  lookUp,
  type Json,
  type JsonRecord,
  parse,
  type Path,
  refuse,
} from "./json.js";

/** A chat's turns, and whether a turn that stands within a loop of tool calls brings its thinking. */
export interface Turns {
  readonly system: readonly JsonRecord[];
  readonly messages: readonly JsonRecord[];
  readonly isThinkingCarried: boolean;
}

type Role = "user" | "assistant";

interface Turn {
  readonly role: Role;
  readonly content: JsonRecord[];
}

/** Reads `messages`. System and developer messages are hoisted, wherever they stand. Throws `untranslatable` or `validation_failed`. */
export function toMessages(list: readonly Json[]): Turns {
  const system: JsonRecord[] = [];
  const turns: Turn[] = [];
  for (const [index, item] of list.entries()) {
    const message = asRecord(item) ?? {};
    const path = ["messages", index];
    const role = asText(message["role"]) ?? "";
    const read = lookUp(readers, role);
    if (role === "system" || role === "developer") {
      system.push(...toParts(message, path));
    } else if (read === undefined) {
      throw refuse("untranslatable", [...path, "role"], "Send `system`, `developer`, `user`, `assistant` or `tool`.");
    } else {
      append(turns, role === "assistant" ? "assistant" : "user", read(message, path));
    }
  }
  const messages = turns.map(({ role, content }) => ({ role, content }));
  return { system, messages, isThinkingCarried: isThinkingCarried(turns) };
}

type ReadMessage = (message: JsonRecord, path: Path) => readonly JsonRecord[];

const readers: Readonly<Record<string, ReadMessage>> = {
  user: toParts,
  assistant: toAssistantBlocks,
  tool: (message, path) => [
    {
      type: "tool_result",
      tool_use_id: requireText(message, "tool_call_id", path),
      content: toParts(message, path),
      ...(isSaid(message["cache_control"]) ? { cache_control: message["cache_control"] } : {}),
    },
  ],
};

/** Anthropic refuses empty content and texts of white space alone, so a message that says nothing is left out. */
function append(turns: Turn[], role: Role, content: readonly JsonRecord[]): void {
  const last = turns.at(-1);
  if (last?.role === role) {
    last.content.push(...content);
  } else if (content.length > 0) {
    turns.push({ role, content: [...content] });
  }
}

/** While tools are being called, a model that thinks wants the thinking that led to the calls. */
function isThinkingCarried(turns: readonly Turn[]): boolean {
  const isInLoop = turns.at(-1)?.content.some(({ type }) => type === "tool_result") ?? false;
  const first = turns.findLast(({ role }) => role === "assistant")?.content[0]?.["type"];
  return !isInLoop || first === "thinking" || first === "redacted_thinking";
}

function toAssistantBlocks(message: JsonRecord, path: Path): readonly JsonRecord[] {
  if (isSaid(message["audio"]) || isSaid(message["function_call"])) {
    const field = isSaid(message["audio"]) ? "audio" : "function_call";
    throw refuse("untranslatable", [...path, field], "Anthropic's messages have no such thing. Leave it out.");
  }
  const refusal = asText(message["refusal"]) ?? "";
  return [
    ...toThinking(message["thinking_blocks"]),
    ...toParts(message, path),
    ...(refusal.trim() === "" ? [] : [{ type: "text", text: refusal }]),
    ...asList(message["tool_calls"]).map((call, index) =>
      toToolUse(asRecord(call) ?? {}, [...path, "tool_calls", index]),
    ),
  ];
}

/** Only what a model signed: anything else would be refused. */
function toThinking(blocks: Json | undefined): readonly JsonRecord[] {
  return asList(blocks)
    .map(asRecord)
    .filter((block) => block !== null)
    .filter(
      (block) =>
        (block["type"] === "thinking" && isText(block["signature"]) && typeof block["thinking"] === "string") ||
        (block["type"] === "redacted_thinking" && isText(block["data"])),
    );
}

function toToolUse(call: JsonRecord, path: Path): JsonRecord {
  const called = asRecord(call["function"]);
  if (called === null || (isSaid(call["type"]) && call["type"] !== "function")) {
    throw refuse("untranslatable", [...path, "type"], "Only calls of functions can be translated.");
  }
  const text = asText(called["arguments"]) ?? "";
  const input = asRecord(parse(text.trim() === "" ? "{}" : text));
  if (input === null) {
    const field = [...path, "function", "arguments"];
    throw refuse("untranslatable", field, "Anthropic takes a JSON object as a tool's input, and this is none.");
  }
  return {
    type: "tool_use",
    id: requireText(call, "id", path),
    name: requireText(called, "name", [...path, "function"]),
    input,
    ...(isSaid(call["cache_control"]) ? { cache_control: call["cache_control"] } : {}),
  };
}

/** Content that is one text or a list of parts. */
function toParts(message: JsonRecord, path: Path): readonly JsonRecord[] {
  const content = message["content"];
  if (typeof content === "string") {
    return content.trim() === "" ? [] : [{ type: "text", text: content, ...cacheOf(message) }];
  }
  if (isSaid(content) && !Array.isArray(content)) {
    throw refuse("validation_failed", [...path, "content"], "Send a text or a list of parts.");
  }
  return asList(content).flatMap((part, index) => toPart(asRecord(part) ?? {}, [...path, "content", index]));
}

function toPart(part: JsonRecord, path: Path): readonly JsonRecord[] {
  const cache = cacheOf(part);
  if (part["type"] === "text" || part["type"] === "refusal") {
    const text = asText(part[part["type"]]) ?? "";
    return text.trim() === "" ? [] : [{ type: "text", text, ...cache }];
  }
  if (part["type"] === "image_url") {
    return [{ ...toImage(part, path), ...cache }];
  }
  if (part["type"] === "file") {
    return [{ ...toDocument(part, path), ...cache }];
  }
  throw refuse("untranslatable", [...path, "type"], "Only text, images and PDF files can be translated.");
}

function cacheOf(record: JsonRecord): JsonRecord {
  return isSaid(record["cache_control"]) ? { cache_control: record["cache_control"] } : {};
}

function requireText(record: JsonRecord, field: string, path: Path): string {
  const text = asText(record[field]);
  if (text === null || text === "") {
    throw refuse("validation_failed", [...path, field], "Send a text.");
  }
  return text;
}

function isText(value: Json | undefined): boolean {
  return typeof value === "string" && value !== "";
}
