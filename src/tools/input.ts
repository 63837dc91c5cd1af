/** A tool's input against its schema, by a validator that makes no code at run time, which the platform would refuse. */
import { Validator, type OutputUnit } from "@cfworker/json-schema";
import { AppError, type FieldError } from "../base/errors.js";
import { describeError } from "../base/log.js";
import type { JsonSchema } from "./contract.js";

const mostErrors = 20;

/** Throws `validation_failed` with pointers below `/input` for what the schema refuses, and `tool_failed` for a schema that cannot be applied. */
export function checkInput(schema: JsonSchema, input: Readonly<Record<string, unknown>>): void {
  const errors = findErrors(schema, input);
  if (errors.length > 0) {
    throw new AppError("validation_failed", { errors: errors.slice(0, mostErrors) });
  }
}

function findErrors(schema: JsonSchema, input: unknown): readonly FieldError[] {
  let units: readonly OutputUnit[];
  try {
    units = new Validator({ ...schema }, draftOf(schema), false).validate(input).errors;
  } catch (error) {
    const reason = "The tool's input schema cannot be applied. Ask its provider for a sound one.";
    throw new AppError("tool_failed", {
      detail: reason,
      extra: { upstream_status: null, reason },
      cause: new Error(describeError(error)),
    });
  }
  const told = units.filter((unit) => isLeaf(unit, units)).map(toFieldError);
  return told.filter((error, at) => told.findIndex((one) => JSON.stringify(one) === JSON.stringify(error)) === at);
}

/** Keywords that only say that something inside them failed. */
const wholes = new Set(["additionalProperties", "unevaluatedProperties", "additionalItems", "unevaluatedItems"]);

/** Whether a unit says what failed, and not only that something in it did. */
function isLeaf(unit: OutputUnit, units: readonly OutputUnit[]): boolean {
  const inside = `${unit.keywordLocation}/`;
  return !wholes.has(unit.keyword) && !units.some((other) => other.keywordLocation.startsWith(inside));
}

/** Documents give 2020-12; an MCP server may name an older one. */
function draftOf(schema: JsonSchema): "7" | "2019-09" | "2020-12" {
  const named = typeof schema["$schema"] === "string" ? schema["$schema"] : "";
  return named.includes("draft-07") ? "7" : named.includes("2019-09") ? "2019-09" : "2020-12";
}

/** The validator's locations are URI fragments (`#/a/b`). */
function toFieldError({ keyword, instanceLocation, error }: OutputUnit): FieldError {
  const at = `/input${decodeURI(instanceLocation.slice(1))}`;
  const missing = keyword === "required" ? /required property "(.*)"/.exec(error)?.[1] : undefined;
  if (missing !== undefined) {
    const name = missing.replaceAll("~", "~0").replaceAll("/", "~1");
    return { pointer: `${at}/${name}`, detail: "This field is required.", code: "required" };
  }
  return keyword === "false"
    ? { pointer: at, detail: "The tool has no such field.", code: "unknown_field" }
    : { pointer: at, detail: error, code: keyword };
}
