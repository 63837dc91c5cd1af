/** When the sandbox calls a tool, and with which arguments. */
import type { SandboxPrompt, SandboxTool } from "./prompt.js";

const maxDepth = 8;

/**
 * The tool that the sandbox calls, or null for a text answer: the one that the request forces; else, when the last
 * message is the user's, the first one whose name stands in it as a word (`required` falls back to the first of all).
 */
export function chooseTool({ choice, messages, tools }: SandboxPrompt): SandboxTool | null {
  if (typeof choice === "object") {
    return tools.find((tool) => tool.name === choice.name) ?? null;
  }
  if (choice === "none") {
    return null;
  }
  const last = messages.at(-1);
  const text = last?.role === "user" ? last.text : "";
  return tools.find((tool) => mentions(text, tool.name)) ?? (choice === "required" ? (tools[0] ?? null) : null);
}

/** Arguments that fit a JSON Schema's types: required properties only, first choices, `"sandbox"` and 1. `$ref` is not followed. */
export function makeArguments(schema: unknown): string {
  return JSON.stringify(makeValue(isRecord(schema) ? { type: "object", ...schema } : { type: "object" }, 0));
}

function makeValue(schema: unknown, depth: number): unknown {
  if (!isRecord(schema) || depth > maxDepth) {
    return null;
  }
  const given = [schema["const"], schema["default"], first(schema["enum"])].find((value) => value !== undefined);
  if (given !== undefined) {
    return given;
  }
  const choice = first(schema["anyOf"]) ?? first(schema["oneOf"]);
  if (choice !== undefined) {
    return makeValue(choice, depth + 1);
  }
  const type = typeof schema["type"] === "string" ? schema["type"] : first(schema["type"]);
  switch (type) {
    case "object":
      return makeObject(schema, depth);
    case "array":
      return Array.from({ length: Math.min(numberOr(schema["minItems"], 0), 16) }, () =>
        makeValue(schema["items"], depth + 1),
      );
    case "integer":
    case "number":
      return numberOr(schema["minimum"], 1);
    case "boolean":
      return true;
    case "string":
      return "sandbox";
    default:
      return null;
  }
}

function makeObject(schema: Readonly<Record<string, unknown>>, depth: number): object {
  const properties = isRecord(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  const names = required.filter((name) => typeof name === "string");
  return Object.fromEntries(names.map((name) => [name, makeValue(properties[name], depth + 1)]));
}

function mentions(text: string, name: string): boolean {
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    if (!isWordCharacter(text.charAt(at - 1)) && !isWordCharacter(text.charAt(at + name.length))) {
      return true;
    }
  }
  return false;
}

function isWordCharacter(character: string): boolean {
  return /^[\w-]$/.test(character);
}

function first(value: unknown): unknown {
  return Array.isArray(value) ? (value as readonly unknown[])[0] : undefined;
}

function numberOr(value: unknown, fallback: number): number {
  return typeof value === "number" ? value : fallback;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
