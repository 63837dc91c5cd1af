/** A tool's input against its schema: what is told of it, and what a check may cost. */
import { format } from "@cfworker/json-schema";
import { describe, it } from "vitest";
import { AppError } from "../../src/base/errors.js";
import { checkInput } from "../../src/tools/input.js";

/** What is told of an input; [] when it passes. */
function faultsOf(schema: Readonly<Record<string, unknown>>, input: Readonly<Record<string, unknown>>) {
  try {
    checkInput({ type: "object", ...schema }, input);
    return [];
  } catch (error) {
    return error instanceof AppError
      ? [error.code, ...error.errors.map(({ pointer, code }) => [pointer, code])]
      : [error];
  }
}

function nest(depth: number, innermost: object, wrap: (value: object) => object): object {
  let value = innermost;
  for (let level = 0; level < depth; level += 1) {
    value = wrap(value);
  }
  return value;
}

const tree = {
  properties: { root: { $ref: "#/$defs/node" } },
  $defs: {
    node: {
      type: "object",
      properties: {
        child: { anyOf: [{ $ref: "#/$defs/node" }, { $ref: "#/$defs/node" }] },
        value: { type: "number" },
      },
    },
  },
};
const branch = (value: object) => ({ child: value });

describe("an input", () => {
  it("is told what is wrong inside alternatives and lists, each fault once", ({ expect }) => {
    const schema = {
      properties: {
        ids: { type: "array", items: { type: "integer" } },
        who: { anyOf: [{ type: "string" }, { type: "object", required: ["id"] }] },
      },
    };
    expect(faultsOf(schema, { ids: [1, "2", 3], who: {} })).toEqual([
      "validation_failed",
      ["/input/ids/1", "type"],
      ["/input/who", "type"],
      ["/input/who/id", "required"],
    ]);
    expect(faultsOf(schema, { ids: [1], who: { id: 1 } })).toEqual([]);
  });

  it("of thousands of faults is told of twenty, at once", ({ expect }) => {
    const schema = { properties: { ids: { type: "array", items: { type: "integer" } } } };
    const startedAt = Date.now();
    for (const length of [20_000, 400_000]) {
      const [code, ...faults] = faultsOf(schema, { ids: Array.from({ length }, () => "x") });
      expect([code, faults[0], faults.length <= 20]).toEqual(["validation_failed", ["/input/ids/0", "type"], true]);
    }
    expect(Date.now() - startedAt).toBeLessThan(4_000);
  });

  it("that the schema would be applied to over and over is refused, and a shallow one is checked", ({ expect }) => {
    const startedAt = Date.now();
    for (const value of [1, "wrong"]) {
      const root = nest(30, { value }, branch);
      expect(faultsOf(tree, { root })).toEqual(["validation_failed", ["/input", "too_large"]]);
    }
    expect(faultsOf(tree, { root: nest(6, { value: 1 }, branch) })).toEqual([]);
    expect(faultsOf(tree, { root: nest(2, { value: "wrong" }, branch) })).toEqual([
      "validation_failed",
      ["/input/root/child/child/value", "type"],
    ]);
    expect(Date.now() - startedAt).toBeLessThan(4_000);
  });

  it("with many values for many alternatives or patterns is refused", ({ expect }) => {
    const anyOf = Array.from({ length: 5_000 }, (_, index) => ({ const: index }));
    const values = Array.from({ length: 20_000 }, () => 4_999);
    const wide = Object.fromEntries(values.map((_, index) => [`key${index}`, 1]));
    const patterns = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`^x${index}`, {}]));
    const startedAt = Date.now();
    const refused = ["validation_failed", ["/input", "too_large"]];
    expect(faultsOf({ properties: { a: { items: { anyOf } } } }, { a: values })).toEqual(refused);
    expect(faultsOf({ patternProperties: patterns }, wide)).toEqual(refused);
    expect(Date.now() - startedAt).toBeLessThan(4_000);
  });

  it("may be long, and is searched for repeated items where that is cheap", ({ expect }) => {
    const schema = { properties: { a: { type: "array", uniqueItems: true, items: { type: "number" } } } };
    const long = Array.from({ length: 150_000 }, (_, index) => index);
    expect(faultsOf(schema, { a: long })).toEqual([]);
    expect(faultsOf(schema, { a: [1, 2, 1] })).toEqual(["validation_failed", ["/input/a", "uniqueItems"]]);
  });

  it("is held to every format in time that its length bounds", ({ expect }) => {
    const startedAt = Date.now();
    for (const name of Object.keys(format)) {
      for (const part of ["a", "1", "a.", "a-", "1:", "%41", "{a}", "/", "-", ":"]) {
        for (const begin of ["", "a@", "http://", "http://a."]) {
          faultsOf({ properties: { a: { type: "string", format: name } } }, { a: `${begin}${part.repeat(1_000)}\0!` });
        }
      }
    }
    expect(Date.now() - startedAt).toBeLessThan(4_000);
    const schema = { properties: { a: { type: "string", format: "url" } } };
    expect(faultsOf(schema, { a: "https://example.com/a?b=c" })).toEqual([]);
    expect(faultsOf(schema, { a: "no url" })).toEqual(["validation_failed", ["/input/a", "format"]]);
  });

  it("that is nested too deeply is refused, whatever the schema says", ({ expect }) => {
    const refused = ["validation_failed", ["/input", "too_large"]];
    expect(faultsOf({}, { a: nest(100_000, {}, (value) => [value]) })).toEqual(refused);
    expect(faultsOf({}, { a: nest(62, {}, (value) => ({ a: value })) })).toEqual([]);
  });

  it("may not change how often a schema is counted", ({ expect }) => {
    const anchored = structuredClone(tree);
    Object.assign(anchored.$defs.node, { $recursiveAnchor: true });
    expect(faultsOf(anchored, { root: nest(30, { value: 1 }, branch) })).toEqual([
      "validation_failed",
      ["/input", "too_large"],
    ]);
  });
});
