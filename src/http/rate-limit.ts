/** How many requests the control plane takes from one address and from one caller, counted by the platform where the request comes in. */
import { principalName, type Principal } from "../access/principal.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import { isLoopback } from "../base/settings.js";
import { clientIp } from "./context.js";

/** Bindings of wrangler.toml, with the length of their window there in seconds, which is how long a refused caller waits at most. */
const windows = { SIGN_IN_LIMIT: 60, ADDRESS_LIMIT: 10, CALLER_LIMIT: 10 } as const;

type Limit = keyof typeof windows;

/** Addresses where codes, tokens and links can be tried without being anybody. */
const guessable = /^\/(?:auth|setup|invites)(?:\/|$)/;

/** Throws `rate_limited` when too much comes from the request's address. */
export async function limitAddress(request: Request, env: Env, path: string): Promise<void> {
  const address = countedAddress(request);
  if (address === null) {
    return;
  }
  await Promise.all([
    take(env, "ADDRESS_LIMIT", address, "your address"),
    guessable.test(path) ? take(env, "SIGN_IN_LIMIT", address, "your address") : undefined,
  ]);
}

/** Throws `rate_limited` when a caller sends too much, from however many addresses. */
export async function limitCaller(request: Request, env: Env, principal: Principal | null): Promise<void> {
  if (principal !== null && countedAddress(request) !== null) {
    await take(env, "CALLER_LIMIT", principalName(principal), "you");
  }
}

/** What is counted: an IPv4 address, or the half of an IPv6 address that one customer of a network has. Null for this very machine, which limits nobody but itself. */
function countedAddress(request: Request): string | null {
  const ip = clientIp(request);
  if (ip === null) {
    return null;
  }
  if (!ip.includes(":")) {
    return isLoopback(ip) ? null : ip;
  }
  const groups = groupsOf(ip);
  return groups.join(":") === "0:0:0:0:0:0:0:1" ? null : groups.slice(0, 4).join(":");
}

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(ip: string): string[] {
  const [head = "", tail] = ip.toLowerCase().split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  return [...before, ...Array<string>(zeros).fill("0"), ...after].map((group) => group.replace(/^0+(?=.)/, ""));
}

/** A counter that does not answer refuses nobody: it guards against too much, not against who may not. */
async function take(env: Env, limit: Limit, key: string, from: string): Promise<void> {
  let isTaken = true;
  try {
    isTaken = (await env[limit].limit({ key })).success;
  } catch (error) {
    log("error", "rate_limit_failed", { limit, cause: describeError(error) });
  }
  if (!isTaken) {
    const seconds = windows[limit];
    throw new AppError("rate_limited", {
      detail: `Too many requests came from ${from}. Wait for the time in Retry-After, then retry.`,
      retryAfterMs: seconds * 1000,
    });
  }
}
