/** Tells the workspace's Router of an invocation, for its log and its sums: off the call's path, and never worth a failure. */
import type { Actor } from "../access/principal.js";
import type { Database } from "../base/database.js";
import { within } from "../base/flight.js";
import { newId } from "../base/ids.js";
import { describeError, log } from "../base/log.js";
import type { ToolUse } from "../routing/request-log-entry.js";
import { routerFor } from "../routing/router-for.js";
import { readHomeRegion } from "../routing/shards.js";
import type { ToolCaller } from "./caller.js";

const patienceMs = 10_000;

interface Use {
  readonly env: Env;
  readonly db: Database;
  readonly workspaceId: string;
  readonly actor: Pick<Actor, "requestId">;
  readonly caller: ToolCaller;
  /** The calling member, or the maker of the calling key. */
  readonly memberId: string;
}

/** Tells of one invocation, once. A person's counts with the workspace's own shard. Never throws. */
export async function tellToolUse(
  context: Use,
  use: Omit<ToolUse, "call_id" | "request_id" | "key_id" | "member_id">,
): Promise<void> {
  const { actor, caller, db, env, memberId, workspaceId } = context;
  try {
    const region = caller.kind === "key" ? caller.region : await readHomeRegion(db, workspaceId);
    const told = {
      ...use,
      call_id: newId("operation"),
      request_id: actor.requestId,
      key_id: caller.kind === "key" ? caller.keyId : null,
      member_id: memberId,
    };
    await within(patienceMs, routerFor(env, workspaceId, region).noteTool(told));
  } catch (error) {
    log("warn", "tool_use_not_told", {
      request_id: actor.requestId,
      workspace_id: workspaceId,
      error: describeError(error),
    });
  }
}
