/** The session as a browser's cookie: better-auth's own name and form, so that its callbacks and ours set the same one. A write that it bears must come from our own pages. */
import { AppError } from "../base/errors.js";
import type { Secret } from "../base/secret.js";

/** Before every cookie's name, ours and better-auth's. */
export const cookiePrefix = "gatehouse";

const name = `${cookiePrefix}.session_token`;

/** `__Secure-` as better-auth does for https: a page of plain http can then not plant one (RFC 6265bis §4.1.3.1). */
function cookieName(publicUrl: string): string {
  return publicUrl.startsWith("https:") ? `__Secure-${name}` : name;
}

/** The `Set-Cookie` of a session that lives `lifeMs`. */
export function sessionCookie(publicUrl: string, token: Secret, lifeMs: number): string {
  return writeCookie(publicUrl, encodeURIComponent(token.reveal()), Math.floor(lifeMs / 1000));
}

/** The `Set-Cookie` that takes a session's cookie away. */
export function clearedCookie(publicUrl: string): string {
  return writeCookie(publicUrl, "", 0);
}

/** The signed session token in a request's cookies, or null. */
export function readSessionCookie(request: Request, publicUrl: string): string | null {
  const wanted = `${cookieName(publicUrl)}=`;
  const pair = (request.headers.get("cookie") ?? "").split(/; */).find((part) => part.startsWith(wanted));
  try {
    return pair === undefined ? null : decodeURIComponent(pair.slice(wanted.length));
  } catch {
    return null;
  }
}

/**
 * Browsers send cookies along whoever made the request, but nobody else can write our `Origin`. A form on a page of ours
 * says `null` there, since our pages send no referrer (Fetch, "append a request Origin header"); `Sec-Fetch-Site`, which
 * no page can write either, then says whose it is. Pages of the origins in `allowed` write as ours do. Throws `origin_not_allowed`.
 */
export function refuseForeignWrite(request: Request, publicUrl: string, allowed: readonly string[]): void {
  if (request.method === "GET" || request.method === "HEAD") {
    return;
  }
  const origin = request.headers.get("origin");
  if (origin === "null" && request.headers.get("sec-fetch-site") === "same-origin") {
    return;
  }
  // The request's own origin differs from PUBLIC_URL only between loopback names: other hosts were refused at the door.
  const isOurs = origin === publicUrl || origin === new URL(request.url).origin;
  if (origin === null || !(isOurs || allowed.includes(origin))) {
    throw new AppError("origin_not_allowed");
  }
}

function writeCookie(publicUrl: string, value: string, maxAgeSeconds: number): string {
  const secure = publicUrl.startsWith("https:") ? "; Secure" : "";
  return `${cookieName(publicUrl)}=${value}; Max-Age=${maxAgeSeconds}; Path=/; HttpOnly; SameSite=Lax${secure}`;
}
