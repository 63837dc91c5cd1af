/** The edge parses: bytes to typed values, once, with an error for each field at fault. */
import type { z } from "@hono/zod-openapi";
import { AppError, type FieldError } from "../base/errors.js";
import { fromUtf8 } from "../base/bytes.js";

/** Reads a body of at most `maxBytes`, counted while read. Throws `body_too_large`. */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const declared = Number(request.headers.get("content-length") ?? "0");
  if (declared > maxBytes) {
    throw tooLarge(maxBytes);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (request.body !== null) {
    for await (const chunk of request.body) {
      size += chunk.byteLength;
      if (size > maxBytes) {
        throw tooLarge(maxBytes);
      }
      chunks.push(chunk);
    }
  }
  const body = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  return body;
}

/** JSON of a body. Throws `unsupported_media_type` or `malformed_json`. */
export function parseJson(bytes: Uint8Array, contentType: string | null): unknown {
  if (!/^application\/([a-z0-9.+-]+\+)?json\s*(;|$)/i.test(contentType ?? "")) {
    throw new AppError("unsupported_media_type");
  }
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch {
    throw new AppError("malformed_json");
  }
}

/** A value checked by its schema. Throws `validation_failed` with a pointer for each issue. */
export function check<T>(schema: z.ZodType<T>, value: unknown, part?: "query" | "path"): T {
  const result = schema.safeParse(value);
  if (result.success) {
    return result.data;
  }
  const errors = result.error.issues.flatMap((issue) => toFieldErrors(issue, part));
  throw new AppError("validation_failed", { errors });
}

/** RFC 6901 pointer of a path of keys. */
function toPointer(path: readonly PropertyKey[]): string {
  return path.map((key) => `/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function toFieldErrors(issue: z.core.$ZodIssue, part: "query" | "path" | undefined): FieldError[] {
  const where = part === undefined ? {} : { in: part };
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      ...where,
      pointer: toPointer([...issue.path, key]),
      detail: "This field is not known here.",
    }));
  }
  const isMissing = issue.code === "invalid_type" && issue.message.includes("received undefined");
  return [{ ...where, pointer: toPointer(issue.path), detail: isMissing ? "This field is required." : issue.message }];
}

function tooLarge(maxBytes: number): AppError {
  return new AppError("body_too_large", { detail: `The request body may have at most ${maxBytes} bytes here.` });
}
