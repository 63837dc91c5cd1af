/** Values that a schema takes, with good words where the schema says too little. */
import * as fc from "fast-check";
import type { Contract, Json, Operation, Schema } from "./document.ts";
import { wordFor } from "./words.ts";

const texts = ["a", "Some text", "naïve", "团队", "x".repeat(40), "0", "A-b_c.d"];
const days = ["2026-01-01T00:00:00Z", "2026-06-30T12:00:00.000Z", "2030-01-01T00:00:00+02:00"];

/**
 * A value that the schema takes, for the property or parameter of that name. `isSure`: with good words for all that has
 * one and nothing that may be left out, so that nothing but the caller's rights can be in the way.
 */
export function valid(
  contract: Contract,
  operation: Operation,
  schema: Schema,
  name: string,
  isSure = false,
): fc.Arbitrary<Json> {
  const word = name === "" ? null : wordFor(operation, name);
  const own = (): fc.Arbitrary<Json> => fromSchema(contract, operation, contract.resolve(schema), isSure);
  if (word === null) {
    return own();
  }
  return isSure ? word : fc.oneof({ weight: 5, arbitrary: word }, { weight: 1, arbitrary: own() });
}

function fromSchema(contract: Contract, operation: Operation, schema: Schema, isSure: boolean): fc.Arbitrary<Json> {
  if (schema.const !== undefined) {
    return fc.constant(schema.const);
  }
  if (schema.enum !== undefined) {
    return fc.constantFrom(...(isSure ? schema.enum.slice(0, 1) : schema.enum));
  }
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices !== undefined) {
    const { oneOf: _one, anyOf: _any, ...beside } = schema;
    const all = choices.map((choice) =>
      valid(contract, operation, { ...beside, ...contract.resolve(choice) }, "", isSure),
    );
    // The second form of a tool provider is the one that needs no network.
    return isSure ? (all[operation.id === "createToolProvider" ? 1 : 0] ?? fc.constant(null)) : fc.oneof(...all);
  }
  if (
    schema.type === undefined &&
    schema.properties === undefined &&
    schema.items === undefined &&
    schema.pattern === undefined
  ) {
    return isSure
      ? fc.constant("Hello")
      : fc.oneof(fc.constantFrom<Json>("Hello", ["a"]), fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>);
  }
  const types = [schema.type ?? guessType(schema)].flat();
  const all = types.map((type) => ofType(contract, operation, schema, type, isSure));
  return isSure ? (all[0] ?? fc.constant(null)) : fc.oneof(...all);
}

function guessType(schema: Schema): string {
  return schema.properties === undefined ? (schema.items === undefined ? "string" : "array") : "object";
}

function ofType(
  contract: Contract,
  operation: Operation,
  schema: Schema,
  type: string,
  isSure: boolean,
): fc.Arbitrary<Json> {
  switch (type) {
    case "object":
      return objectOf(contract, operation, schema, isSure);
    case "array": {
      const minLength = schema.minItems ?? 0;
      const maxLength = Math.min(schema.maxItems ?? 3, minLength + 2);
      const item = valid(contract, operation, schema.items ?? {}, "", isSure);
      return fc.array(item, isSure ? { minLength, maxLength: Math.max(minLength, 1) } : { minLength, maxLength });
    }
    case "integer":
      return fc.integer({ min: schema.minimum ?? -10, max: Math.min(schema.maximum ?? 1000, 2 ** 31 - 1) });
    case "number":
      return fc.double({ min: schema.minimum ?? 0, max: schema.maximum ?? 1000, noNaN: true });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    default:
      return textOf(schema);
  }
}

function objectOf(contract: Contract, operation: Operation, schema: Schema, isSure: boolean): fc.Arbitrary<Json> {
  const required = schema.required ?? [];
  const properties = Object.entries(schema.properties ?? {}).filter(
    ([name]) => !isSure || required.includes(name) || helps(operation, name),
  );
  const model = Object.fromEntries(
    properties.map(([name, one]) => [name, valid(contract, operation, one, name, isSure)]),
  );
  return fc.record(model, {
    requiredKeys: isSure ? Object.keys(model) : required.filter((name) => name in model),
    noNullPrototype: true,
  }) as fc.Arbitrary<Json>;
}

/** What the contract lets one leave out and a good request still needs. */
function helps(operation: Operation, name: string): boolean {
  const needs: Readonly<Record<string, string>> = {
    createToolProvider: "document",
    replaceToolProvider: "document",
    callMcp: "id",
  };
  return needs[operation.id] === name || (operation.id.startsWith("update") && name === "name");
}

function textOf(schema: Schema): fc.Arbitrary<Json> {
  if (schema.format === "date-time") {
    return fc.constantFrom(...days);
  }
  const { minLength = 0, maxLength = 200, pattern } = schema;
  const free = fc.oneof(fc.constantFrom(...texts), fc.string({ minLength, maxLength: Math.min(maxLength, 60) }));
  if (pattern === undefined) {
    return free.filter((text) => text.length >= minLength && text.length <= maxLength);
  }
  return matching(pattern).map((text) => text.slice(0, maxLength));
}

function matching(pattern: string): fc.Arbitrary<string> {
  try {
    return fc.stringMatching(new RegExp(pattern, "u"), { size: "small" });
  } catch {
    // Patterns with look-ahead or properties of characters are beyond the generator.
    const fitting = texts.filter((text) => new RegExp(pattern, "u").test(text));
    return fc.constantFrom(...(fitting.length === 0 ? texts : fitting));
  }
}
