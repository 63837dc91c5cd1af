/** Admission of tools: may this key invoke this tool now? Pure but for the state it is given; `now` is epoch milliseconds. */
import { authorizeKey, refuse } from "./authorize.js";
import { checkRequests, rateOf, takeRequests } from "./holds.js";
import type { AdmitToolRequest, Refusal, ToolAdmitted } from "./model.js";
import { toolEndpoint } from "./request-log-entry.js";
import { logRefusal } from "./request-log.js";
import type { RouterState } from "./state.js";

/** Admits one invocation and counts it in the key's and the workspace's window, or says why not. A refusal consumes nothing. */
export function admitTool(state: RouterState, request: AdmitToolRequest, now: number): ToolAdmitted | Refusal {
  const verdict = authorizeKey(state, request, now);
  if (verdict.kind === "refused") {
    return verdict;
  }
  const { config, key } = verdict;
  const { id, tools } = key.row;
  if (!allowsTool(tools ?? null, request.tool)) {
    return refuse("tool_not_allowed");
  }
  const refusal = checkRequests(state, config, key, now);
  if (refusal !== null) {
    return refusal;
  }
  takeRequests(state, config, key, now);
  return { kind: "admitted", key_id: id, rate: rateOf(state, key, now) };
}

/** Takes into the log that a known key's invocation was refused, once the answer stands. A caller of the release before names no request. */
export function logToolRefused(
  state: RouterState,
  { key_digest: digest, request_id, tool }: AdmitToolRequest,
  answer: ToolAdmitted | Refusal,
  now: number,
): void {
  const key = answer.kind === "refused" ? state.config?.keys.get(digest) : undefined;
  if (answer.kind === "refused" && key !== undefined && request_id !== undefined) {
    const call = { request_id, key_id: key.row.id, model: tool, endpoint: toolEndpoint, pool_id: null };
    logRefusal(state.log, call, answer, now);
  }
}

/** Whether an allow-list (null: everything) names a tool, by itself or by `provider/*`. */
function allowsTool(list: readonly string[] | null, tool: string): boolean {
  const [provider = ""] = tool.split("/");
  return list === null || list.includes(tool) || list.includes(`${provider}/*`);
}
