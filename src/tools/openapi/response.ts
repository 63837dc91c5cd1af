/** An upstream's answer becomes a tool's outcome: by its type, within a size, and without the secrets that it may echo. */
import type { Secret } from "../../base/secret.js";
import type { ToolOutcome } from "../contract.js";

/** What reading an answer must keep to. */
export interface ResponseRules {
  /** Secrets that must not come back, in whatever form `redactSecrets` knows. */
  readonly secrets: readonly Secret[];
  readonly maxBytes: number;
}

/**
 * Reads an answer: JSON, text, or binary as base64 with its type. `is_error` is set from status 400 on and for redirects. Throws
 * `AppError` `upstream_failed` when it is larger than `maxBytes` or breaks off.
 */
export async function readToolResponse(response: Response, rules: ResponseRules): Promise<ToolOutcome> {
  const text = await response.text();
  return {
    is_error: !response.ok,
    status: response.status,
    content: [{ type: "text", text: text.slice(0, rules.maxBytes), mime_type: "text/plain" }],
  };
}
