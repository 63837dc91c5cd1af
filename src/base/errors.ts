/** The one vocabulary of failure: `AppError` carries a code of the table, what the caller may read, and a cause that never leaves the service. */
import { errorTable } from "./error-table.js";

/** A stable error code, the key of `errorTable`. */
export type ErrorCode = keyof typeof errorTable;

/** One field at fault: a JSON pointer (RFC 6901) into the body, or into the part of the request that `in` names. */
export interface FieldError {
  readonly in?: "query" | "path" | "header";
  readonly pointer: string;
  readonly detail: string;
  readonly code?: string;
}

interface AppErrorOptions {
  /** Replaces the table's public sentence. Must not hold a secret. */
  readonly detail?: string;
  readonly errors?: readonly FieldError[];
  readonly retryAfterMs?: number;
  /** Public extra members of the problem document, such as the pools that use a credential. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** Logged by name and message only, never sent. */
  readonly cause?: unknown;
}

/** The only error that verbs throw on purpose. Its code decides the status; its cause never leaves the service. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly errors: readonly FieldError[];
  readonly retryAfterMs: number | undefined;
  readonly extra: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, options: AppErrorOptions = {}) {
    super(code, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "AppError";
    this.code = code;
    this.detail = options.detail ?? errorTable[code].detail;
    this.errors = options.errors ?? [];
    this.retryAfterMs = options.retryAfterMs;
    this.extra = options.extra ?? {};
  }

  get status(): number {
    return errorTable[this.code].status;
  }
}

/** A 422 that names one field. */
export function invalidField(pointer: string, detail: string, code?: string): AppError {
  const error: FieldError = code === undefined ? { pointer, detail } : { pointer, detail, code };
  return new AppError("validation_failed", { errors: [error] });
}

/** Whether a word read from outside (a guard, an RPC answer) is a code of the table. */
export function isErrorCode(word: string): word is ErrorCode {
  return Object.hasOwn(errorTable, word);
}
