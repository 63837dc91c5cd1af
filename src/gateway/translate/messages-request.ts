/** A messages request as OpenAI's chat says it. What chat cannot say is refused by name; what only hints at how to serve is left out. */
import type { TranslationFacts } from "./contract.js";
import {
  asList,
  asNumber,
  asRecord,
  asText,
  isSaid,
  isTrue,
  lookUp,
  type Json,
  type JsonRecord,
  refuse,
  refuseUnknown,
} from "./json.js";
import { toChatMessages } from "./messages-turns.js";

/** Read below. */
const carried = [
  "model",
  "messages",
  "max_tokens",
  "stream",
  "system",
  "stop_sequences",
  "temperature",
  "top_p",
  "tools",
  "tool_choice",
  "thinking",
  "output_config",
  "metadata",
] as const;

/** They ask for no other answer: caching, tiers, what of a long history is kept. */
const hints = ["cache_control", "context_management", "service_tier", "speed", "diagnostics", "betas"] as const;

const otherWire = "OpenAI's chat";
/** A longer name of a user is refused by some servers. */
const maxUserLength = 64;

/** The body for `chat/completions`. Throws `untranslatable` or `validation_failed`. */
export function toChatRequest(asked: JsonRecord, facts: TranslationFacts): JsonRecord {
  refuseUnknown(asked, { known: [...carried, ...hints], path: [], otherWire });
  const model = asText(asked["model"]) ?? "";
  const maxTokens = asNumber(asked["max_tokens"]);
  if (maxTokens === null) {
    throw refuse("validation_failed", ["max_tokens"], "Send a number.");
  }
  const isStream = isTrue(asked["stream"]);
  const tools = asList(asked["tools"]).map((tool, index) => toTool(asRecord(tool) ?? {}, index));
  const user = asText(asRecord(asked["metadata"])?.["user_id"]);
  const effort = toEffort(model, asked);
  return {
    model,
    messages: toChatMessages(asked["system"], asList(asked["messages"])),
    [facts.capField ?? capField(model)]: maxTokens,
    ...(isStream ? { stream: true } : {}),
    ...(isStream && facts.takesStreamOptions ? { stream_options: { include_usage: true } } : {}),
    ...(isSaid(asked["stop_sequences"]) ? { stop: asked["stop_sequences"] } : {}),
    ...(isSaid(asked["temperature"]) ? { temperature: asked["temperature"] } : {}),
    ...(isSaid(asked["top_p"]) ? { top_p: asked["top_p"] } : {}),
    ...(tools.length === 0 ? {} : { tools, ...toToolChoice(asRecord(asked["tool_choice"])) }),
    ...(effort === null ? {} : { reasoning_effort: effort }),
    ...toFormat(asRecord(asked["output_config"])),
    ...(user === null || user.length > maxUserLength ? {} : { user }),
  };
}

/** OpenAI's reasoning models refuse `max_tokens`; most other servers know nothing else. */
function capField(model: string): string {
  const isReasoning = /^(?:o\d|gpt-[5-9]|gpt-\d\d|codex|chatgpt)/.test(model.slice(model.lastIndexOf("/") + 1));
  return isReasoning ? "max_completion_tokens" : "max_tokens";
}

/** Tools that Anthropic runs itself have no counterpart. */
function toTool(tool: JsonRecord, index: number): JsonRecord {
  if (isSaid(tool["type"]) && tool["type"] !== "custom") {
    throw refuse("untranslatable", ["tools", index, "type"], `${otherWire} has no such tool. Leave it out.`);
  }
  return {
    type: "function",
    function: {
      name: tool["name"],
      ...(isSaid(tool["description"]) ? { description: tool["description"] } : {}),
      parameters: tool["input_schema"],
      ...(isTrue(tool["strict"]) ? { strict: true } : {}),
    },
  };
}

const choices: Readonly<Record<string, string>> = { auto: "auto", any: "required", none: "none" };

function toToolChoice(choice: JsonRecord | null): JsonRecord {
  if (choice === null) {
    return {};
  }
  const parallel = isTrue(choice["disable_parallel_tool_use"]) ? { parallel_tool_calls: false } : {};
  const name = asText(choice["name"]);
  if (choice["type"] === "tool" && name !== null) {
    return { tool_choice: { type: "function", function: { name } }, ...parallel };
  }
  const word = lookUp(choices, asText(choice["type"]));
  if (word === undefined) {
    throw refuse("untranslatable", ["tool_choice", "type"], "Send `auto`, `any`, `none` or `tool` with its name.");
  }
  return { tool_choice: word, ...parallel };
}

/** Upper ends of a budget of thinking tokens, and the effort that comes near. */
const efforts: readonly (readonly [number, string])[] = [
  [4_096, "low"],
  [16_000, "medium"],
  [Infinity, "high"],
];
const words: Readonly<Record<string, string>> = {
  low: "low",
  medium: "medium",
  high: "high",
  xhigh: "high",
  max: "high",
};

/** Null where the caller left it to the model, and for models that do not reason. */
function toEffort(model: string, asked: JsonRecord): string | null {
  const thinking = asRecord(asked["thinking"]);
  const said = asText(asRecord(asked["output_config"])?.["effort"]);
  if (/(?:^|\/)(?:gpt-[34]|chatgpt)/.test(model) || thinking?.["type"] === "disabled") {
    return null;
  }
  const budget = asNumber(thinking?.["budget_tokens"]);
  return lookUp(words, said) ?? (budget === null ? null : (efforts.find(([end]) => budget < end)?.[1] ?? null));
}

function toFormat(config: JsonRecord | null): JsonRecord {
  refuseUnknown(config ?? {}, { known: ["effort", "format"], path: ["output_config"], otherWire });
  const format = asRecord(config?.["format"]);
  if (format === null) {
    return {};
  }
  const schema: Json | undefined = format["schema"];
  if (format["type"] !== "json_schema" || asRecord(schema) === null) {
    throw refuse("untranslatable", ["output_config", "format"], "Send `json_schema` with its schema.");
  }
  return { response_format: { type: "json_schema", json_schema: { name: "answer", schema, strict: true } } };
}
