/** ETags are the row's revision in quotes, with what else moves its answer behind a dot; `If-Match` holds a change to the revision its caller read. */
import { sha256Hex } from "../base/bytes.js";
import { AppError } from "../base/errors.js";

/** The ETag of a revision. `moving` is what the answer shows beside it, such as a status that time changes; `If-Match` looks past it. */
export function toEtag(revision: number, moving?: string): string {
  return moving === undefined ? `"${revision}"` : `"${revision}.${moving}"`;
}

/** The strong ETag of an answer that has no revision: a hash of its JSON. */
export async function contentEtag(body: unknown): Promise<string> {
  return `"${(await sha256Hex(JSON.stringify(body))).slice(0, 32)}"`;
}

/** The revision that `If-Match` demands, also of a tag marked weak: the platform marks the tags of answers it compresses, and a revision is the same in any encoding. It is null when there is no demand (no header, or `*`). Throws `precondition_failed` for a tag this service never gave. */
export function readIfMatch(request: Request): number | null {
  const header = request.headers.get("if-match")?.trim();
  if (header === undefined || header === "*") {
    return null;
  }
  const revision = /^(?:W\/)?"(\d{1,15})(?:\.[\w.-]{1,64})?"$/.exec(header)?.[1];
  if (revision === undefined) {
    throw new AppError("precondition_failed");
  }
  return Number(revision);
}

/** Whether the caller already has this ETag. */
export function hasCurrent(request: Request, etag: string): boolean {
  const tags = request.headers.get("if-none-match") ?? "";
  return tags.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag || tag.trim() === "*");
}
