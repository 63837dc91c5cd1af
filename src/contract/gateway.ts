/** The gateway's operations, from the table that its doors are made of. */
import { AppError, type ErrorCode } from "../base/errors.js";
import { type Endpoint, endpoints } from "../gateway/endpoints.js";
import { anthropicFace, errorBody, faceOf, openaiFace } from "../gateway/face.js";
import type { Description } from "../http/openapi.js";
import {
  type Components,
  type ErrorFace,
  errorResponses,
  exampleRequestId,
  headerRefs,
  type JsonObject,
  refTo,
} from "../http/openapi-parts.js";
import { rateHeaders } from "./gateway-headers.js";
import { type CallWords, callWords } from "./gateway-words.js";
import { anthropicSchemas, openAiAnswers, openAiRequests, type WireSchema } from "./wire.js";

const who = "An API key with `models:invoke`; sessions and personal tokens are refused.";
const permission = { kind: "workspace", credentials: ["api_key"], scope: "models:invoke", least_role: "MEMBER" };
const security = [{ bearer: [] }, { api_key: [] }];

const openAi: ErrorFace = {
  name: "openai",
  contentType: "application/json",
  schema: refTo("schemas", "OpenAiError"),
  example: (code) => errorBody(new AppError(code), openaiFace, exampleRequestId),
  headers: ["x-gatehouse-attempts"],
};

const anthropic: ErrorFace = {
  name: "anthropic",
  contentType: "application/json",
  schema: refTo("schemas", "AnthropicError"),
  example: (code) => errorBody(new AppError(code), anthropicFace, exampleRequestId),
  headers: ["x-gatehouse-attempts", "request-id"],
};

/** Before any model is chosen. */
const doorErrors: readonly ErrorCode[] = [
  "unauthenticated",
  "scope_missing",
  "misdirected_request",
  "rate_limited",
  "internal",
  "not_ready",
  "publish_pending",
  "router_unavailable",
];

const callErrors: readonly ErrorCode[] = [
  ...doorErrors,
  "model_required",
  "repeated_field",
  "endpoint_not_supported",
  "validation_failed",
  "model_not_allowed",
  "model_not_priced",
  "model_not_found",
  "request_timeout",
  "body_too_large",
  "unsupported_media_type",
  "concurrency_limited",
  "insufficient_quota",
  "client_closed_request",
  "undecryptable",
  "upstream_failed",
  "keyring_entry_missing",
  "overloaded",
  "pool_exhausted",
  "timeout",
];

/** Describes the gateway; what its operations share goes into `components`. */
export function describeGateway(components: Components): Description {
  const paths: JsonObject = {};
  for (const endpoint of endpoints) {
    paths[endpoint.path] = { post: describeCall(endpoint, callWords[endpoint.name], components) };
  }
  for (const [path, list, one, tag] of [
    ["/v1/models", "CallableModelList", "CallableModel", "OpenAi"],
    ["/anthropic/v1/models", "AnthropicModelList", "AnthropicModel", "Anthropic"],
  ] as const) {
    const face = pathFace(path);
    paths[path] = {
      get: {
        ...describeModels(`list${tag}Models`, "List what this key may call", list, doorErrors, face, components),
      },
    };
    paths[`${path}/{id}`] = {
      get: {
        ...describeModels(
          `read${tag}Model`,
          "Look up what this key may call",
          one,
          [...doorErrors, "model_not_found"],
          face,
          components,
        ),
        parameters: [
          {
            name: "id",
            in: "path",
            required: true,
            description: "A pool or a model, by name.",
            schema: { type: "string", maxLength: 256 },
          },
        ],
      },
    };
  }
  return { paths, schemas: { ...openAiRequests, ...openAiAnswers, ...anthropicSchemas } };
}

function pathFace(path: string): ErrorFace {
  return faceOf(path) === anthropicFace ? anthropic : openAi;
}

function describeModels(
  operation: string,
  summary: string,
  answer: WireSchema,
  errors: readonly ErrorCode[],
  face: ErrorFace,
  components: Components,
): JsonObject {
  return {
    operationId: operation,
    summary,
    description: who,
    tags: ["Gateway"],
    security,
    "x-permission": permission,
    responses: {
      200: {
        description: "What can be sent as `model`.",
        headers: headerRefs(["x-request-id", ...face.headers]),
        content: { "application/json": { schema: refTo("schemas", answer) } },
      },
      ...errorResponses(errors, face, components),
    },
  };
}

function describeCall(endpoint: Endpoint, words: CallWords, components: Components): JsonObject {
  const face = pathFace(endpoint.path);
  const mebibytes = Math.floor(endpoint.maxBytes / 1_048_576);
  return {
    operationId: words.operation,
    summary: words.summary,
    description: `Passed through to an instance of the pool that \`model\` names; fields that are not told here pass as well. A body may have ${mebibytes} MiB.\n\n${who}`,
    tags: ["Gateway"],
    security,
    "x-permission": permission,
    ...(endpoint.requestHeaders.length === 0 ? {} : { parameters: endpoint.requestHeaders.map(passedHeader) }),
    requestBody: {
      required: true,
      content: {
        [endpoint.body === "form" ? "multipart/form-data" : "application/json"]: {
          schema: refTo("schemas", words.request),
        },
      },
    },
    responses: {
      200: {
        description: "The provider's answer.",
        headers: headerRefs([
          "x-request-id",
          ...face.headers,
          "x-gatehouse-instance",
          "x-gatehouse-estimate",
          "server-timing",
          ...rateHeaders,
          "content-language",
          "openai-processing-ms",
          "openai-version",
        ]),
        content: answerContent(endpoint, words),
      },
      ...errorResponses(errorsOf(endpoint), face, components, [
        "x-gatehouse-instance",
        "server-timing",
        ...rateHeaders,
        "x-should-retry",
      ]),
      "4XX": passedError(face),
    },
  };
}

function errorsOf(endpoint: Endpoint): readonly ErrorCode[] {
  return [
    ...callErrors,
    endpoint.body === "form" ? "malformed_form" : "malformed_json",
    ...(endpoint.name === "responses" ? (["background_refused"] as const) : []),
    ...(endpoint.name === "chat/completions" || endpoint.name === "messages" ? (["untranslatable"] as const) : []),
  ];
}

function answerContent(endpoint: Endpoint, words: CallWords): JsonObject {
  const { answer, dialect } = endpoint;
  return {
    ...(words.answer === null ? {} : { "application/json": { schema: refTo("schemas", words.answer) } }),
    ...(answer === "binary" ? { "audio/*": { schema: {} }, "application/octet-stream": { schema: {} } } : {}),
    ...(answer === "text" ? { "text/*": { schema: { type: "string" }, example: "Hello." } } : {}),
    ...(dialect === null
      ? {}
      : { "text/event-stream": { schema: { type: "string" }, example: words.stream ?? "data: {}\n\n" } }),
  };
}

function passedError(face: ErrorFace): JsonObject {
  return {
    description: "Any other refusal of the provider's that this request brought about, passed on in its own words.",
    headers: headerRefs(["x-request-id", ...face.headers, "x-gatehouse-instance", "server-timing", ...rateHeaders]),
    content: { [face.contentType]: { schema: face.schema, example: face.example("validation_failed") } },
  };
}

function passedHeader(name: string): JsonObject {
  return {
    name,
    in: "header",
    description: "Passed on to the provider.",
    schema: { type: "string", maxLength: 1_000, pattern: "^[\\x20-\\x7e]*$" },
  };
}
