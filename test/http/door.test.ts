import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { call, send } from "../support/client.js";
import { seedAccount, seedWorkspace } from "../support/seed.js";

describe("the door", () => {
  it("answers health without anything else, and readiness part by part", async ({ expect }) => {
    expect((await call("GET", "/healthz")).status).toBe(200);
    const ready = await call("GET", "/readyz");
    expect(ready.status).toBe(200);
    expect(ready.body.parts.map((part: { name: string }) => part.name).toSorted()).toEqual([
      "d1",
      "keyring",
      "kv",
      "queue",
      "router",
    ]);
  });

  it("is not ready while a queue is not bound", async ({ expect }) => {
    for (const lacking of [{ MAIL: undefined }, { WEBHOOKS: undefined }]) {
      const poor = { ...env, ...lacking } as unknown as Env;
      const ready = await send(new Request("http://127.0.0.1:8787/readyz"), { env: poor });
      expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('"name":"queue","ok":false')]);
    }
  });

  it("refuses to work without a keyring, with a sentence that says how to make one", async ({ expect }) => {
    const poor = { ...env, KEYRING: "" } as unknown as Env;
    const refused = await send(new Request("http://127.0.0.1:8787/workspaces"), { env: poor });
    const problem = await refused.json<{ code: string; detail: string }>();
    expect([refused.status, problem.code]).toEqual([503, "not_ready"]);
    expect(problem.detail).toContain("KEYRING");
    expect(problem.detail).toContain("node -e");
    expect((await send(new Request("http://127.0.0.1:8787/healthz"), { env: poor })).status).toBe(200);
    const ready = await send(new Request("http://127.0.0.1:8787/readyz"), { env: poor });
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('"name":"keyring","ok":false')]);
  });

  it("refuses a foreign Host, so that no rebound name reads anything", async ({ expect }) => {
    for (const path of ["/workspaces", "/healthz", "/readyz", "/dev/outbox", "/v1/models", "/setup"]) {
      const refused = await send(new Request(`http://evil.example${path}`));
      expect([path, refused.status]).toEqual([path, 421]);
      expect(refused.headers.get("x-request-id")).toMatch(/^req_/);
    }
    expect((await send(new Request("http://localhost:9999/healthz"))).status).toBe(200);
  });

  it("every answer carries a request id, which problems repeat", async ({ expect }) => {
    const answer = await call("GET", "/nowhere");
    expect([answer.status, answer.body.code]).toEqual([404, "not_found"]);
    expect(answer.body.request_id).toBe(answer.headers.get("x-request-id"));
    expect(answer.body.request_id).toMatch(/^req_[0-9a-z]{26}$/);
  });

  it("a known address with another method is 405 with Allow", async ({ expect }) => {
    const { token } = await seedAccount();
    const refused = await call("DELETE", "/workspaces", { token });
    expect([refused.status, refused.headers.get("allow")]).toEqual([405, "POST, GET"]);
  });

  it("tells malformed JSON, wrong types and oversized bodies apart", async ({ expect }) => {
    const { token } = await seedWorkspace();
    const post = (body: string, type = "application/json") =>
      call("POST", "/workspaces", { token, body, headers: { "content-type": type } });
    expect((await post("{")).body.code).toBe("malformed_json");
    expect((await post("name=x", "application/x-www-form-urlencoded")).body.code).toBe("unsupported_media_type");
    const large = await post(JSON.stringify({ name: "x".repeat(300 * 1024) }));
    expect([large.status, large.body.code]).toEqual([413, "body_too_large"]);
  });

  it("a tampered, cut or invented session token is 401", async ({ expect }) => {
    const { token } = await seedAccount();
    const [value = "", signature = ""] = token.split(".");
    for (const bad of [
      value,
      `${value}.`,
      `${value}.${signature.slice(0, -2)}A=`,
      `x${value.slice(1)}.${signature}`,
      "ghk_x",
      "nonsense",
    ]) {
      const refused = await call("GET", "/workspaces", { token: bad });
      expect([bad, refused.status]).toEqual([bad, 401]);
    }
  });
});
