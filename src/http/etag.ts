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

/** More tags than any client keeps of one thing. */
const mostRevisions = 10;

/**
 * The revisions one of which `If-Match` demands, oldest first, also of tags marked weak: the platform marks the tags of answers it compresses, and
 * a revision is the same in any encoding. Tags that this service never gave match nothing. Null when there is no demand (no header, or `*`).
 * Throws `precondition_failed` when no tag can match, and `invalid_header` for more than ten revisions.
 */
export function readIfMatch(request: Request): readonly number[] | null {
  const header = request.headers.get("if-match")?.trim();
  if (header === undefined || header === "*") {
    return null;
  }
  const tags: string[] = [];
  // A comma may stand in a tag, so a list is split when its tags are out of it.
  const rest = header.replaceAll(/(?:W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g, (_, tag: string) => {
    tags.push(tag);
    return "tag";
  });
  const isList = rest.split(",").every((part) => ["", "tag"].includes(part.trim()));
  const revisions = tags.flatMap((tag) => {
    const revision = /^"(\d{1,15})(?:\.[\w.-]{1,64})?"$/.exec(tag)?.[1];
    return revision === undefined ? [] : [Number(revision)];
  });
  if (!isList || revisions.length === 0) {
    throw new AppError("precondition_failed");
  }
  const distinct = [...new Set(revisions)].toSorted((one, other) => one - other);
  if (distinct.length > mostRevisions) {
    throw new AppError("invalid_header", { detail: `If-Match takes at most ${mostRevisions} ETags here.` });
  }
  return distinct;
}

/**
 * Does a change at the first of these revisions that holds, or at whichever is current for null. A row only moves on, so who tries the oldest first
 * passes none over that comes to hold meanwhile. `attempt` must change nothing when it throws `precondition_failed`.
 */
export async function atRevision<T>(
  revisions: readonly number[] | null,
  attempt: (ifMatch: number | null) => Promise<T>,
): Promise<T> {
  const [first = null, ...later] = revisions ?? [];
  try {
    return await attempt(first);
  } catch (error) {
    if (later.length === 0 || !(error instanceof AppError) || error.code !== "precondition_failed") {
      throw error;
    }
    return await atRevision(later, attempt);
  }
}

/** Whether the caller already has this ETag. */
export function hasCurrent(request: Request, etag: string): boolean {
  const tags = request.headers.get("if-none-match") ?? "";
  return tags.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag || tag.trim() === "*");
}
