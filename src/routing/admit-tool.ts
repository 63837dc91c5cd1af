/** Admission of tools: may this key invoke this tool now? Pure but for the state it is given; `now` is epoch milliseconds. */
import { authorizeKey, refuse } from "./authorize.js";
import { rateOf, takeRate } from "./decide.js";
import { describeWindow, waitForSlotMs } from "./limits.js";
import type { AdmitToolRequest, Refusal, ToolAdmitted } from "./model.js";
import type { RouterState } from "./state.js";

/** Admits one invocation and counts it in the key's window, or says why not. A refusal consumes nothing. */
export function admitTool(state: RouterState, request: AdmitToolRequest, now: number): ToolAdmitted | Refusal {
  const verdict = authorizeKey(state, request, now);
  if (verdict.kind === "refused") {
    return verdict;
  }
  const { key } = verdict;
  const { id, rpm, tools } = key.row;
  if (!allowsTool(tools ?? null, request.tool)) {
    return refuse("tool_not_allowed");
  }
  const window = rpm === null ? undefined : state.windows.get(id);
  if (rpm !== null && window !== undefined) {
    const waitMs = waitForSlotMs(window, rpm, now);
    if (waitMs > 0) {
      return refuse("rate_limited", waitMs, describeWindow(window, rpm, now));
    }
  }
  takeRate(state, key, now);
  return { kind: "admitted", key_id: id, rate: rateOf(state, key, now) };
}

/** Whether an allow-list (null: everything) names a tool, by itself or by `provider/*`. */
function allowsTool(list: readonly string[] | null, tool: string): boolean {
  const [provider = ""] = tool.split("/");
  return list === null || list.includes(tool) || list.includes(`${provider}/*`);
}
