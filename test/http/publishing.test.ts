import { describe, it, vi } from "vitest";
import { call } from "../support/client.js";
import { breakRouter } from "../support/router.js";
import { seedPool, seedWorkspace } from "../support/seed.js";

describe("a write that publishes", () => {
  it("says 503 until its change is in force, and a repeat never looks done before", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    const key = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
    const path = `/workspaces/${workspace.id}/pools/chat`;
    const headers = { "idempotency-key": "delete-1" };
    const body = { model: "chat", messages: [{ role: "user", content: "hi" }] };
    await breakRouter(workspace.id);
    for (const options of [{ token }, { token }, { token, headers }]) {
      const answer = await call("DELETE", path, options);
      expect([answer.status, answer.body.code, answer.headers.get("retry-after")]).toEqual([
        503,
        "publish_pending",
        "1",
      ]);
    }
    expect((await call("POST", "/v1/chat/completions", { token: key, body })).status).toBe(200);
    vi.restoreAllMocks();
    expect((await call("DELETE", path, { token, headers })).status).toBe(404);
    expect((await call("POST", "/v1/chat/completions", { token: key, body })).status).toBe(404);
  });

  it("keeps its answer, and replays it only once the change is in force", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
    const make = () =>
      call("POST", `/workspaces/${workspace.id}/api-keys`, {
        token,
        body: { name: "late", scopes: ["models:invoke"] },
        headers: { "idempotency-key": "make-1" },
      });
    await breakRouter(workspace.id);
    expect([(await make()).status, (await make()).status]).toEqual([503, 503]);
    vi.restoreAllMocks();
    const made = await make();
    expect([made.status, made.headers.get("idempotency-replayed")]).toEqual([201, "true"]);
    expect((await call("GET", "/v1/models", { token: made.body.secret })).status).toBe(200);
  });
});
