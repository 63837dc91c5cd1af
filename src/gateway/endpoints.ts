/** The endpoints of the gateway, as data: what each reads of a call, how its answers and streams are understood, and in whose shape it speaks. */
import { AppError } from "../base/errors.js";
import type { UpstreamEndpoint } from "../providers/contract.js";
import type { ModelType } from "../providers/known-models.js";
import { chatDialect } from "./chat-events.js";
import type { Dialect } from "./dialect.js";
import { anthropicFace, type Face, openaiFace } from "./face.js";
import { imagesDialect, speechDialect, transcriptDialect } from "./media-events.js";
import { messagesDialect } from "./messages-events.js";
import { responsesDialect } from "./responses-events.js";
import type { ReadField } from "./scan.js";

/** One endpoint. */
export interface Endpoint {
  /** What an upstream calls it. */
  readonly name: UpstreamEndpoint;
  /** Where callers find it. */
  readonly path: string;
  readonly face: Face;
  /** The caller's headers that go upstream besides the common ones. */
  readonly requestHeaders: readonly string[];
  /** Which default the model name `default` means. */
  readonly modelType: ModelType;
  readonly body: "json" | "form";
  readonly maxBytes: number;
  /** How often a body may be in memory at once: itself, its copy with the model spliced in while that is sent, and after a failure the last attempt's copy. */
  readonly copies: number;
  /** Fields that are read; one that stands twice is refused. */
  readonly fields: readonly ReadField[];
  /** The field and the value of it that ask for a stream; null where there is none. */
  readonly streamBy: { readonly field: ReadField; readonly values: readonly unknown[] } | null;
  /** Its streams tell their usage only when `stream_options` asks. */
  readonly asksUsage: boolean;
  /** Where a cap of output tokens stands, unless a provider knows it by another name; null where nothing can be capped. */
  readonly capField: ReadField | null;
  /** Null: it never streams. */
  readonly dialect: Dialect | null;
  /** What a whole answer may be. JSON may be an answer anywhere, for errors come as JSON. */
  readonly answer: "json" | "text" | "binary";
}

const mebibyte = 1_048_576;

const openaiJson = {
  face: openaiFace,
  requestHeaders: ["openai-beta"],
  body: "json",
  maxBytes: 20 * mebibyte,
  copies: 3,
  streamBy: null,
  asksUsage: false,
  capField: null,
  dialect: null,
  answer: "json",
} as const;

const anthropicJson = {
  ...openaiJson,
  face: anthropicFace,
  requestHeaders: ["anthropic-version", "anthropic-beta"],
  modelType: "llm",
} as const;

const streamField = { field: "stream", values: [true] } as const;

/** Every endpoint that calls a model. */
export const endpoints: readonly Endpoint[] = [
  {
    ...openaiJson,
    name: "chat/completions",
    path: "/v1/chat/completions",
    modelType: "llm",
    fields: ["model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "user"],
    streamBy: streamField,
    asksUsage: true,
    capField: "max_tokens",
    dialect: chatDialect,
  },
  {
    ...openaiJson,
    name: "responses",
    path: "/v1/responses",
    modelType: "llm",
    fields: ["model", "stream", "max_output_tokens", "background", "user"],
    streamBy: streamField,
    capField: "max_output_tokens",
    dialect: responsesDialect,
  },
  {
    ...openaiJson,
    name: "completions",
    path: "/v1/completions",
    modelType: "llm",
    fields: ["model", "stream", "stream_options", "max_tokens", "n", "best_of", "prompt", "user"],
    streamBy: streamField,
    asksUsage: true,
    capField: "max_tokens",
    dialect: chatDialect,
  },
  { ...openaiJson, name: "embeddings", path: "/v1/embeddings", modelType: "embedding", fields: ["model", "user"] },
  {
    ...openaiJson,
    name: "images/generations",
    path: "/v1/images/generations",
    modelType: "image",
    fields: ["model", "stream", "n", "user"],
    streamBy: streamField,
    dialect: imagesDialect,
  },
  {
    ...openaiJson,
    name: "audio/speech",
    path: "/v1/audio/speech",
    modelType: "speech",
    fields: ["model", "stream_format", "input"],
    streamBy: { field: "stream_format", values: ["sse"] },
    dialect: speechDialect,
    answer: "binary",
  },
  {
    ...openaiJson,
    name: "audio/transcriptions",
    path: "/v1/audio/transcriptions",
    modelType: "speech",
    body: "form",
    maxBytes: 25 * mebibyte,
    // Three would be more than an isolate has for all of its requests: the last attempt's copy is not counted, being free to go.
    copies: 2,
    fields: ["model", "stream"],
    streamBy: { field: "stream", values: ["true", "True", "1"] },
    dialect: transcriptDialect,
    answer: "text",
  },
  { ...openaiJson, name: "moderations", path: "/v1/moderations", modelType: "moderation", fields: ["model"] },
  { ...openaiJson, name: "rerank", path: "/v1/rerank", modelType: "rerank", fields: ["model"] },
  {
    ...anthropicJson,
    name: "messages",
    path: "/anthropic/v1/messages",
    fields: ["model", "stream", "max_tokens", "metadata"],
    streamBy: streamField,
    capField: "max_tokens",
    dialect: messagesDialect,
  },
  {
    ...anthropicJson,
    name: "messages/count_tokens",
    path: "/anthropic/v1/messages/count_tokens",
    fields: ["model"],
  },
];

/** The refusal of a path that no endpoint stands at: a base URL that is written wrongly leads there, and an SDK shows these words. */
export function noSuchEndpoint(): AppError {
  return new AppError("not_found", {
    detail:
      "No endpoint stands at this path. The base URL of an SDK ends in /v1 for OpenAI's, and in /anthropic for Anthropic's.",
  });
}

/** Whether a path outside the gateway is one of its endpoints' without what comes before, as `/chat/completions` is. */
export function isMisplaced(path: string): boolean {
  return endpoints.some((endpoint) => path.length > 1 && endpoint.path.endsWith(path));
}
