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

/** Headers that every answer of the control plane carries; pages may only use what is ours. */
export function secureAnswer(response: Response, requestId: string): void {
  const { headers } = response;
  headers.set("x-request-id", requestId);
  headers.set("x-content-type-options", "nosniff");
  headers.set("referrer-policy", "no-referrer");
  if (headers.get("content-type")?.startsWith("text/html") === true && !headers.has("content-security-policy")) {
    headers.set(
      "content-security-policy",
      "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    );
  }
}
