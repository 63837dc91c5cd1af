import { describe, it } from "vitest";
import { admitTool } from "../../src/routing/admit-tool.js";
import { admit } from "../../src/routing/decide.js";
import { installConfig } from "../../src/routing/install.js";
import { createState, type RouterState } from "../../src/routing/state.js";
import type { RouterKey } from "../../src/snapshot/model.js";
import { address, makeInstance, makeKey, makePool, makeRequest, makeRows, ticketOf } from "./fixture.js";

const start = 1_790_000_000_000;

function makeState(more: Partial<RouterKey>): RouterState {
  const state = createState();
  const key = makeKey("k", { scopes: ["tools:invoke", "models:invoke"], ...more });
  installConfig(state, address(1), makeRows([makePool("chat", [makeInstance("i")])], [key]), start);
  return state;
}

/** How a call of a tool is answered: `admitted` or the refusal's code. */
function ask(state: RouterState, tool = "a/x", now = start, digest = "digest-k"): string {
  const answer = admitTool(state, { key_digest: digest, scope: "tools:invoke", tool }, now);
  return answer.kind === "refused" ? answer.code : answer.kind;
}

describe("admission of a tool", () => {
  it("asks of a key that it is known, live and has the scope", ({ expect }) => {
    expect(ask(createState())).toBe("not_configured");
    expect(ask(makeState({}))).toBe("admitted");
    expect(ask(makeState({}), "a/x", start, "digest-of-none")).toBe("key_unknown");
    expect(ask(makeState({ revoked: true }))).toBe("key_revoked");
    expect(ask(makeState({ expires_at_ms: start }))).toBe("key_expired");
    expect(ask(makeState({ scopes: ["models:invoke", "tools:read"] }))).toBe("scope_missing");
    const entombed = makeState({});
    entombed.tombstones.add("k");
    expect(ask(entombed)).toBe("key_revoked");
  });

  it("takes what the allow-list names, by itself or with all of its provider, and nothing that only begins so", ({
    expect,
  }) => {
    const allowed = (tools: readonly string[] | null, tool: string) =>
      ask(makeState({ tools: tools && [...tools] }), tool);
    const named = ["a/x", "b/*"];
    for (const tool of ["a/x", "b/x", "b/y"]) {
      expect([tool, allowed(named, tool)]).toEqual([tool, "admitted"]);
    }
    for (const tool of ["a/xx", "a/X", "aa/x", "a/", "bb/x", "b-/x", "*/x", "/x"]) {
      expect([tool, allowed(named, tool)]).toEqual([tool, "tool_not_allowed"]);
    }
    expect([allowed([], "a/x"), allowed(null, "a/x")]).toEqual(["tool_not_allowed", "admitted"]);
    // A row of the release before says nothing of tools.
    expect(ask(makeState({}), "any/thing")).toBe("admitted");
  });

  it("counts in the key's one window with calls of models, and says when to come back; a refusal takes nothing", ({
    expect,
  }) => {
    const state = makeState({ rpm: 3, tools: ["a/*"] });
    expect(ask(state, "b/x")).toBe("tool_not_allowed");
    expect(ask(state, "a/x", start)).toBe("admitted");
    ticketOf(admit(state, makeRequest(), start + 10_000));
    const last = admitTool(state, { key_digest: "digest-k", scope: "tools:invoke", tool: "a/x" }, start + 20_000);
    expect(last).toMatchObject({ kind: "admitted", key_id: "k", rate: { limit: 3, remaining: 0 } });
    const refused = admitTool(state, { key_digest: "digest-k", scope: "tools:invoke", tool: "a/x" }, start + 30_000);
    expect(refused).toMatchObject({ kind: "refused", code: "rate_limited", rate: { remaining: 0 } });
    const waitMs = refused.kind === "refused" ? (refused.retry_after_ms ?? 0) : 0;
    expect(waitMs).toBeGreaterThan(0);
    expect(ask(state, "a/x", start + 30_000 + waitMs - 1)).toBe("rate_limited");
    expect(ask(state, "a/x", start + 30_000 + waitMs)).toBe("admitted");
    expect(admit(state, makeRequest(), start + 30_000 + waitMs)).toMatchObject({ code: "rate_limited" });
  });
});
