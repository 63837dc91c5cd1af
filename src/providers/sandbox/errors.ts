/** The sandbox's errors, each in the words and the status that a vendor of its wire gives them. */

/** A trouble that a credential makes. */
export type SandboxTrouble = "rate_limit" | "server" | "quota" | "key";

/** Whose error shapes an endpoint wears. */
export type SandboxShape = "openai" | "anthropic";

/** What is wrong with a request. */
export interface SandboxMistake {
  readonly status: 400 | 404;
  readonly message: string;
  /** The field at fault; null when it is none in particular. */
  readonly param: string | null;
  readonly code: string | null;
}

/** An error as the server sends it. */
export interface SandboxRefusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
}

type Make = (key: string) => SandboxRefusal;

const waitSeconds = { "retry-after": "5" };

/** A refused key is repeated in the message, as some vendors do: whoever passes error bodies on has to search them. */
const refusals: Readonly<Record<SandboxShape, Readonly<Record<SandboxTrouble, Make>>>> = {
  openai: {
    rate_limit: () =>
      openai(429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded", null, waitSeconds),
    server: () => openai(500, "The server had an error while processing your request.", "server_error", null),
    quota: () => openai(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    key: (key) => openai(401, `Incorrect API key provided: ${key}.`, "invalid_request_error", "invalid_api_key"),
  },
  anthropic: {
    rate_limit: () =>
      anthropic(429, "This request would exceed your organization's rate limit.", "rate_limit_error", waitSeconds),
    server: () => anthropic(500, "Internal server error", "api_error"),
    quota: () => anthropic(400, "Your credit balance is too low to access the Anthropic API.", "invalid_request_error"),
    key: (key) => anthropic(401, `invalid x-api-key: ${key}`, "authentication_error"),
  },
};

/** The error that a credential makes on a wire. `key` is the one that was sent. */
export function refuseTrouble(trouble: SandboxTrouble, shape: SandboxShape, key: string): SandboxRefusal {
  return refusals[shape][trouble](key);
}

/** The error for a wrong request. */
export function refuseMistake(mistake: SandboxMistake, shape: SandboxShape): SandboxRefusal {
  const { status, message, param, code } = mistake;
  return shape === "openai"
    ? openai(status, message, "invalid_request_error", code, param)
    : anthropic(status, message, status === 404 ? "not_found_error" : "invalid_request_error");
}

/** The error that comes inside a 200. */
export function inbandError(shape: SandboxShape): object {
  return shape === "openai"
    ? openai(200, "The server had an error while answering.", "server_error", "server_error").body
    : anthropic(200, "Overloaded", "overloaded_error").body;
}

/** The mistake of naming a model that this endpoint has not. */
export function missingModel(model: string, right: string): SandboxMistake {
  const message = `The model '${model}' does not exist in the sandbox or does not serve this endpoint. Use '${right}'.`;
  return { status: 404, message, param: "model", code: "model_not_found" };
}

function openai(
  status: number,
  message: string,
  type: string,
  code: string | null,
  param: string | null = null,
  headers: Readonly<Record<string, string>> = {},
): SandboxRefusal {
  return { status, headers, body: { error: { message, type, param, code } } };
}

function anthropic(
  status: number,
  message: string,
  type: string,
  headers: Readonly<Record<string, string>> = {},
): SandboxRefusal {
  return {
    status,
    headers: { ...headers, "request-id": "req_sandbox" },
    body: { type: "error", error: { type, message }, request_id: "req_sandbox" },
  };
}
