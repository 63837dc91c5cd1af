/** What any caller sees of a running service before knowing anything about it. */
import { describe, inject, it } from "vitest";

const url = inject("serverUrl");

describe("a running service", () => {
  it("answers 200 on /healthz and /readyz", async ({ expect }) => {
    for (const path of ["/healthz", "/readyz"]) {
      const response = await fetch(`${url}${path}`);
      expect(response.status, path).toBe(200);
    }
  });

  it("answers an unknown address with a problem document that names the request", async ({ expect }) => {
    const response = await fetch(`${url}/no/such/address`);
    expect(response.status).toBe(404);
    expect(response.headers.get("content-type")).toMatch(/^application\/problem\+json/);
    const problem = (await response.json()) as Record<string, unknown>;
    expect(problem).toMatchObject({ status: 404, code: "not_found" });
    expect(problem["request_id"]).toBe(response.headers.get("x-request-id"));
  });
});
