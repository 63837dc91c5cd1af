/** The fake upstreams themselves: a fault switch that does nothing would make every fail-over test pass. */
import { afterAll, beforeAll, beforeEach, describe, inject, it } from "vitest";
import { startUpstreams, type Upstream } from "./aimock.ts";

const body = { model: "any", messages: [{ role: "user", content: "Hello" }] };
let upstreams: Upstream[] = [];

async function post(upstream: Upstream | undefined, extra: object = {}, signal?: AbortSignal): Promise<Response> {
  return await fetch(`${upstream?.baseUrl}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer any" },
    body: JSON.stringify({ ...body, ...extra }),
    ...(signal === undefined ? {} : { signal }),
  });
}

describe("a fake upstream", () => {
  beforeAll(async () => {
    upstreams = await startUpstreams(inject("upstreamPorts").slice(0, 2));
  });
  beforeEach(() => {
    for (const upstream of upstreams) {
      upstream.reset();
    }
  });
  afterAll(async () => {
    await Promise.all(upstreams.map((upstream) => upstream.stop()));
  });

  it("says which one answered, and counts the call", async ({ expect }) => {
    for (const [index, upstream] of upstreams.entries()) {
      expect(await (await post(upstream)).text()).toContain(`Answer of upstream ${index + 1}.`);
      expect(upstream.calls()).toBe(1);
    }
  });

  it("shows a status with its headers until it is switched back", async ({ expect }) => {
    upstreams[0]?.setFault({
      kind: "status",
      status: 429,
      code: "rate_limit_exceeded",
      headers: { "retry-after": "5" },
    });
    const refused = await post(upstreams[0]);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "5"]);
    expect(await refused.json()).toMatchObject({ error: { code: "rate_limit_exceeded" } });
    upstreams[0]?.setFault({ kind: "none" });
    expect((await post(upstreams[0])).status).toBe(200);
  });

  it("breaks a stream after exactly the events it was told", async ({ expect }) => {
    upstreams[0]?.mock.prependFixture({
      match: { endpoint: "chat" },
      response: { content: "x".repeat(200) },
      chunkSize: 2,
    });
    upstreams[0]?.setFault({ kind: "cut", afterEvents: 3 });
    const response = await post(upstreams[0], { stream: true });
    const decoder = new TextDecoder();
    let text = "";
    await expect(async () => {
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk);
      }
    }).rejects.toThrow();
    expect(text.split("data:").length - 1).toBe(3);
  });

  it("stalls without an answer, and notices when the caller leaves", async ({ expect }) => {
    upstreams[0]?.setFault({ kind: "stall" });
    await expect(post(upstreams[0], {}, AbortSignal.timeout(300))).rejects.toThrow();
    await expect.poll(() => upstreams[0]?.aborted()).toBe(1);
  });
});
