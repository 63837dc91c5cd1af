/** The door of agents, `/mcp`, as operations: streamable HTTP of the Model Context Protocol. */
import { errorTable } from "../base/error-table.js";
import type { ErrorCode } from "../base/errors.js";
import type { Description } from "../http/openapi.js";
import {
  type Components,
  type ErrorFace,
  errorResponses,
  exampleRequestId,
  headerRefs,
  type JsonObject,
  problemFace,
  refTo,
} from "../http/openapi-parts.js";

const id = { type: ["string", "integer", "null"] };

/** A refusal repeats the id that was sent, also one that the protocol does not take. */
const echoedId = { type: ["string", "number", "null"] };

const schemas = {
  JsonRpcMessage: {
    type: "object",
    description: "A message of JSON-RPC 2.0: a request, or a notification when it has no `id`.",
    properties: {
      jsonrpc: { type: "string", const: "2.0" },
      id,
      method: { type: "string" },
      params: { type: "object", additionalProperties: true },
    },
    required: ["jsonrpc", "method"],
    additionalProperties: true,
  },
  JsonRpcAnswer: {
    type: "object",
    properties: {
      jsonrpc: { type: "string", const: "2.0" },
      id: echoedId,
      result: { type: "object", additionalProperties: true },
      error: { type: "object", additionalProperties: true },
    },
    required: ["jsonrpc"],
  },
  JsonRpcError: {
    type: "object",
    properties: {
      jsonrpc: { type: "string", const: "2.0" },
      id: echoedId,
      error: {
        type: "object",
        properties: {
          code: { type: "integer" },
          message: { type: "string" },
          data: {
            type: "object",
            properties: { code: { type: "string" }, request_id: { type: "string" } },
            additionalProperties: true,
          },
        },
        required: ["code", "message"],
      },
    },
    required: ["jsonrpc", "error"],
  },
} satisfies JsonObject;

const sessionHeader: JsonObject = {
  description:
    "To `initialize` alone: send it with every later message, so that one of them can take back a call. The session holds nothing else.",
  schema: { type: "string", format: "uuid", maxLength: 36 },
  example: "5b0c2c4e-7d1f-4e6a-9a43-0f6d2f1b8c55",
};

const face: ErrorFace = {
  name: "mcp",
  contentType: "application/json",
  schema: refTo("schemas", "JsonRpcError"),
  example: (code) => ({
    jsonrpc: "2.0",
    error: {
      code: code === "malformed_json" ? -32_700 : errorTable[code].status >= 500 ? -32_603 : -32_000,
      message: errorTable[code].detail,
      data: { code, request_id: exampleRequestId },
    },
    id: null,
  }),
  headers: [],
};

const doorErrors: readonly ErrorCode[] = [
  "unauthenticated",
  "forbidden",
  "origin_not_allowed",
  "not_found",
  "internal",
];

const common = {
  tags: ["Agents"],
  security: [{ bearer: [] }],
  "x-permission": {
    kind: "workspace",
    credentials: ["session", "personal_token", "api_key"],
    scope: "tools:invoke",
    least_role: "MEMBER",
  },
};

const who = "Any member by a token, or an API key or personal token with `tools:invoke`; a cookie does not do.";

const notAcceptable = {
  jsonrpc: "2.0",
  error: { code: -32_000, message: "Not Acceptable: Client must accept both application/json and text/event-stream" },
  id: null,
};

/** Describes the door; what its operations share goes into `components`. */
export function describeMcp(components: Components): Description {
  const refused = (method: string, operation: string, summary: string): JsonObject => ({
    ...common,
    operationId: operation,
    summary,
    description: `The server keeps no sessions and says nothing unasked, so there is nothing to ${method === "get" ? "listen to" : "end"}: 405, as the protocol has it.\n\n${who}`,
    responses: describeErrors([...doorErrors, "method_not_allowed"], components),
  });
  return {
    paths: {
      "/mcp": {
        post: describePost(components),
        get: refused("get", "listenToMcp", "Listen to the MCP server"),
        delete: refused("delete", "endMcpSession", "End an MCP session"),
      },
    },
    schemas,
  };
}

/** What stops a request before it reaches the door is told as everywhere in the control plane. */
function describeErrors(codes: readonly ErrorCode[], components: Components): JsonObject {
  const before = ["misdirected_request", "rate_limited", "not_ready", "keyring_entry_missing"] as const;
  return { ...errorResponses(before, problemFace, components), ...errorResponses(codes, face, components) };
}

function describePost(components: Components): JsonObject {
  return {
    ...common,
    operationId: "callMcp",
    summary: "Speak to the workspace's tools as an MCP server",
    description: `Streamable HTTP, stateless, for all revisions of the protocol. Takes no \`Idempotency-Key\`.\n\n${who}`,
    parameters: [refTo("parameters", "X-Workspace"), ...["mcp-protocol-version", "mcp-session-id"].map(protocolHeader)],
    requestBody: {
      required: true,
      content: { "application/json": { schema: refTo("schemas", "JsonRpcMessage") } },
    },
    responses: {
      200: {
        description: "The answer; calls of tools are answered as events.",
        headers: { ...headerRefs(["x-request-id"]), "Mcp-Session-Id": sessionHeader },
        content: {
          "application/json": { schema: refTo("schemas", "JsonRpcAnswer") },
          "text/event-stream": {
            schema: { type: "string" },
            example: 'event: message\ndata: {"jsonrpc":"2.0","id":1,"result":{"content":[]}}\n\n',
          },
        },
      },
      202: { description: "A notification was taken.", headers: headerRefs(["x-request-id"]) },
      406: {
        description: "`Accept` must name both application/json and text/event-stream, as the protocol has it.",
        headers: headerRefs(["x-request-id"]),
        content: { "application/json": { schema: refTo("schemas", "JsonRpcError"), example: notAcceptable } },
      },
      ...describeErrors([...doorErrors, "malformed_json", "unsupported_media_type", "body_too_large"], components),
    },
  };
}

function protocolHeader(name: string): JsonObject {
  return {
    name,
    in: "header",
    description: "As the protocol has it.",
    schema: { type: "string", maxLength: 64, pattern: "^[\\x21-\\x7e]*$" },
  };
}
