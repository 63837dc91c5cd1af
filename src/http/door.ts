/** What every request meets at the door, whichever face answers it: settings, the Host check, and the headers of every answer. */
import { AppError } from "../base/errors.js";
import { isLoopback, readSettings, requireSettings } from "../base/settings.js";

/** Throws `not_ready` without settings, and `misdirected_request` for a Host that is not ours: any other could be a web page's name rebound to this machine. */
export function checkDoor(env: Env, request: Request): void {
  const reading = readSettings(env);
  if ("settings" in reading && request.url.startsWith(`${reading.settings.publicUrl}/`)) {
    return;
  }
  const { pathname, host, hostname } = new URL(request.url);
  // Without settings these two still say what is wrong.
  if ((pathname === "/healthz" || pathname === "/readyz") && "problems" in reading) {
    return;
  }
  const settings = requireSettings(env);
  if (host !== new URL(settings.publicUrl).host && !(settings.isLocal && isLoopback(hostname))) {
    throw new AppError("misdirected_request");
  }
}

const hstsSeconds = 365 * 86_400;

/** Headers that every answer carries; pages may only use what is ours, and what is no page may use nothing. */
export function secureAnswer(response: Response, requestId: string, env: Env): void {
  const { headers } = response;
  const reading = readSettings(env);
  if ("settings" in reading && reading.settings.publicUrl.startsWith("https:")) {
    headers.set("strict-transport-security", `max-age=${hstsSeconds}`);
  }
  headers.set("x-request-id", requestId);
  headers.set("x-content-type-options", "nosniff");
  headers.set("referrer-policy", "no-referrer");
  headers.set("cross-origin-resource-policy", "same-site");
  const isPage = headers.get("content-type")?.startsWith("text/html") === true;
  if (isPage) {
    headers.set("cross-origin-opener-policy", "same-origin");
    headers.set("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()");
    headers.set("x-frame-options", "DENY");
  }
  if (!headers.has("content-security-policy")) {
    headers.set("content-security-policy", isPage ? pagePolicy : otherPolicy);
  }
}

const pagePolicy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const otherPolicy = "default-src 'none'; frame-ancestors 'none'";
