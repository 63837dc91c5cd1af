/** The parts of the MCP room that need no server: names, schemas, results. */
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { AppError } from "../../src/base/errors.js";
import { checkInput } from "../../src/tools/input.js";
import { toDefinitions } from "../../src/tools/mcp/definitions.js";
import { exportedName, hashedPrefix, readPlainName } from "../../src/tools/mcp/names.js";
import { toErrorResult, toResult } from "../../src/tools/mcp/result.js";
import { tameSchema } from "../../src/tools/mcp/schemas.js";
import { deep, seed } from "../support/deep.js";

const runs = { numRuns: deep(300, 20_000), seed: seed() };
/** Made of what could be confused: seams, hex and lengths around the limits. */
const name = fc
  .array(fc.constantFrom("_", "__", "a", "b", "0123456789ab", "c".repeat(40), "-"), { minLength: 1, maxLength: 6 })
  .map((parts) => parts.join("").slice(0, 64));
const place = fc.record({ provider: name.map((text) => `a${text}`.slice(0, 64)), name });

/** A server's own names, with ours. */
function toPairs(list: Awaited<ReturnType<typeof toDefinitions>>): ReadonlyMap<string, string> {
  return new Map(list.map((tool) => [tool.call.kind === "mcp" ? tool.call.tool : "", tool.name]));
}

describe("the name of a tool for agents", () => {
  it("fits everywhere, is the same each time, and leads back to its tool", async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(place, async (tool) => {
        const exported = await exportedName(tool);
        expect(exported).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
        expect(await exportedName({ ...tool })).toBe(exported);
        const prefix = hashedPrefix(exported);
        if (prefix === null) {
          expect(readPlainName(exported)).toEqual(tool);
        } else {
          expect(readPlainName(exported)).toBeNull();
          expect(`${tool.provider}__${tool.name}`.startsWith(prefix)).toBe(true);
        }
      }),
      runs,
    );
  });

  it("is no other tool's", async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(place, place, async (one, two) => {
        const isSame = one.provider === two.provider && one.name === two.name;
        expect((await exportedName(one)) === (await exportedName(two))).toBe(isSame);
      }),
      runs,
    );
    // One text, cut at three places.
    const cuts = [
      { provider: "a", name: "b__c" },
      { provider: "a__b", name: "c" },
      { provider: "a__b_", name: "_c" },
    ];
    expect(new Set(await Promise.all(cuts.map(exportedName))).size).toBe(3);
    expect(await exportedName({ provider: "github", name: "create-issue" })).toBe("github__create-issue");
  });

  it("does not depend on the order of a server's list", async ({ expect }) => {
    const tools = ["a.b", "a b", "a_b", "x", "y".repeat(80), `${"y".repeat(79)}z`].map((text) => ({
      name: text,
      inputSchema: { type: "object" as const },
    }));
    const forth = toPairs(await toDefinitions(tools, []));
    const back = toPairs(await toDefinitions(tools.toReversed(), []));
    expect(new Set(forth.values()).size).toBe(6);
    expect([forth.get("a_b"), forth.get("x")]).toEqual(["a_b", "x"]);
    for (const [own, ours] of forth) {
      expect(ours).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
      expect(back.get(own)).toBe(ours);
    }
    expect(await toDefinitions([...tools, ...tools], [])).toHaveLength(6);
  });
});

describe("a server's input schema", () => {
  const object = { type: "object" };

  it("stays as it is when nothing in it can hurt", ({ expect }) => {
    const schema = {
      type: "object",
      properties: {
        pattern: { type: "string", pattern: "^[a-z]+$" },
        $ref: { $ref: "#/$defs/tree" },
        at: { type: "string", format: "date" },
      },
      patternProperties: { "^x-": { type: "number" } },
      required: ["pattern"],
      $defs: {
        tree: { type: "object", properties: { left: { $ref: "#/$defs/tree" }, right: { $ref: "#/$defs/tree" } } },
      },
    };
    expect(tameSchema(schema)).toEqual(schema);
  });

  it("loses what is slow or foreign", ({ expect }) => {
    const schema = {
      type: "object",
      properties: {
        slow: { type: "string", pattern: "^(a+)+$" },
        far: { $ref: "https://10.0.0.1/schema.json", description: "kept" },
        moved: { $id: "https://elsewhere.example/", type: "string" },
      },
      patternProperties: { "(a*)*b": { type: "number" }, "^ok$": { type: "number" } },
    };
    expect(tameSchema(schema)).toEqual({
      type: "object",
      properties: { slow: { type: "string" }, far: { description: "kept" }, moved: { type: "string" } },
      patternProperties: { "^ok$": { type: "number" } },
    });
  });

  it("gives way to any object when it is long, deep or grows when it is followed", ({ expect }) => {
    const bomb = { type: "object", allOf: [{ $ref: "#/$defs/d0" }], $defs: {} as Record<string, unknown> };
    for (let n = 0; n < 40; n += 1) {
      bomb.$defs[`d${n}`] = { allOf: [{ $ref: `#/$defs/d${n + 1}` }, { $ref: `#/$defs/d${n + 1}` }] };
    }
    let nested: unknown = true;
    for (let n = 0; n < 100; n += 1) {
      nested = { not: nested };
    }
    const startedAt = Date.now();
    expect(tameSchema(bomb)).toEqual(object);
    expect(tameSchema({ type: "object", not: nested })).toEqual(object);
    expect(tameSchema({ type: "object", description: "x".repeat(300_000) })).toEqual(object);
    expect(tameSchema({ type: "string" })).toEqual(object);
    expect(tameSchema(null)).toEqual(object);
    expect(Date.now() - startedAt).toBeLessThan(2_000);
  });

  it("ends in a verdict or an error that says so, whatever was in it", ({ expect }) => {
    const words = fc.constantFrom("pattern", "$ref", "$id", "properties", "allOf", "patternProperties", "$defs", "not");
    const values = fc.oneof(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom("#", "#/$defs/a", "#/%", "(", "^(a+)+$"));
    fc.assert(
      fc.property(fc.dictionary(words, values), (schema) => {
        const tame = tameSchema(schema);
        expect(tame["type"]).toBe("object");
        expect(tame["pattern"]).not.toBe("^(a+)+$");
        try {
          checkInput(tame, { a: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!" });
        } catch (error) {
          expect(error).toBeInstanceOf(AppError);
        }
      }),
      runs,
    );
    expect(() => checkInput(tameSchema({ type: "object", required: ["a"] }), {})).toThrow(AppError);
  });
});

describe("an outcome as agents hear it", () => {
  it("keeps each kind of content", ({ expect }) => {
    const result = toResult({
      is_error: false,
      status: 200,
      content: [
        { type: "json", value: { a: 1 } },
        { type: "text", text: "t", mime_type: "text/html" },
        { type: "binary", base64: "AA==", mime_type: "image/png" },
        { type: "binary", base64: "AA==", mime_type: "audio/mpeg" },
        { type: "binary", base64: "AA==", mime_type: "application/pdf" },
      ],
    });
    expect(result).toEqual({
      isError: false,
      structuredContent: { a: 1 },
      content: [
        { type: "text", text: '{"a":1}' },
        { type: "text", text: "t" },
        { type: "image", data: "AA==", mimeType: "image/png" },
        { type: "audio", data: "AA==", mimeType: "audio/mpeg" },
        { type: "resource", resource: { uri: "gatehouse:result/4", mimeType: "application/pdf", blob: "AA==" } },
      ],
    });
    const list = toResult({ is_error: false, status: 200, content: [{ type: "json", value: [1] }] });
    expect(list).toEqual({ isError: false, content: [{ type: "text", text: "[1]" }] });
  });

  it("says what to do about a refusal", ({ expect }) => {
    const extra = { upstream_status: 418, reason: "teapot" };
    const error = new AppError("tool_failed", { detail: "It failed.", extra, retryAfterMs: 1_200 });
    expect(toErrorResult(error)).toEqual({
      isError: true,
      content: [{ type: "text", text: "It failed.\nStatus: 418\nReason: teapot\nRetry after 2 seconds." }],
    });
  });
});
