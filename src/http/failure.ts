/** Failures in the control plane's own face: RFC 9457 problem documents. */
import { HTTPException } from "hono/http-exception";
import { errorTable } from "../base/error-table.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import { errorPagesPath } from "./error-pages.js";

/** Any thrown thing as an `AppError`; what is unknown becomes `internal` and is logged, never sent. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) {
    return error;
  }
  if (error instanceof HTTPException && error.status < 500) {
    return new AppError(error.status === 404 ? "not_found" : "malformed_json");
  }
  return new AppError("internal", { cause: error });
}

/** The problem document of a failure. `type` is the page that explains the code. */
export function problem(error: AppError, requestId: string): Response {
  const { status, title } = errorTable[error.code];
  const body = {
    type: `${errorPagesPath}/${error.code}`,
    title,
    status,
    detail: error.detail,
    code: error.code,
    request_id: requestId,
    ...(error.errors.length === 0 ? {} : { errors: error.errors }),
    ...error.extra,
  };
  const headers = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store" });
  if (error.retryAfterMs !== undefined) {
    headers.set("retry-after", String(Math.max(1, Math.ceil(error.retryAfterMs / 1000))));
  }
  if (status === 401) {
    headers.set("www-authenticate", 'Bearer realm="gatehouse"');
  }
  return new Response(JSON.stringify(body), { status, headers });
}

/** Logs a failure once: 5xx with its cause, others as a line of their code. */
export function logFailure(error: AppError, requestId: string): void {
  if (error.status >= 500) {
    log("error", "request_failed", {
      request_id: requestId,
      code: error.code,
      cause: describeError(error.cause ?? error),
    });
  }
}
