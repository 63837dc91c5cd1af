import { describe, it } from "vitest";
import { endpoints } from "../src/app.js";
import { call } from "./support/client.js";

describe("the contract", () => {
  it("is OpenAPI 3.1 and holds every declared endpoint with its errors", async ({ expect }) => {
    const { status, body } = await call("GET", "/openapi.json");
    expect([status, body.openapi]).toEqual([200, "3.1.0"]);
    for (const { spec } of endpoints) {
      const operation = body.paths[spec.path]?.[spec.method];
      expect(operation?.operationId).toBe(spec.operation);
      for (const code of spec.errors) {
        expect(JSON.stringify(operation.responses)).toContain(`\`${code}\``);
      }
      expect(operation.security).toEqual(spec.permission.kind === "public" ? [] : [{ bearer: [] }]);
    }
    const operations = Object.values(body.paths as object).flatMap((path) => Object.keys(path as object));
    expect(operations.length).toBe(endpoints.length);
  });
});
