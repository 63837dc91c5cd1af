/** Errors of one wire in the other's shape. Machine words and details stay, so that both shapes mean the same to who classes them. */
import { impliedStatus, readErrorWords } from "../../routing/classify.js";
import { asRecord, type Json, type JsonRecord } from "./json.js";

/** Anthropic's types by HTTP status; what is not listed is `api_error` from 500 on and `invalid_request_error` below. */
const anthropicTypes: Readonly<Record<number, string>> = {
  401: "authentication_error",
  402: "billing_error",
  403: "permission_error",
  404: "not_found_error",
  408: "timeout_error",
  413: "request_too_large",
  429: "rate_limit_error",
  503: "overloaded_error",
  504: "timeout_error",
  529: "overloaded_error",
};

/** Anthropic's error, in OpenAI's shape. */
export function toOpenAiError(value: Json): JsonRecord {
  const { inner, message, code } = readError(value);
  const type = asRecord(inner)?.["type"] ?? "server_error";
  return { error: { ...inner, message, type, param: inner["param"] ?? null, code } };
}

/** OpenAI's error, in Anthropic's shape. `status` is that of the answer; an error inside a 200 implies its own. */
export function toAnthropicError(value: Json, status: number): JsonRecord {
  const { inner, message, code, implied } = readError(value);
  const known = status >= 400 ? status : implied;
  const type = anthropicTypes[known] ?? (known >= 500 ? "api_error" : "invalid_request_error");
  return { type: "error", error: { ...inner, type, message, ...(code === null ? {} : { code }) } };
}

interface ReadError {
  readonly inner: JsonRecord;
  readonly message: string;
  readonly code: string | null;
  /** The HTTP status that the error's words stand for. */
  readonly implied: number;
}

function readError(value: Json): ReadError {
  const outer = asRecord(Array.isArray(value) ? value[0] : value) ?? {};
  const inner = asRecord(outer["error"]) ?? {};
  const words = readErrorWords(outer) ?? { code: null, message: "", words: [], status: null };
  const message = words.message === "" ? looseMessage(outer) : words.message;
  return { inner, message, code: words.code, implied: impliedStatus(words) };
}

/** What an error of no known shape says. */
function looseMessage(outer: JsonRecord): string {
  const found = [outer["detail"], outer["message"], outer["title"]].find((text) => typeof text === "string");
  return typeof found === "string" ? found : "The provider reported an error.";
}
