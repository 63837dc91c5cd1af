/** Which web pages may read the answers: our own, and those of the origins that the operator names. The browser enforces it. */
import { readSettings } from "../base/settings.js";

/** The two doors. Only the control plane lets cookies along; the gateway knows nothing but API keys. */
export type Door = "control" | "gateway";

const methods = "GET, HEAD, POST, PUT, PATCH, DELETE";
const exposed = "content-disposition, etag, idempotency-replayed, location, mcp-session-id, retry-after, x-request-id";
const preflightSeconds = 600;

/** The answer to a browser's question whether a page may send its request; null for any other request. Nothing is done, nobody is asked who they are. */
export function answerPreflight(request: Request, env: Env, door: Door): Response | null {
  const { headers } = request;
  if (request.method !== "OPTIONS" || !headers.has("origin") || !headers.has("access-control-request-method")) {
    return null;
  }
  const response = new Response(null, { status: 204, headers: { "cache-control": "no-store" } });
  if (allowOrigin(request, response, env, door)) {
    // SDKs send headers of their own by the dozen; none of them decides here.
    const asked = headers.get("access-control-request-headers") ?? "";
    response.headers.set("access-control-allow-methods", methods);
    response.headers.set("access-control-max-age", String(preflightSeconds));
    if (/^[\w, -]{1,2000}$/.test(asked)) {
      response.headers.set("access-control-allow-headers", asked);
    }
  }
  response.headers.append("vary", "access-control-request-headers");
  return response;
}

/** Adds to an answer what lets an allowed page read it. */
export function shareAnswer(request: Request, response: Response, env: Env, door: Door): void {
  if (request.headers.has("origin") && allowOrigin(request, response, env, door)) {
    response.headers.set("access-control-expose-headers", door === "gateway" ? "*" : exposed);
  }
}

/** Whether an origin, as browsers write it, is ours or one that `ALLOWED_ORIGINS` names. */
function isAllowedOrigin(origin: string, env: Env): boolean {
  const reading = readSettings(env);
  return (
    "settings" in reading && (origin === reading.settings.publicUrl || reading.settings.allowedOrigins.includes(origin))
  );
}

function allowOrigin(request: Request, response: Response, env: Env, door: Door): boolean {
  const origin = request.headers.get("origin") ?? "";
  response.headers.append("vary", "origin");
  if (!isAllowedOrigin(origin, env)) {
    return false;
  }
  response.headers.set("access-control-allow-origin", origin);
  if (door === "control") {
    response.headers.set("access-control-allow-credentials", "true");
  }
  return true;
}
