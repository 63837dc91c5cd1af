/** A tool's input against its schema, by a validator that makes no code at run time, which the platform would refuse. */
import { format, Validator, type OutputUnit, type Schema } from "@cfworker/json-schema";
import { AppError, invalidField, type FieldError } from "../base/errors.js";
import { describeError } from "../base/log.js";
import type { JsonSchema } from "./contract.js";

// The library's own pattern for `url`, which is no format of JSON Schema, takes exponential time on texts made for it.
format["url"] = (text: string) => URL.canParse(text);

const mostErrors = 20;
const longestDetail = 500;
/** Levels of objects and lists that an input may have. */
const maxDepth = 64;
/** Steps that a check may take: a schema that refers to itself can ask for 2^depth of them. */
const maxSteps = 500_000;
/** Steps for finding all faults and not only the first: each may make an error. */
const maxFullSteps = 50_000;
/** Lists beyond this are not searched for repeated items, which takes the validator a step for each pair. */
const maxUnique = 1_000;

/** Throws `validation_failed` with pointers below `/input` for what the schema refuses or would take too long to check, and `tool_failed` for a schema that cannot be applied. */
export function checkInput(schema: JsonSchema, input: Readonly<Record<string, unknown>>): void {
  const shape = measure(input);
  const first = validate(schema, input, { shape, steps: maxSteps, stopsAtFirst: true });
  if (first === null) {
    throw tooMuch("It would take too long to check against the tool's schema. Send less, or nest it less.");
  }
  if (first.length > 0) {
    const all = validate(schema, input, { shape, steps: maxFullSteps, stopsAtFirst: false }) ?? first;
    throw new AppError("validation_failed", { errors: toFieldErrors(all) });
  }
}

function tooMuch(detail: string): AppError {
  return invalidField("/input", detail, "too_large");
}

/** How far a value goes: the longest list and the object with the most members in it. */
interface Shape {
  readonly longest: number;
  readonly widest: number;
}

/** Walks without recursion. Throws `validation_failed` for a value that is nested too deeply. */
function measure(input: object): Shape {
  const open: { readonly value: object; readonly depth: number }[] = [{ value: input, depth: 1 }];
  let longest = 0;
  let widest = 0;
  for (let step = open.pop(); step !== undefined; step = open.pop()) {
    const { value, depth } = step;
    if (depth > maxDepth) {
      throw tooMuch(`It is nested deeper than ${maxDepth} levels.`);
    }
    const members: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
    longest = Array.isArray(value) ? Math.max(longest, members.length) : longest;
    widest = Array.isArray(value) ? widest : Math.max(widest, members.length);
    for (const member of members) {
      if (isObject(member)) {
        open.push({ value: member, depth: depth + 1 });
      }
    }
  }
  return { longest, widest };
}

interface Bounds {
  readonly shape: Shape;
  readonly steps: number;
  readonly stopsAtFirst: boolean;
}

/** What the schema refuses, or null when the steps do not suffice. Throws `tool_failed`. */
function validate(schema: JsonSchema, input: unknown, bounds: Bounds): readonly OutputUnit[] | null {
  const meter = { left: bounds.steps };
  try {
    const metered = meterSchema(schema, bounds.shape, meter);
    return new Validator(metered, draftOf(schema), bounds.stopsAtFirst).validate(input).errors;
  } catch (error) {
    // A stack that overflows is a check that goes too deep.
    if (meter.left < 0 || error instanceof RangeError) {
      return null;
    }
    const reason = "The tool's input schema cannot be applied. Ask its provider for a sound one.";
    throw new AppError("tool_failed", {
      detail: reason,
      extra: { upstream_status: null, reason },
      cause: new Error(describeError(error)),
    });
  }
}

/** A member that the validator reads of every schema each time it applies it, and that no schema here needs. */
const readEachTime = "$recursiveAnchor";

/** A copy whose schemas take their cost from the meter each time they are applied, and end the check when it is empty. */
function meterSchema(schema: JsonSchema, shape: Shape, meter: { left: number }): Schema {
  return JSON.parse(JSON.stringify(schema), (name, value: unknown) => {
    if (name === "uniqueItems" && value === true && shape.longest > maxUnique) {
      return false;
    }
    if (isObject(value) && !Array.isArray(value)) {
      const cost = costOf(value, shape);
      const get = (): undefined => {
        meter.left -= cost;
        if (meter.left < 0) {
          throw new Error("out of steps");
        }
      };
      Object.defineProperty(value, readEachTime, { get, enumerable: false });
    }
    return value;
  });
}

/** What applying a schema costs without the schemas in it: it looks at each member of its keywords. */
function costOf(schema: object, shape: Shape): number {
  const sizes = Object.values(schema).map((member: unknown) => (isObject(member) ? Object.keys(member).length : 0));
  const patterns: unknown = Reflect.get(schema, "patternProperties");
  const byPattern = isObject(patterns) ? Object.keys(patterns).length * shape.widest : 0;
  return sizes.reduce((sum, size) => sum + size, 1 + byPattern);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Keywords that only say that something inside them failed. */
const wholes = new Set(["additionalProperties", "unevaluatedProperties", "additionalItems", "unevaluatedItems"]);

/** Those units that say what failed, and not only that something in them did; each once. */
function toFieldErrors(units: readonly OutputUnit[]): readonly FieldError[] {
  const outer = new Set<string>();
  for (const location of new Set(units.map((unit) => unit.keywordLocation))) {
    for (let at = location.lastIndexOf("/"); at > 0; at = location.lastIndexOf("/", at - 1)) {
      outer.add(location.slice(0, at));
    }
  }
  const leaves = units.filter((unit) => !wholes.has(unit.keyword) && !outer.has(unit.keywordLocation));
  const told = new Map<string, FieldError>();
  for (const error of leaves.map(toFieldError)) {
    told.set(JSON.stringify(error), error);
  }
  return [...told.values()].slice(0, mostErrors);
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
    : { pointer: at, detail: error.slice(0, longestDetail), code: keyword };
}
