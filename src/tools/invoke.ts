/** One invocation of a tool: let in, checked, called with the stored credential, told to the audit log, answered without a secret. */
import { waitUntil } from "cloudflare:workers";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { commit, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import { requireSettings } from "../base/settings.js";
import { toAppError } from "../http/failure.js";
import { callTool } from "./call.js";
import { admitCaller, type ToolCaller } from "./caller.js";
import type { ToolOutcome } from "./contract.js";
import { dropToken, noteUse, type Reception } from "./credential-use.js";
import { openForCall, type CallCredential } from "./credentials.js";
import { checkInput } from "./input.js";
import type { McpProgress } from "./mcp/client.js";
import { findEnabledTool, readSchema, type FoundTool } from "./tools.js";
import { tellToolUse } from "./usage.js";

/** What an invocation runs in. */
export interface InvokeContext {
  readonly env: Env;
  readonly db: Database;
  readonly workspaceId: string;
  readonly actor: Actor;
  readonly caller: ToolCaller;
  /** The calling member, or the maker of the calling key. */
  readonly memberId: string;
  /** The caller's leaving. */
  readonly signal: AbortSignal | undefined;
  /** Called for each step that a running tool reports; only MCP servers do. */
  readonly onProgress?: ((step: McpProgress) => void) | undefined;
}

/** What is invoked, by wire names. */
export interface Invocation {
  readonly provider: string;
  readonly tool: string;
  readonly input: Readonly<Record<string, unknown>>;
  /** The credential to use; null for the provider's own choice. */
  readonly credentialId: string | null;
}

/**
 * Invokes a tool; the audit row is written before this returns or throws, also when the caller leaves. Throws `not_found` (unknown
 * or off), `tool_not_allowed`, `rate_limited`, `validation_failed` with pointers below `/input`, `credential_missing`, `undecryptable`,
 * `tool_failed` (502, with `upstream_status` and `reason` in `extra`), `tool_timeout` (504), `client_closed_request`.
 */
export async function invokeTool(context: InvokeContext, invocation: Invocation): Promise<ToolOutcome> {
  const { env, workspaceId, caller, actor } = context;
  await admitCaller(env, workspaceId, caller, `${invocation.provider}/${invocation.tool}`, actor.requestId);
  const found = await findAsked(context, invocation);
  const running = run(context, found, invocation);
  // A caller's reset drops the handler; what was begun is still told of.
  waitUntil(
    running.then(
      () => undefined,
      () => undefined,
    ),
  );
  return await running;
}

/** The tool, if there is one that takes this input; what is asked amiss is told to the request log as refused. */
async function findAsked(context: InvokeContext, { input, provider, tool: name }: Invocation): Promise<FoundTool> {
  const startedAt = Date.now();
  try {
    const found = await findEnabledTool(context.db, context.workspaceId, { provider, name });
    if (found === null) {
      throw new AppError("not_found");
    }
    checkInput(readSchema(found.tool), input);
    return found;
  } catch (error) {
    const { code, status } = toAppError(error);
    if (status < 500) {
      const refused = { provider, tool: name, result: "refused", status, code } as const;
      waitUntil(tellToolUse(context, { ...refused, duration_ms: Date.now() - startedAt }));
    }
    throw error;
  }
}

/** How an invocation ended, for the audit log. */
interface Ending {
  readonly code: string | null;
  readonly status: number | null;
  readonly bytes: number;
  readonly credential: CallCredential | null;
}

async function run(context: InvokeContext, found: FoundTool, invocation: Invocation): Promise<ToolOutcome> {
  const { env, db, signal, onProgress } = context;
  const startedAt = Date.now();
  let credential: CallCredential | null = null;
  try {
    const settings = requireSettings(env);
    credential = await openForCall(db, settings, found.provider, invocation.credentialId);
    const outcome = await callTool({ settings, ...found, input: invocation.input, credential, signal, onProgress });
    const bytes = JSON.stringify(outcome.content).length;
    const code = outcome.is_error ? "is_error" : null;
    await record(context, found, startedAt, { code, status: outcome.status, bytes, credential });
    return outcome;
  } catch (error) {
    const { code, extra } = toAppError(error);
    const status = typeof extra["upstream_status"] === "number" ? extra["upstream_status"] : null;
    await record(context, found, startedAt, { code, status, bytes: 0, credential });
    throw error;
  }
}

/** One row for each invocation, never what went in or came out. A call that was made stays made: trouble with its row is logged. */
async function record(context: InvokeContext, found: FoundTool, startedAt: number, ending: Ending): Promise<void> {
  const { db, workspaceId, actor } = context;
  const { provider, tool } = found;
  const durationMs = Date.now() - startedAt;
  const told = {
    provider: provider.name,
    tool: tool.name,
    credential_id: ending.credential?.row.id ?? null,
    code: ending.code,
    upstream_status: ending.status,
    duration_ms: durationMs,
    bytes: ending.bytes,
  };
  const row = auditRow(db, actor, {
    workspaceId,
    action: "tool.invoked",
    targets: [
      { type: "tool_provider", id: provider.id },
      { type: "tool", id: `${provider.name}/${tool.name}` },
    ],
    after: told,
    outcome: ending.code === null ? "success" : "failure",
  });
  log("info", "tool_invoked", { request_id: actor.requestId, workspace_id: workspaceId, ...told });
  const { code, status } = ending;
  const result = code === null ? "ok" : "failed";
  const { name: toolName } = tool;
  waitUntil(
    tellToolUse(context, { provider: provider.name, tool: toolName, result, status, code, duration_ms: durationMs }),
  );
  const met = receptionOf(ending);
  try {
    await commit(db, [row, ...noteUse(db, ending.credential, startedAt, met)]);
    if (met === "refused" && ending.credential !== null) {
      await dropToken(provider, ending.credential);
    }
  } catch (error) {
    log("error", "tool_invocation_not_recorded", { request_id: actor.requestId, cause: describeError(error) });
  }
}

function receptionOf({ status, code }: Ending): Reception {
  return status === 401 ? "refused" : code === null || code === "is_error" ? "taken" : null;
}
