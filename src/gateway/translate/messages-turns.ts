/** The turns of Anthropic's messages as those of a chat: tool results as messages of their own, calls beside the text. */
import { asList, asRecord, asText, isSaid, isTrue, type Json, type JsonRecord, type Path, refuse } from "./json.js";
import { fromDocument, fromImage } from "./media.js";

/** Reads `system` and `messages`. Throws `untranslatable` or `validation_failed`. */
export function toChatMessages(system: Json | undefined, list: readonly Json[]): readonly JsonRecord[] {
  const words = plainText(system, ["system"]);
  const last = asRecord(list.at(-1));
  if (last?.["role"] === "assistant") {
    throw refuse(
      "untranslatable",
      ["messages", list.length - 1],
      "OpenAI's chat cannot go on with an answer that was begun for it. End with a user's message.",
    );
  }
  return [
    ...(words === "" ? [] : [{ role: "system", content: words }]),
    ...list.flatMap((item, index) => toTurn(asRecord(item) ?? {}, ["messages", index])),
  ];
}

function toTurn(message: JsonRecord, path: Path): readonly JsonRecord[] {
  const inner = [...path, "content"];
  const blocks = blocksOf(message["content"], inner);
  switch (asText(message["role"]) ?? "") {
    case "user":
      return toUserMessages(blocks, inner);
    case "assistant":
      return toAssistantMessage(blocks, inner);
    case "system":
      return [{ role: "system", content: plainText(message["content"], inner) }];
    default:
      throw refuse("untranslatable", [...path, "role"], "Send `user`, `assistant` or `system`.");
  }
}

/** Results come first: they answer the calls just before them. A picture in a result follows as the user's, since a tool's message holds text alone. */
function toUserMessages(blocks: readonly JsonRecord[], path: Path): readonly JsonRecord[] {
  const results: JsonRecord[] = [];
  const parts: JsonRecord[] = [];
  for (const [index, block] of blocks.entries()) {
    const at = [...path, index];
    if (block["type"] === "tool_result") {
      const within = [...at, "content"];
      const inner = toUserParts(blocksOf(block["content"], within), within);
      results.push(toToolMessage(block, inner));
      parts.push(...inner.filter(({ type }) => type !== "text"));
    } else {
      parts.push(...toUserParts([block], path, index));
    }
  }
  return [...results, ...(parts.length === 0 ? [] : [{ role: "user", content: toContent(parts) }])];
}

function toToolMessage(block: JsonRecord, parts: readonly JsonRecord[]): JsonRecord {
  const text = parts.flatMap((part) => (part["type"] === "text" ? [asText(part["text"]) ?? ""] : [])).join("\n");
  const isMore = parts.some(({ type }) => type !== "text");
  const told = text === "" && isMore ? "The result is attached to the next message." : text;
  return {
    role: "tool",
    tool_call_id: block["tool_use_id"],
    content: isTrue(block["is_error"]) ? `Error: ${told}` : told,
  };
}

function toUserParts(blocks: readonly JsonRecord[], path: Path, from = 0): readonly JsonRecord[] {
  return blocks.flatMap((block, index) => {
    const at = [...path, from + index];
    switch (asText(block["type"]) ?? "") {
      case "text":
        return [{ type: "text", text: asText(block["text"]) ?? "" }];
      case "image":
        return [fromImage(block, at)];
      case "document":
        return fromDocument(block, at);
      default:
        throw unsayable(at);
    }
  });
}

/** Thinking is another vendor's and stays behind, but for what came from a chat itself: that has no signature, and its server may want it back. */
function toAssistantMessage(blocks: readonly JsonRecord[], path: Path): readonly JsonRecord[] {
  const texts: string[] = [];
  const calls: JsonRecord[] = [];
  const reasoning: string[] = [];
  for (const [index, block] of blocks.entries()) {
    if (block["type"] === "text") {
      texts.push(asText(block["text"]) ?? "");
    } else if (block["type"] === "tool_use") {
      calls.push({
        id: block["id"],
        type: "function",
        function: { name: block["name"], arguments: JSON.stringify(block["input"] ?? {}) },
      });
    } else if (block["type"] === "thinking") {
      reasoning.push(...(block["signature"] === "" ? [asText(block["thinking"]) ?? ""] : []));
    } else if (block["type"] !== "redacted_thinking") {
      throw unsayable([...path, index]);
    }
  }
  return [
    {
      role: "assistant",
      content: texts.length === 0 ? (calls.length === 0 ? "" : null) : texts.join(""),
      ...(reasoning.length === 0 ? {} : { reasoning_content: reasoning.join("\n") }),
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
    },
  ];
}

/** A lone text as such: not every server takes a list. */
function toContent(parts: readonly JsonRecord[]): Json {
  const first = parts[0];
  return parts.length === 1 && first?.["type"] === "text" ? (first["text"] ?? "") : parts;
}

function plainText(content: Json | undefined, path: Path): string {
  return blocksOf(content, path)
    .map((block, index) => {
      if (block["type"] !== "text") {
        throw unsayable([...path, index]);
      }
      return asText(block["text"]) ?? "";
    })
    .join("\n\n");
}

function blocksOf(content: Json | undefined, path: Path): readonly JsonRecord[] {
  if (typeof content === "string") {
    return content === "" ? [] : [{ type: "text", text: content }];
  }
  if (isSaid(content) && !Array.isArray(content)) {
    throw refuse("validation_failed", path, "Send a text or a list of blocks.");
  }
  return asList(content).map((block) => asRecord(block) ?? {});
}

function unsayable(path: Path): Error {
  return refuse("untranslatable", [...path, "type"], "OpenAI's chat has no such block. Leave it out.");
}
