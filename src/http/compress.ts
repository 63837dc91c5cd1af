/** Larger answers go out as gzip to who accepts it. The runtime does the work; here stands which ones. */

/** Below this an answer fits a packet or two, and gzip would save next to nothing. */
const leastBytes = 1024;

/** Answers that are whole when they arrive here. */
const wholeTypes = /^(?:application\/(?:json|problem\+json)|text\/html)\s*(?:;|$)/i;
/** Answers that are still being read, and always long. Events are not among them: each must reach its reader at once. */
const streamedTypes = /^(?:application\/x-ndjson|text\/csv)\s*(?:;|$)/i;

/**
 * The answer as it goes out. What must not be transformed stays as it is: an answer that holds a secret says
 * `no-transform`, since the length of a compressed secret beside a text of somebody's choice tells of the secret (BREACH).
 */
export async function compressAnswer(request: Request, response: Response): Promise<Response> {
  const { headers } = response;
  const type = headers.get("content-type") ?? "";
  const isStreamed = streamedTypes.test(type);
  if (!isStreamed && !wholeTypes.test(type)) {
    return response;
  }
  headers.append("vary", "accept-encoding");
  const isBare = response.body === null || request.method === "HEAD" || headers.has("content-encoding");
  if (isBare || /\bno-transform\b/i.test(headers.get("cache-control") ?? "") || !acceptsGzip(request)) {
    return response;
  }
  if (isStreamed) {
    return encoded(response.body, response);
  }
  const bytes = await response.arrayBuffer();
  return bytes.byteLength > leastBytes ? encoded(bytes, response) : new Response(bytes, response);
}

/** The header alone: the runtime encodes a body that names its encoding. */
function encoded(body: BodyInit | null, response: Response): Response {
  const answer = new Response(body, response);
  answer.headers.set("content-encoding", "gzip");
  return answer;
}

/** The platform writes what it wants itself into the header, and keeps the client's own words beside it. */
function acceptsGzip(request: Request): boolean {
  const told: unknown = request.cf?.["clientAcceptEncoding"];
  const accepted = typeof told === "string" ? told : (request.headers.get("accept-encoding") ?? "");
  const words = accepted.split(",").map((word) =>
    word
      .trim()
      .toLowerCase()
      .split(/\s*;\s*q=\s*/),
  );
  const weight = (name: string): string | undefined => {
    const found = words.find(([word]) => word === name);
    return found === undefined ? undefined : (found[1] ?? "1");
  };
  return Number(weight("gzip") ?? weight("*") ?? "0") > 0;
}
