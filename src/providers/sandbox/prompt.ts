/** What a request for text comes down to, whatever wire it came on, and how the wires read their bodies. */
import type { ZodType } from "zod";
import type { SandboxMistake } from "./errors.js";

/** What an image, a sound or a file costs in the sandbox's tokens, whatever its size. */
export const tokensPerPart = 85;

/** One message. */
export interface SandboxMessage {
  /** `system`, `user`, `assistant`, or `tool` for a tool's result. */
  readonly role: string;
  readonly text: string;
  /** Names and arguments of the calls that an earlier answer made, a line each. */
  readonly calls: string;
  /** What parts that are no text cost. */
  readonly extraTokens: number;
}

/** A tool that may be called. */
export interface SandboxTool {
  readonly name: string;
  /** JSON Schema. */
  readonly parameters: unknown;
}

/** A request for text. */
export interface SandboxPrompt {
  readonly messages: readonly SandboxMessage[];
  readonly tools: readonly SandboxTool[];
  /** The tools as they were sent; empty without any. */
  readonly toolsJson: string;
  readonly choice: "none" | "auto" | "required" | { readonly name: string };
  /** Most tokens of the answer. */
  readonly limit: number | null;
}

/** A prompt, and how its answer is wanted. */
export interface SandboxAsk {
  readonly model: string;
  readonly prompt: SandboxPrompt;
  readonly stream: boolean;
  /** The stream is to tell its usage, on wires where that is a choice. */
  readonly hasUsage: boolean;
}

/** What was read, or what is wrong with it. */
export type Parsed<T> = { readonly value: T } | { readonly mistake: SandboxMistake };

/** Reads a body by its schema. */
export function parseBody<T>(schema: ZodType<T>, body: string): Parsed<T> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return mistake("The body is not valid JSON.", null);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    return { value: parsed.data };
  }
  const issue = parsed.error.issues[0];
  const param = issue?.path.join(".") ?? "";
  return mistake(`Invalid value for '${param}': ${issue?.message ?? "not understood"}.`, param === "" ? null : param);
}

/** The tools of a request as one text, for counting. */
export function toolsToJson(tools: readonly unknown[] | null | undefined): string {
  return tools === null || tools === undefined || tools.length === 0 ? "" : JSON.stringify(tools);
}

function mistake(message: string, param: string | null): { readonly mistake: SandboxMistake } {
  return { mistake: { status: 400, message, param, code: null } };
}
