/** What an endpoint's handler answers: a value with its status, and the few headers a contract may add. */

export interface Reply {
  readonly status: 200 | 201 | 202 | 204;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;
  /** The workspace to publish, when it is not the path's own. */
  readonly publish?: string;
  /** The body as bytes still to come, in place of `body`. Only on GET: a stream can't be stored for a retry. */
  readonly stream?: ReadableStream<Uint8Array>;
}

interface ReplyOptions {
  readonly etag?: string;
  readonly location?: string;
  readonly publish?: string;
  /** The caller may keep the answer if it asks each time whether it still holds; needs an `etag`. */
  readonly revalidate?: boolean;
  /** A whole `Set-Cookie`. Only on endpoints whose answers are never stored. */
  readonly cookie?: string;
}

/** An answer with a body. */
export function reply(status: 200 | 201 | 202, body: unknown, options: ReplyOptions = {}): Reply {
  const headers: Record<string, string> = {};
  if (options.etag !== undefined) {
    headers["etag"] = options.etag;
  }
  if (options.revalidate === true) {
    headers["cache-control"] = "private, no-cache";
  }
  if (options.location !== undefined) {
    headers["location"] = options.location;
  }
  if (options.cookie !== undefined) {
    headers["set-cookie"] = options.cookie;
  }
  return { status, body, headers, ...(options.publish === undefined ? {} : { publish: options.publish }) };
}

/** An answer whose body is NDJSON that is still being read, for saving as a file. */
export function streamed(stream: ReadableStream<Uint8Array>, fileName: string): Reply {
  const headers = {
    "content-type": "application/x-ndjson; charset=utf-8",
    "content-disposition": `attachment; filename="${fileName}"`,
  };
  return { status: 200, body: null, headers, stream };
}

/** The answer without a body. */
export function noContent(options: Pick<ReplyOptions, "cookie"> = {}): Reply {
  const headers: Record<string, string> = options.cookie === undefined ? {} : { "set-cookie": options.cookie };
  return { status: 204, body: null, headers };
}

/** A reply on the wire. One that `holdsSecret` is compressed by nobody on its way. */
export function toResponse(
  answer: { readonly status: number; readonly headers: Reply["headers"] },
  text: string | null,
  holdsSecret: boolean,
): Response {
  const headers = new Headers(answer.headers);
  const caching = answer.headers["cache-control"] ?? "no-store";
  headers.set("cache-control", holdsSecret ? `${caching}, no-transform` : caching);
  if (text === null) {
    return new Response(null, { status: answer.status, headers });
  }
  headers.set("content-type", "application/json");
  return new Response(text, { status: answer.status, headers });
}
