/** GET /openapi.json: the document is built when the isolate is first asked for it, and kept as text. */
import { sha256Hex } from "../base/bytes.js";
import type { Endpoint } from "../http/endpoint.js";
import { hasCurrent } from "../http/etag.js";

interface Kept {
  readonly text: string;
  readonly etag: string;
}

// It changes with a release only.
const cacheControl = "public, max-age=300";

/** Answers with the contract of these endpoints, for the service that stands at `serverUrl`; 304 to who has it. */
export function contractServer(
  endpoints: readonly Endpoint[],
  version: string,
): (request: Request, serverUrl: string) => Promise<Response> {
  const kept = new Map<string, Kept>();
  return async (request, serverUrl) => {
    const { text, etag } = kept.get(serverUrl) ?? (await build(serverUrl));
    const headers = { etag, "cache-control": cacheControl };
    return hasCurrent(request, etag)
      ? new Response(null, { status: 304, headers })
      : new Response(text, { headers: { ...headers, "content-type": "application/json" } });
  };

  async function build(serverUrl: string): Promise<Kept> {
    // Loaded when it is asked for: no other request needs it.
    const { describeApi } = await import("./document.js");
    const text = JSON.stringify(describeApi(endpoints, version, serverUrl));
    const built = { text, etag: `"${(await sha256Hex(text)).slice(0, 32)}"` };
    kept.set(serverUrl, built);
    return built;
  }
}
