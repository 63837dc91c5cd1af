/** What the operations of the contract share: headers, parameters, ways to sign in, and answers that tell of an error. */
import { errorTable } from "../base/error-table.js";
import type { ErrorCode } from "../base/errors.js";
import { errorPagesPath } from "./error-pages.js";

/** A part of the document, as JSON. */
export interface JsonObject {
  [key: string]: unknown;
}

/** Whether a value of a document is an object. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A reference to a part of `components`. */
export function refTo(
  section: "schemas" | "headers" | "parameters" | "responses" | "examples",
  name: string,
): JsonObject {
  return { $ref: `#/components/${section}/${name}` };
}

/** A request's id, in every example. */
export const exampleRequestId = "req_01kb3x5w8be3tr6zc2m4n9q7vd";

const token = { type: "http", scheme: "bearer" };

/** The ways to say who calls. */
export const securitySchemes: JsonObject = {
  bearer: {
    ...token,
    description:
      "A session token, an access JWT of a session (RFC 8725 is followed: a fixed algorithm, `typ`, `iss`, `aud`, five minutes), a personal token or an API key, as `Authorization: Bearer …`.",
  },
  api_key: {
    type: "apiKey",
    in: "header",
    name: "x-api-key",
    description: "An API key where Anthropic's clients send it; below `/v1` and `/anthropic` only.",
  },
  setup_token: {
    ...token,
    description:
      "The set-up token that the first start printed; an opaque text and no JWT, so nothing of RFC 8725 concerns it. It is dead once an account exists.",
  },
};

const text = (description: string, more: JsonObject = {}): JsonObject => ({
  description,
  schema: { type: "string", maxLength: 255, pattern: "^[\\x20-\\x7e]*$", ...more },
});

/** Headers of answers. */
export const headers: JsonObject = {
  "x-request-id": {
    ...text("The request's id; quote it when you report trouble.", { pattern: "^req_[0-9a-z]{26}$", maxLength: 30 }),
    required: true,
    example: exampleRequestId,
  },
  ETag: { ...text("The version of what is answered, for `If-Match` and `If-None-Match`."), example: '"3"' },
  Location: {
    description: "Where it is found, relative to this service.",
    schema: { type: "string", maxLength: 2000, format: "uri-reference" },
    example: "/workspaces/ws_01kb3vq8f5e6tbzk3w5m9n2r7d",
  },
  "Retry-After": {
    description: "Seconds until a retry can succeed.",
    schema: { type: "integer", format: "int32", minimum: 1, maximum: 2147483647 },
    example: 2,
  },
  "Idempotency-Replayed": {
    description: "Stands on an answer that an earlier request with this `Idempotency-Key` was given.",
    schema: { type: "string", const: "true" },
    example: "true",
  },
  "WWW-Authenticate": { ...text("How to sign in."), example: 'Bearer realm="gatehouse"' },
  "Access-Control-Allow-Origin": {
    ...text("The page's origin, where it is among the allowed ones."),
    example: "https://console.example",
  },
  Allow: { ...text("The methods that this address takes."), example: "POST" },
};

/** Headers that requests may carry. */
export const parameters: JsonObject = {
  "Idempotency-Key": {
    name: "Idempotency-Key",
    in: "header",
    description:
      "Makes a retry safe: for 24 hours the same key and body give the stored answer; another body gives `idempotency_key_reused`.",
    schema: { type: "string", minLength: 1, maxLength: 255, pattern: "^[\\x21-\\x7e]{1,255}$" },
    example: "0d5a2a38-6d3c-4b9c-8f0e-6f0f7b1f3a55",
  },
  "If-Match": {
    name: "If-Match",
    in: "header",
    description:
      "The ETag you read, or several with commas between; the change is refused when none of them is current.",
    schema: { type: "string", maxLength: 200, pattern: "^[\\x21-\\x7e ]*$" },
    example: '"3"',
  },
  "If-None-Match": {
    name: "If-None-Match",
    in: "header",
    description: "The ETag you have; the answer is 304 while it still holds.",
    schema: { type: "string", maxLength: 1000, pattern: "^[\\x21-\\x7e ]*$" },
    example: '"3"',
  },
  "X-Workspace": {
    name: "X-Workspace",
    in: "header",
    description:
      "Which workspace `current` is, by id or slug; the one used last when left out. An API key's is its own.",
    schema: { type: "string", maxLength: 64, pattern: "^[a-z0-9_-]+$" },
    example: "acme",
  },
};

const fieldError = {
  type: "object",
  properties: {
    in: { type: "string", enum: ["query", "path", "header"], description: "The body when left out." },
    pointer: { type: "string", description: "RFC 6901: which field." },
    detail: { type: "string" },
    code: { type: "string" },
  },
  required: ["pointer", "detail"],
};

/** A problem document, RFC 9457. */
export const problemSchema: JsonObject = {
  type: "object",
  description: "A problem document, RFC 9457.",
  properties: {
    type: { type: "string", format: "uri-reference", description: "The page that explains the code." },
    title: { type: "string" },
    status: { type: "integer", minimum: 400, maximum: 599 },
    detail: { type: "string", description: "What went wrong and what to do." },
    code: {
      type: "string",
      pattern: "^[a-z_]+$",
      description: "Stable. `x-error-codes` of each response lists the ones it can be.",
    },
    request_id: { type: "string" },
    errors: { type: "array", items: fieldError, description: "The fields at fault." },
    invite_id: { type: "string", description: "`already_invited`: the pending invite." },
    pools: {
      type: "array",
      items: {
        type: "object",
        properties: { id: { type: "string" }, name: { type: "string" } },
        required: ["id", "name"],
      },
      description: "`in_use`: the pools that use it.",
    },
    problems: {
      type: "array",
      items: {
        type: "object",
        properties: { setting: { type: "string" }, detail: { type: "string" } },
        required: ["setting", "detail"],
      },
      description: "`not_ready`: the settings at fault.",
    },
    upstream_status: {
      type: ["integer", "null"],
      description: "`tool_failed`: the status that the tool's provider answered; null for none.",
    },
    reason: { type: "string", description: "`tool_failed`: what was wrong with its answer." },
  },
  required: ["type", "title", "status", "detail", "code", "request_id"],
};

/** An example of a problem document. */
function problemExample(code: ErrorCode): JsonObject {
  const { status, title, detail } = errorTable[code];
  const errors = [{ pointer: "/name", detail: "This field is required." }];
  return {
    type: `${errorPagesPath}/${code}`,
    title,
    status,
    detail,
    code,
    request_id: exampleRequestId,
    ...(code === "validation_failed" ? { errors } : {}),
  };
}

/** How errors are told on one side of the service. */
export interface ErrorFace {
  /** Begins the names of its parts in `components`. */
  readonly name: string;
  readonly contentType: string;
  readonly schema: JsonObject;
  /** The whole body of an error with this code. */
  readonly example: (code: ErrorCode) => unknown;
  /** Headers of every error besides those that its status brings. */
  readonly headers: readonly string[];
}

/** The control plane's own. */
export const problemFace: ErrorFace = {
  name: "problem",
  contentType: "application/problem+json",
  schema: refTo("schemas", "Problem"),
  example: problemExample,
  headers: [],
};

/** Where shared parts are put while the operations are described. */
export interface Components {
  readonly responses: JsonObject;
  readonly examples: JsonObject;
}

/** Codes that come with a time to wait, besides all of 429 and 503. */
const waiting: ReadonlySet<ErrorCode> = new Set(["idempotency_in_progress"]);

/** The responses of an operation's errors, by status. The same set of codes is the same part of `components`. */
export function errorResponses(
  codes: Iterable<ErrorCode>,
  face: ErrorFace,
  components: Components,
  more: readonly string[] = [],
): JsonObject {
  const responses: JsonObject = {};
  for (const [status, of] of Map.groupBy(new Set(codes), (code) => errorTable[code].status)) {
    const sorted = of.toSorted();
    const name = [face.name, status, ...sorted, ...more].join(".");
    components.responses[name] ??= errorResponse(status, sorted, face, components, more);
    responses[status] = refTo("responses", name);
  }
  return responses;
}

function errorResponse(
  status: number,
  codes: readonly ErrorCode[],
  face: ErrorFace,
  components: Components,
  more: readonly string[],
): JsonObject {
  const names = ["x-request-id", ...face.headers, ...more];
  if (status === 401) {
    names.push("WWW-Authenticate");
  }
  if (status === 405) {
    names.push("Allow");
  }
  if (status === 429 || status === 503 || codes.some((code) => waiting.has(code))) {
    names.push("Retry-After");
  }
  const examples: JsonObject = {};
  for (const code of codes) {
    const name = `${face.name}.${code}`;
    components.examples[name] ??= { summary: errorTable[code].title, value: face.example(code) };
    examples[code] = refTo("examples", name);
  }
  return {
    description: codes.map((code) => `\`${code}\`: ${errorTable[code].detail}`).join("\n\n"),
    headers: headerRefs(names),
    content: { [face.contentType]: { schema: face.schema, examples } },
    "x-error-codes": codes,
  };
}

/** References to headers by name, with those that every answer may have. */
export function headerRefs(names: readonly string[]): JsonObject {
  return Object.fromEntries([...names, "Access-Control-Allow-Origin"].map((name) => [name, refTo("headers", name)]));
}
