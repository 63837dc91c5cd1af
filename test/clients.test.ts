/** The TypeScript client inside a Worker, by a Worker's own Request, Response and fetch. */
import { describe, it } from "vitest";
import { createClient, type GatehouseClient, GatehouseError, pages, unwrap } from "../clients/typescript/client.js";
import { origin, send } from "./support/client.js";
import { seedAccount, seedPool, seedWorkspace } from "./support/seed.js";

/** A client over a network that cuts off the first `cuts` answers in their middle. */
function connect(token: string, cuts = 0): { readonly client: GatehouseClient; readonly keys: (string | null)[] } {
  const keys: (string | null)[] = [];
  const client = createClient({
    baseUrl: origin,
    token,
    async fetch(request) {
      keys.push(request.headers.get("idempotency-key"));
      const response = await send(request);
      return keys.length > cuts ? response : cutOff(response);
    },
  });
  return { client, keys };
}

function cutOff(response: Response): Response {
  const body = new ReadableStream({
    async start(controller) {
      controller.enqueue((await response.bytes()).slice(0, 10));
      controller.error(new Error("The connection was lost."));
    },
  });
  return new Response(body, response);
}

describe("the TypeScript client in a Worker", () => {
  it("writes once though the answer is lost, reads, walks lists, and throws what is refused", async ({ expect }) => {
    const { token } = await seedAccount();
    const { client, keys } = connect(token, 1);
    const made = await unwrap(client.POST("/workspaces", { body: { name: "Worker's team" } }));
    expect(made).toMatchObject({ name: "Worker's team", role: "OWNER" });
    expect(keys).toHaveLength(2);
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(keys[1]).toBe(keys[0]);
    const params = { path: { ws: made.id } };
    const read = client.GET("/workspaces/{ws}", { params });
    expect(await unwrap(read)).toEqual(made);
    const etag = (await read).response.headers.get("etag") ?? "";
    const named = { params: { ...params, header: { "If-Match": etag } }, body: { name: "Named anew" } };
    expect(await unwrap(client.PATCH("/workspaces/{ws}", named))).toMatchObject({ name: "Named anew" });
    await expect(unwrap(client.PATCH("/workspaces/{ws}", named))).rejects.toMatchObject({ status: 412 });
    const actions = [];
    for await (const entry of pages(client, "/workspaces/{ws}/audit-log", {
      params: { ...params, query: { limit: 1 } },
    })) {
      actions.push(entry.action);
    }
    expect(actions.filter((action) => action === "workspace.created")).toHaveLength(1);
    const key = await unwrap(
      client.POST("/workspaces/{ws}/api-keys", { params, body: { name: "k", scopes: ["models:invoke"] } }),
    );
    const gone = client.DELETE("/workspaces/{ws}/api-keys/{id}", { params: { path: { ...params.path, id: key.id } } });
    expect((await gone).response.status).toBe(204);
    const stranger = connect("nobody's").client.GET("/workspaces");
    await expect(unwrap(stranger)).rejects.toThrow(GatehouseError);
  });

  it("calls a model, as JSON and as a stream, and ends with its caller's signal", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const secret = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
    const { client, keys } = connect(secret);
    const body = { model: "chat", messages: [{ role: "user" as const, content: "Say hello" }] };
    expect(await unwrap(client.POST("/v1/chat/completions", { body }))).toMatchObject({ object: "chat.completion" });
    const streamed = await client.POST("/v1/chat/completions", { body: { ...body, stream: true }, parseAs: "stream" });
    expect(await streamed.response.text()).toMatch(/^data: \{[\s\S]*data: \[DONE\]\n\n$/);
    expect(keys).toEqual([null, null]);
    const signal = AbortSignal.abort(new Error("Enough."));
    await expect(client.GET("/v1/models", { signal })).rejects.toThrow("Enough.");
  });
});
