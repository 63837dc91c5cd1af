/** The call itself: a tool's request with the opened credential in it, past the outbound guard, within its time and size. The one frame that holds a plaintext. */
import { AppError } from "../base/errors.js";
import { fetchOutbound, OutboundError, type OutboundFailure } from "../base/outbound.js";
import type { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import { outboundRules } from "../connections/validation.js";
import type { ToolProviderRow, ToolRow } from "../toolbox/model.js";
import { readAuth } from "./auth.js";
import { readCall } from "./call-schema.js";
import type { McpCall, OpenApiCall, ToolAuth, ToolOutcome } from "./contract.js";
import { sessionKey, type CallCredential } from "./credentials.js";
import { secretsWithin } from "./header-values.js";
import { callMcpTool, type McpProgress } from "./mcp/client.js";
import { McpFailure, type McpFailureKind } from "./mcp/failure.js";
import { mcpTarget } from "./mcp/target.js";
import { buildToolRequest } from "./openapi/request.js";
import { readToolResponse } from "./openapi/response.js";
import { readSchema } from "./tools.js";

/** One call, ready to be made. */
export interface ToolCall {
  readonly settings: Settings;
  readonly provider: ToolProviderRow;
  readonly tool: ToolRow;
  readonly input: Readonly<Record<string, unknown>>;
  /** Null for a provider that needs none. */
  readonly credential: CallCredential | null;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((step: McpProgress) => void) | undefined;
}

const maxAnswerBytes = 5 * 1024 * 1024;
const maxReasonLength = 2_000;

/** Makes the call. Throws `tool_failed`, `tool_timeout`, `client_closed_request`, and `validation_failed` for input that no request can be made of. */
export async function callTool(call: ToolCall): Promise<ToolOutcome> {
  const stored = readCall(call.tool.call);
  return stored.kind === "mcp" ? await callServer(call, stored) : await callApi(call, stored);
}

/** A `tool_failed`. `reason` holds no secret. */
function failed(reason: string, status: number | null): AppError {
  return new AppError("tool_failed", { detail: reason, extra: { upstream_status: status, reason } });
}

async function callApi(call: ToolCall, stored: OpenApiCall): Promise<ToolOutcome> {
  const { settings, provider, credential, signal } = call;
  const timeoutMs = provider.timeoutSeconds * 1000;
  const endsAt = Date.now() + timeoutMs;
  const server = provider.kind === "builtin" && credential !== null ? credential.baseUrl : stored.server;
  const request = buildToolRequest({ ...stored, server }, call.input, readAuth(provider), sent(credential));
  if (credential !== null && new URL(request.url).origin !== new URL(credential.baseUrl).origin) {
    throw new AppError("internal", { cause: new Error("a tool call would leave the origin of its credential") });
  }
  const secrets = secretsOf(readAuth(provider), credential);
  let outcome: ToolOutcome;
  try {
    const response = await fetchOutbound(request, { ...outboundRules(settings), timeoutMs, signal });
    outcome = await readToolResponse(response, { secrets, maxBytes: maxAnswerBytes });
  } catch (error) {
    throw describeFailure(error, signal, endsAt);
  }
  if (outcome.is_error) {
    const reason = describeContent(outcome);
    const status = outcome.status ?? 0;
    throw failed(reason === "" ? `It answered with status ${status}.` : reason, outcome.status);
  }
  return outcome;
}

async function callServer(call: ToolCall, stored: McpCall): Promise<ToolOutcome> {
  const { settings, provider, tool, credential, signal, onProgress } = call;
  const target = mcpTarget({
    url: provider.baseUrl,
    auth: readAuth(provider),
    credential: credential?.opened ?? null,
    accessToken: credential?.accessToken ?? null,
    sessionKey: await sessionKey(provider, credential),
    rules: outboundRules(settings),
  });
  const limits = { timeoutMs: provider.timeoutSeconds * 1000, maxBytes: maxAnswerBytes, signal, onProgress };
  try {
    return await callMcpTool(target, { call: stored, input_schema: readSchema(tool) }, call.input, limits);
  } catch (error) {
    if (error instanceof McpFailure) {
      throw toFailure(error.kind, error.message, error.status);
    }
    throw error;
  }
}

/** For OAuth, what is sent is the token. */
function sent(credential: CallCredential | null) {
  if (credential === null) {
    return null;
  }
  const { opened, accessToken } = credential;
  return accessToken === null ? opened : { ...opened, secret: accessToken };
}

function secretsOf(auth: ToolAuth, credential: CallCredential | null): readonly Secret[] {
  if (credential === null) {
    return [];
  }
  const { opened, accessToken } = credential;
  const within = secretsWithin(auth, opened.secret.reveal());
  return [opened.secret, ...within, ...(accessToken === null ? [] : [accessToken])];
}

function describeFailure(error: unknown, signal: AbortSignal | undefined, endsAt: number): unknown {
  if (error instanceof OutboundError) {
    return toFailure(error.failure, error.message, null);
  }
  // A body that broke off says nothing of why.
  if (signal?.aborted === true) {
    return toFailure("aborted", "", null);
  }
  if (Date.now() >= endsAt) {
    return toFailure("timeout", "", null);
  }
  if (error instanceof AppError) {
    return error.code === "upstream_failed" ? failed(error.detail, null) : error;
  }
  return failed("The provider's answer broke off.", null);
}

function toFailure(kind: OutboundFailure | McpFailureKind, message: string, status: number | null): AppError {
  switch (kind) {
    case "aborted":
      return new AppError("client_closed_request");
    case "timeout":
      return new AppError("tool_timeout");
    case "refused":
    case "redirected":
    case "network":
    case "too_large":
    case "http":
    case "protocol":
    case "not_mcp":
      return failed(message, status);
  }
}

/** What an error answer says, as text. Secrets are out of it already. */
function describeContent(outcome: ToolOutcome): string {
  const texts = outcome.content.map((part) =>
    part.type === "text" ? part.text : part.type === "json" ? JSON.stringify(part.value) : "",
  );
  return texts.join("\n").trim().slice(0, maxReasonLength);
}
