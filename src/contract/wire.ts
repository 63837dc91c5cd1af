/** The bodies of the gateway's wires, as far as the gateway knows them: what it passes through may hold more. */
import type { JsonObject } from "../http/openapi-parts.js";

const text = { type: "string" };
const whole = { type: "integer", minimum: 0 };
const flag = { type: "boolean" };

/** An object that may hold more than is told here. */
function open(properties: JsonObject, required: readonly string[], description?: string): JsonObject {
  return {
    type: "object",
    ...(description === undefined ? {} : { description }),
    properties,
    required,
    additionalProperties: true,
  };
}

const model = {
  type: "string",
  maxLength: 256,
  description: "A pool's name, or a model of one provider. GET /v1/models lists them.",
};
const stream = { type: "boolean", description: "Answers as server-sent events." };
const user = { type: "string", description: "Your own name for who asks; a pool may stick to an instance by it." };
const anything = { description: "As the provider's documentation has it." };

const usage = open({ prompt_tokens: whole, completion_tokens: whole, total_tokens: whole }, [
  "prompt_tokens",
  "total_tokens",
]);

const chatMessage = open(
  {
    role: { type: "string", enum: ["developer", "system", "user", "assistant", "tool", "function"] },
    content: anything,
  },
  ["role"],
);

/** Requests by the endpoint's name. */
export const openAiRequests = {
  ChatCompletionRequest: open(
    {
      model,
      messages: { type: "array", minItems: 1, items: chatMessage },
      max_completion_tokens: {
        type: "integer",
        minimum: 1,
        description: "The longest answer. It is held of your limits while the call runs.",
      },
      temperature: { type: "number", minimum: 0, maximum: 2 },
      tools: { type: "array", items: { type: "object", additionalProperties: true } },
      stream,
      stream_options: { type: "object", additionalProperties: true },
      user,
    },
    ["model", "messages"],
  ),
  ResponseRequest: open(
    {
      model,
      input: anything,
      instructions: text,
      max_output_tokens: { type: "integer", minimum: 1 },
      background: {
        type: "boolean",
        const: false,
        description: "What runs in the background could be asked for only where it was begun.",
      },
      stream,
      user,
    },
    ["model", "input"],
  ),
  CompletionRequest: open({ model, prompt: anything, max_tokens: { type: "integer", minimum: 1 }, stream, user }, [
    "model",
    "prompt",
  ]),
  EmbeddingRequest: open({ model, input: anything, dimensions: { type: "integer", minimum: 1 }, user }, [
    "model",
    "input",
  ]),
  ImageRequest: open({ model, prompt: text, n: { type: "integer", minimum: 1 }, size: text, stream, user }, [
    "model",
    "prompt",
  ]),
  SpeechRequest: open(
    {
      model,
      input: text,
      voice: anything,
      response_format: text,
      stream_format: { type: "string", enum: ["audio", "sse"] },
    },
    ["model", "input", "voice"],
  ),
  TranscriptionRequest: open(
    {
      model,
      file: {
        type: "string",
        contentMediaType: "application/octet-stream",
        description: "The recording, up to 25 MiB with all else.",
      },
      language: text,
      response_format: text,
      stream: { type: "string", enum: ["true", "false"] },
    },
    ["model", "file"],
  ),
  ModerationRequest: open({ model, input: anything }, ["model", "input"]),
  RerankRequest: open(
    { model, query: text, documents: { type: "array", items: anything }, top_n: { type: "integer", minimum: 1 } },
    ["model", "query", "documents"],
  ),
} as const satisfies Record<string, JsonObject>;

/** Answers on OpenAI's wire. */
export const openAiAnswers = {
  ChatCompletion: open(
    {
      id: text,
      object: text,
      created: whole,
      model: text,
      choices: {
        type: "array",
        items: open({ index: whole, message: chatMessage, finish_reason: { type: ["string", "null"] } }, [
          "index",
          "message",
        ]),
      },
      usage,
    },
    ["choices"],
  ),
  ModelResponse: open(
    {
      id: text,
      object: text,
      status: text,
      output: { type: "array", items: { type: "object", additionalProperties: true } },
    },
    ["output"],
  ),
  Completion: open(
    { id: text, object: text, choices: { type: "array", items: open({ index: whole, text }, ["text"]) }, usage },
    ["choices"],
  ),
  EmbeddingList: open(
    {
      object: text,
      data: { type: "array", items: open({ index: whole, object: text, embedding: anything }, ["embedding"]) },
      model: text,
      usage: open({ prompt_tokens: whole, total_tokens: whole }, []),
    },
    ["data"],
  ),
  ImageList: open({ created: whole, data: { type: "array", items: open({ b64_json: text, url: text }, []) } }, [
    "data",
  ]),
  Transcription: open({ text }, ["text"]),
  Moderation: open({ id: text, model: text, results: { type: "array", items: open({ flagged: flag }, ["flagged"]) } }, [
    "results",
  ]),
  Rerank: open(
    {
      id: text,
      results: {
        type: "array",
        items: open({ index: whole, relevance_score: { type: "number" } }, ["index", "relevance_score"]),
      },
    },
    ["results"],
  ),
  CallableModel: {
    type: "object",
    properties: {
      id: { type: "string", description: "What to send as `model`." },
      object: { type: "string", const: "model" },
      created: { type: "integer", const: 0, description: "Not known." },
      owned_by: { type: "string", description: "A provider; `gatehouse` for a pool." },
    },
    required: ["id", "object", "created", "owned_by"],
  },
  CallableModelList: {
    type: "object",
    properties: {
      object: { type: "string", const: "list" },
      data: { type: "array", items: { $ref: "#/components/schemas/CallableModel" } },
    },
    required: ["object", "data"],
  },
  OpenAiError: {
    type: "object",
    description: "An error as OpenAI's clients read it. A provider's own may hold more.",
    properties: {
      error: open(
        {
          message: text,
          type: { type: ["string", "null"] },
          param: { type: ["string", "null"] },
          code: {
            type: ["string", "integer", "null"],
            description: "`unauthenticated` is `invalid_api_key` here, `rate_limited` is `rate_limit_exceeded`.",
          },
        },
        ["message"],
      ),
    },
    required: ["error"],
    additionalProperties: true,
  },
} as const satisfies Record<string, JsonObject>;

/** Anthropic's wire. */
export const anthropicSchemas = {
  MessageRequest: open(
    {
      model,
      messages: {
        type: "array",
        minItems: 1,
        items: open({ role: { type: "string" }, content: anything }, ["role", "content"]),
      },
      max_tokens: { type: "integer", minimum: 1 },
      system: anything,
      stream,
      metadata: open({ user_id: user }, []),
    },
    ["model", "messages", "max_tokens"],
  ),
  Message: open(
    {
      id: text,
      type: { type: "string", const: "message" },
      role: { type: "string" },
      model: text,
      content: { type: "array", items: { type: "object", additionalProperties: true } },
      stop_reason: { type: ["string", "null"] },
      usage: open({ input_tokens: whole, output_tokens: whole }, []),
    },
    ["content"],
  ),
  CountTokensRequest: open(
    {
      model,
      messages: {
        type: "array",
        minItems: 1,
        items: open({ role: { type: "string" }, content: anything }, ["role", "content"]),
      },
      system: anything,
    },
    ["model", "messages"],
  ),
  TokenCount: open({ input_tokens: whole }, ["input_tokens"]),
  AnthropicModel: {
    type: "object",
    properties: {
      type: { type: "string", const: "model" },
      id: { type: "string", description: "What to send as `model`." },
      display_name: text,
      created_at: { type: "string", format: "date-time", description: "Not known." },
    },
    required: ["type", "id", "display_name", "created_at"],
  },
  AnthropicModelList: {
    type: "object",
    properties: {
      data: { type: "array", items: { $ref: "#/components/schemas/AnthropicModel" } },
      has_more: { type: "boolean", const: false },
      first_id: { type: ["string", "null"] },
      last_id: { type: ["string", "null"] },
    },
    required: ["data", "has_more", "first_id", "last_id"],
  },
  AnthropicError: {
    type: "object",
    description: "An error as Anthropic's clients read it. A provider's own may hold more.",
    properties: {
      type: { type: "string", const: "error" },
      error: open({ type: text, message: text }, ["type", "message"]),
      request_id: { type: ["string", "null"] },
    },
    required: ["type", "error"],
    additionalProperties: true,
  },
} as const satisfies Record<string, JsonObject>;

/** A named schema of this page. */
export type WireSchema = keyof typeof openAiRequests | keyof typeof openAiAnswers | keyof typeof anthropicSchemas;
