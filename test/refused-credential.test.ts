import { describe, it, vi } from "vitest";
import { call } from "./support/client.js";
import { seedPool, seedWorkspace } from "./support/seed.js";

describe("a credential that its provider refuses", () => {
  it("costs the caller nothing, is confirmed in the background, and stays out until it is validated again", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, token } = workspace;
    const key = await seedPool(workspace, [
      { alias: "bad", secret: "sk-sandbox-401-x", weight: 1 },
      { alias: "good", secret: "sk-sandbox-ok-x", weight: 1 },
    ]);
    const body = { model: "chat", messages: [{ role: "user", content: "hi" }] };
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => call("POST", "/v1/chat/completions", { token: key, body })),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
    const credential = await vi.waitFor(
      async () => {
        const list = await call("GET", `/workspaces/${id}/model-providers/sandbox/credentials`, { token });
        const bad = list.body.data.find((row: { name: string }) => row.name === "bad");
        expect(bad.status).toBe("invalid");
        return bad;
      },
      { timeout: 10_000, interval: 100 },
    );
    expect([credential.is_valid, typeof credential.reason]).toEqual([false, "string"]);
    const state = await call("GET", `/workspaces/${id}/pools/chat/state`, { token });
    const bad = state.body.instances.find((row: { alias: string }) => row.alias === "bad");
    expect(bad.status).toBe("out");
    const later = await call("POST", "/v1/chat/completions", { token: key, body });
    expect([later.headers.get("x-gatehouse-instance"), later.headers.get("x-gatehouse-attempts")]).toEqual([
      "good",
      "1",
    ]);
  });
});
