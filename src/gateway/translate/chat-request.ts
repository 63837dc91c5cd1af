/** A chat request as Anthropic's messages say it. What they cannot say is refused by name; what only hints at how to serve is left out. */
import { toMessages } from "./chat-turns.js";
import { defaultMaxTokens, thinkingFor } from "./claude.js";
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
  type Path,
  refuse,
  refuseUnknown,
} from "./json.js";

/** Read below. */
const carried = [
  "model",
  "messages",
  "max_tokens",
  "max_completion_tokens",
  "stream",
  "stream_options",
  "stop",
  "temperature",
  "top_p",
  "top_k",
  "tools",
  "tool_choice",
  "parallel_tool_calls",
  "reasoning_effort",
  "reasoning",
  "thinking",
  "response_format",
  "user",
  "safety_identifier",
  "cache_control",
] as const;

/** They ask for no other answer: keeping, caching, tiers, best-effort determinism. */
const hints = [
  "store",
  "metadata",
  "service_tier",
  "seed",
  "prompt_cache_key",
  "prompt_cache_retention",
  "verbosity",
  "prediction",
  "include_reasoning",
] as const;

/** Values under which a field asks for nothing. */
const idle: Readonly<Record<string, readonly Json[]>> = {
  n: [1],
  logprobs: [false],
  top_logprobs: [0],
  frequency_penalty: [0],
  presence_penalty: [0],
  function_call: ["none", "auto"],
  modalities: [["text"]],
};

/** Of OpenRouter's `reasoning`: how its steps are told is a hint, a budget in tokens is not. */
const reasoning = {
  known: ["effort", "summary"],
  idle: { enabled: [true, false], exclude: [false] },
  path: ["reasoning"],
  otherWire: "A translation to Anthropic's messages",
};

/** The body for `messages`. Throws `untranslatable` or `validation_failed`. */
export function toMessagesRequest(asked: JsonRecord): JsonRecord {
  refuseUnknown(asked, { known: [...carried, ...hints], idle, path: [], otherWire: "Anthropic's messages" });
  refuseUnknown(asRecord(asked["reasoning"]) ?? {}, reasoning);
  const model = asText(asked["model"]) ?? "";
  const { system, messages, isThinkingCarried } = toMessages(asList(asked["messages"]));
  const maxTokens =
    asNumber(asked["max_completion_tokens"]) ?? asNumber(asked["max_tokens"]) ?? defaultMaxTokens(model);
  const toolChoice = toToolChoice(asked);
  const isForced = toolChoice?.["type"] === "any" || toolChoice?.["type"] === "tool";
  const thinking = thinkingFor(model, effortOf(asked), { maxTokens, isForced, isThinkingCarried });
  const format = toFormat(asked["response_format"]);
  const outputConfig = { ...thinking.outputConfig, ...(format === null ? {} : { format }) };
  const user = asText(asked["user"]) ?? asText(asked["safety_identifier"]);
  const [stop, tools] = [toStopSequences(asked["stop"]), toTools(asked["tools"])];
  return {
    model,
    max_tokens: maxTokens,
    ...(system.length === 0 ? {} : { system }),
    messages,
    ...(isTrue(asked["stream"]) ? { stream: true } : {}),
    ...(stop.length === 0 ? {} : { stop_sequences: stop }),
    ...toSampling(asked),
    ...(tools.length === 0 ? {} : { tools }),
    ...(toolChoice === null || tools.length === 0 ? {} : { tool_choice: toolChoice }),
    ...(isSaid(asked["thinking"]) ? { thinking: asked["thinking"] } : thinking.field),
    ...(isSaid(outputConfig) ? { output_config: outputConfig } : {}),
    ...(user === null ? {} : { metadata: { user_id: user } }),
    ...(isSaid(asked["cache_control"]) ? { cache_control: asked["cache_control"] } : {}),
  };
}

/** Newer models take no sampling at all, so what is the default anyway is not sent. */
function toSampling(asked: JsonRecord): JsonRecord {
  const [temperature, topP] = [asNumber(asked["temperature"]), asNumber(asked["top_p"])];
  if (temperature !== null && temperature > 1) {
    throw refuse("untranslatable", ["temperature"], "Anthropic's scale ends at 1. Send a value from 0 to 1.");
  }
  return {
    ...(temperature === null || temperature === 1 ? {} : { temperature }),
    ...(topP === null || topP === 1 ? {} : { top_p: topP }),
    ...(isSaid(asked["top_k"]) ? { top_k: asked["top_k"] } : {}),
  };
}

/** OpenAI's field, or OpenRouter's object. */
function effortOf(asked: JsonRecord): string | null {
  return asText(asked["reasoning_effort"]) ?? asText(asRecord(asked["reasoning"])?.["effort"]);
}

function toStopSequences(stop: Json | undefined): readonly Json[] {
  const listed = typeof stop === "string" ? [stop] : asList(stop);
  if (listed.some((text) => asText(text)?.trim() === "")) {
    throw refuse("untranslatable", ["stop"], "Anthropic takes no stop sequence of white space alone.");
  }
  return listed;
}

function toFormat(format: Json | undefined): JsonRecord | null {
  const type = asRecord(format)?.["type"];
  if (!isSaid(format) || type === "text") {
    return null;
  }
  const schema = asRecord(asRecord(asRecord(format)?.["json_schema"])?.["schema"]);
  if (type === "json_schema" && schema !== null) {
    return { type: "json_schema", schema };
  }
  throw refuse(
    "untranslatable",
    ["response_format"],
    "Anthropic's messages make JSON by a schema only. Send `json_schema` with its schema, or leave it out.",
  );
}

function toTools(tools: Json | undefined): readonly JsonRecord[] {
  return asList(tools).map((tool, index) => toTool(asRecord(tool) ?? {}, ["tools", index]));
}

function toTool(tool: JsonRecord, path: Path): JsonRecord {
  const definition = asRecord(tool["function"]);
  if (tool["type"] !== "function" || definition === null) {
    throw refuse("untranslatable", [...path, "type"], "Only tools of the type `function` can be translated.");
  }
  const cacheControl = definition["cache_control"] ?? tool["cache_control"];
  return {
    name: definition["name"],
    ...(isSaid(definition["description"]) ? { description: definition["description"] } : {}),
    input_schema: asRecord(definition["parameters"]) ?? { type: "object", properties: {} },
    ...(isTrue(definition["strict"]) ? { strict: true } : {}),
    ...(isSaid(cacheControl) ? { cache_control: cacheControl } : {}),
  };
}

/** Null where neither a choice nor a limit on parallel calls was sent. */
function toToolChoice(asked: JsonRecord): JsonRecord | null {
  const choice = readToolChoice(asked["tool_choice"]);
  if (asked["parallel_tool_calls"] !== false) {
    return choice;
  }
  return choice?.["type"] === "none" ? choice : { ...(choice ?? { type: "auto" }), disable_parallel_tool_use: true };
}

const choices: Readonly<Record<string, string>> = { none: "none", auto: "auto", required: "any" };

function readToolChoice(choice: Json | undefined): JsonRecord | null {
  if (!isSaid(choice)) {
    return null;
  }
  const type = lookUp(choices, asText(choice));
  if (type !== undefined) {
    return { type };
  }
  const record = asRecord(choice);
  const name = asText(asRecord(record?.["function"])?.["name"]);
  if (record?.["type"] === "function" && name !== null) {
    return { type: "tool", name };
  }
  throw refuse("untranslatable", ["tool_choice"], "Send `none`, `auto`, `required` or one function by its name.");
}
