/** Why a call to an MCP server gave no result, in words that hold no secret. */
import { OutboundError } from "../../base/outbound.js";
import { redactSecrets, type Secret } from "../../base/secret.js";

/**
 * `aborted`: our caller left. `timeout`: the time is up. `refused`: the address may not be called. `redirected`: it
 * redirects. `network`: it cannot be reached. `too_large`: it answered more than is taken. `http`: it answered with an
 * error status. `protocol`: it answered with a JSON-RPC error. `not_mcp`: its answer is no MCP.
 */
export type McpFailureKind =
  | "aborted"
  | "timeout"
  | "refused"
  | "redirected"
  | "network"
  | "too_large"
  | "http"
  | "protocol"
  | "not_mcp";

/** Thrown by the calls of this folder. The message is a sentence that callers may read. */
export class McpFailure extends Error {
  readonly kind: McpFailureKind;
  /** The server's HTTP status, when that was the failure. */
  readonly status: number | null;

  constructor(
    kind: McpFailureKind,
    message: string,
    options: { readonly status?: number; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "McpFailure";
    this.kind = kind;
    this.status = options.status ?? null;
  }
}

const maxReasonLength = 300;

/** Any error of the SDK or the network as an `McpFailure`; what the server said is searched for secrets and cut. */
export function toMcpFailure(error: unknown, secrets: readonly Secret[]): McpFailure {
  if (error instanceof McpFailure) {
    return error;
  }
  const outbound = findCause(error, (cause) => cause instanceof OutboundError);
  if (outbound !== null) {
    return new McpFailure(outbound.failure, outbound.message);
  }
  const status = statusOf(error);
  if (status !== null) {
    const said = textOf(error, secrets);
    return new McpFailure("http", `The MCP server answered ${status}${said === "" ? "." : `: ${said}`}`, { status });
  }
  return describeSdkError(error, secrets);
}

function describeSdkError(error: unknown, secrets: readonly Secret[]): McpFailure {
  const code = memberOf(error, "code");
  if (code === "REQUEST_TIMEOUT") {
    return new McpFailure("timeout", "The MCP server did not answer in time.");
  }
  if (code === "CONNECTION_CLOSED" || code === "SEND_FAILED") {
    return new McpFailure("network", "The connection to the MCP server broke off.");
  }
  const said = clean(error instanceof Error ? error.message : "", secrets);
  if (typeof code === "number") {
    return new McpFailure("protocol", `The MCP server answered with error ${code}: ${said}`);
  }
  return new McpFailure(
    "not_mcp",
    `The server's answer is not MCP over streamable HTTP${said === "" ? "." : `: ${said}`}`,
  );
}

/** The SDK keeps the status of a refused HTTP exchange in `data.status`, sometimes one cause deeper. */
function statusOf(error: unknown): number | null {
  const found = findCause(
    error,
    (cause): cause is Error => typeof memberOf(memberOf(cause, "data"), "status") === "number",
  );
  const status = memberOf(memberOf(found, "data"), "status");
  return typeof status === "number" ? status : null;
}

function textOf(error: unknown, secrets: readonly Secret[]): string {
  const found = findCause(
    error,
    (cause): cause is Error => typeof memberOf(memberOf(cause, "data"), "text") === "string",
  );
  const text = memberOf(memberOf(found, "data"), "text");
  return typeof text === "string" ? clean(text, secrets) : "";
}

function findCause<T extends Error>(error: unknown, matches: (cause: Error) => cause is T): T | null {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth += 1) {
    if (matches(cause)) {
      return cause;
    }
  }
  return null;
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

/** Redacts before it cuts: half a secret at the cut would pass the search. */
function clean(text: string, secrets: readonly Secret[]): string {
  return redactSecrets(text, secrets).replaceAll(/\s+/g, " ").trim().slice(0, maxReasonLength);
}
