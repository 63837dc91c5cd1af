/** An OpenAPI document becomes tools: what is wrong with it is said with its place in it, and nothing that it names is ever fetched. */
import { AppError } from "../../base/errors.js";
import type { ToolDocument } from "../contract.js";

/** Where a document stands, and where its calls are to go. */
export interface DocumentOptions {
  /** Replaces the document's own servers; null to use the first of them. */
  readonly baseUrl: string | null;
  /** Where the document came from, against which relative server addresses are read; null when it was given as text. */
  readonly documentUrl: string | null;
}

/**
 * Reads OpenAPI 3.0, 3.1 or Swagger 2.0, JSON or YAML. Throws `AppError` `validation_failed` whose errors have the pointer
 * `/document` and name the place in the document in their detail, and `body_too_large` over 5 MB or too many parts.
 */
export async function readDocument(text: string, options: DocumentOptions): Promise<ToolDocument> {
  await Promise.resolve();
  throw new AppError("validation_failed", { detail: `${text.length} ${String(options.baseUrl)}` });
}
