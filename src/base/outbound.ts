/** The one guard for addresses that users give: checks a URL before anything is sent, follows no redirect to another origin, and holds a deadline. */
import ipaddr from "ipaddr.js";
import { keepFew } from "./origin.js";

/** What the guard measures a URL against. */
export interface OutboundRules {
  /** `OUTBOUND_ALLOW`: exact origins, separated by commas or spaces, that pass without further checks. Local runs and tests only. */
  readonly allow: string;
  /** Hosts of this service, with or without a port: a call to them could only be a loop or a detour around a door. */
  readonly ownHosts: readonly string[];
}

/** A URL that may be called, or a sentence for the person who gave it. */
export type CheckedUrl = { readonly url: URL } | { readonly error: string };

/** Why an outbound call gave no answer. `aborted`: the caller's own signal; `timeout`: the deadline; `network`: connection, TLS or DNS. */
export type OutboundFailure = "refused" | "redirected" | "aborted" | "timeout" | "network";

/** Thrown by `fetchOutbound`. The message names no path, query or secret. */
export class OutboundError extends Error {
  readonly failure: OutboundFailure;

  constructor(failure: OutboundFailure, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "OutboundError";
    this.failure = failure;
  }
}

/** A call that is made a request of only as it is sent: each `Request` and `Headers` on the way there costs more than all that is looked at. */
export interface OutboundCall {
  readonly url: string;
  readonly method: string;
  /** By lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** A stream is good for one call. */
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
}

interface OutboundOptions extends OutboundRules {
  /** The caller's abort, kept for the body too. */
  readonly signal?: AbortSignal | undefined;
  /** For the whole exchange, redirects and body included. Null where `signal` holds a deadline of its own. */
  readonly timeoutMs: number | null;
  readonly fetcher?: (request: Request) => Promise<Response>;
}

const maxRedirects = 3;

/** Names that resolve, or may resolve, inside the network that the Worker stands in (RFC 6761, RFC 6762, RFC 8375, clusters and common router defaults). */
const localDomains = [
  "localhost",
  "localdomain",
  "local",
  "internal",
  "intranet",
  "private",
  "corp",
  "home",
  "lan",
  "domain",
  "workgroup",
  "svc",
  "arpa",
];

/** Public names that answer with whatever address their label spells, or always with 127.0.0.1. */
const wildcardDomains = [
  "nip.io",
  "sslip.io",
  "xip.io",
  "xip.name",
  "backname.io",
  "traefik.me",
  "localtest.me",
  "local.gd",
  "local-ip.co",
  "local-ip.sh",
  "local-ip.medicmobile.org",
  "localhost.direct",
  "plex.direct",
  "ddev.site",
  "lndo.site",
  "lcl.host",
  "localho.st",
  "lvh.me",
  "vcap.me",
  "fuf.me",
  "lacolhost.com",
  "ip.addr.tools",
  "1u.ms",
  "rbndr.us",
];

/** RFC 4291 §2.4: all global unicast that was ever handed out. */
const globalUnicast = ipaddr.IPv6.parseCIDR("2000::/3");

/** RFC 5214 §6.1: the interface identifier of an ISATAP address, whose last half is an IPv4 address, global or not. */
const isatapIdentifiers = [0x0000_5efe, 0x0200_5efe];

/**
 * Checks an address that a user gave. The URL parser has already turned decimal, octal, hexadecimal and full-width
 * spellings of an address into one form, so what is compared here is what `fetch` would connect to. Names are not
 * resolved: against rebinding production relies on `global_fetch_strictly_public`.
 */
export function checkOutboundUrl(text: string, rules: OutboundRules): CheckedUrl {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    return { error: "This is not a web address. It must look like https://host/path." };
  }
  if (/[\\\t\n\r]/.test(text)) {
    // Parsers differ in what they make of these, so what was shown and what is called could be two hosts.
    return { error: "The address must not hold a backslash, a tab or a line break." };
  }
  if (url.username !== "" || url.password !== "") {
    return { error: "The address must not hold a user name or password." };
  }
  if (url.hash !== "" || text.includes("#")) {
    return { error: "The address must not have a fragment (#)." };
  }
  if (allowedOrigins(rules.allow).has(url.origin)) {
    return { url };
  }
  const error =
    url.protocol === "https:" ? findHostError(url.hostname, rules.ownHosts) : "The address must begin with https://.";
  return error === null ? { url } : { error };
}

/**
 * Sends a request to an address that a user gave. Redirects are followed for GET and HEAD, within the origin, at most
 * 3 times; a redirected body is never sent again. Throws `OutboundError`; an abort or the deadline after the headers
 * fails the body's reader instead.
 */
export async function fetchOutbound(request: Request | OutboundCall, options: OutboundOptions): Promise<Response> {
  const deadline = options.timeoutMs === null ? null : AbortSignal.timeout(options.timeoutMs);
  const signal = joinSignals(options.signal, deadline);
  const how = signal === undefined ? { redirect: "manual" as const } : { redirect: "manual" as const, signal };
  let outgoing = request;
  for (let redirects = 0; ; redirects += 1) {
    const checked =
      outgoing instanceof Request ? checkAddress(outgoing.url, options) : recallAddress(outgoing.url, options);
    if ("error" in checked) {
      throw new OutboundError("refused", checked.error);
    }
    let response: Response;
    try {
      response = await send(outgoing, how, options.fetcher);
    } catch (error) {
      throw describeFailure(error, options.signal, deadline);
    }
    const target = redirectTarget(response, outgoing.url);
    if (target === null) {
      return response;
    }
    await response.body?.cancel();
    if (target.origin !== checked.origin) {
      throw new OutboundError("redirected", "The address redirects to another origin, which is not followed.");
    }
    if ((request.method !== "GET" && request.method !== "HEAD") || redirects === maxRedirects) {
      throw new OutboundError("redirected", "The address redirects. Enter the address that it redirects to.");
    }
    outgoing = new Request(target, { method: request.method, headers: request.headers });
  }
}

/** Reads at most `maxBytes` of an answer as text and drops the rest. Bytes that are not UTF-8 become U+FFFD. */
export async function readTextUpTo(response: Response, maxBytes: number): Promise<string> {
  if (response.body === null) {
    return "";
  }
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let text = "";
  for (let left = maxBytes; left > 0;) {
    const { done, value } = await reader.read();
    if (done) {
      return text + decoder.decode();
    }
    text += decoder.decode(value.subarray(0, left), { stream: true });
    left -= value.byteLength;
  }
  await reader.cancel();
  return text + decoder.decode();
}

/** A plain call goes out as it is, without another `Request` made of it. */
async function send(
  outgoing: Request | OutboundCall,
  how: RequestInit,
  fetcher: OutboundOptions["fetcher"],
): Promise<Response> {
  if (outgoing instanceof Request) {
    return await (fetcher === undefined ? fetch(outgoing, how) : fetcher(new Request(outgoing, how)));
  }
  const { url, method, headers, body } = outgoing;
  const init = { ...how, method, headers, body };
  return await (fetcher === undefined ? fetch(url, init) : fetcher(new Request(url, init)));
}

/** What a check of an address comes to: its origin, or a sentence. */
type Verdict = { readonly origin: string } | { readonly error: string };

function checkAddress(text: string, rules: OutboundRules): Verdict {
  const checked = checkOutboundUrl(text, rules);
  return "error" in checked ? checked : { origin: checked.url.origin };
}

/** Verdicts on the addresses of plain calls: text and rules alone decide. */
const verdicts = new Map<string, { readonly rules: OutboundRules; readonly verdict: Verdict }>();

function recallAddress(text: string, rules: OutboundRules): Verdict {
  const known = verdicts.get(text);
  if (known !== undefined && known.rules.allow === rules.allow && isSameList(known.rules.ownHosts, rules.ownHosts)) {
    return known.verdict;
  }
  const verdict = checkAddress(text, rules);
  keepFew(verdicts, text, { rules: { allow: rules.allow, ownHosts: rules.ownHosts }, verdict });
  return verdict;
}

function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one === other || (one.length === other.length && one.every((host, index) => host === other[index]));
}

/** The list is the installation's, so it is the same at every call. */
let lastAllowed: { readonly allow: string; readonly origins: ReadonlySet<string> } = { allow: "", origins: new Set() };

function allowedOrigins(allow: string): ReadonlySet<string> {
  if (lastAllowed.allow !== allow) {
    const origins = allow.split(/[\s,]+/).map((word) => URL.parse(word)?.origin ?? "null");
    lastAllowed = { allow, origins: new Set(origins.filter((origin) => origin !== "null")) };
  }
  return lastAllowed.origins;
}

function joinSignals(caller: AbortSignal | undefined, deadline: AbortSignal | null): AbortSignal | undefined {
  return caller === undefined || deadline === null
    ? (caller ?? deadline ?? undefined)
    : AbortSignal.any([caller, deadline]);
}

function findHostError(host: string, ownHosts: readonly string[]): string | null {
  if (ownHosts.some((own) => URL.parse(`https://${own}`)?.hostname === host)) {
    return "The address is this service's own.";
  }
  if (host.startsWith("[") || ipaddr.IPv4.isValidFourPartDecimal(host)) {
    return isPublicAddress(host.replaceAll(/[[\]]/g, ""))
      ? null
      : "The address points into a private or reserved network.";
  }
  if (host.endsWith(".")) {
    return "Write the host without a dot at its end.";
  }
  if (!host.includes(".") || localDomains.some((domain) => isWithin(host, domain))) {
    return "The host is a local name. Give one that the public internet can reach.";
  }
  if (wildcardDomains.some((domain) => isWithin(host, domain))) {
    return "The host belongs to a service that maps names to any address. Give the server's own name.";
  }
  return null;
}

function isPublicAddress(text: string): boolean {
  if (!ipaddr.isValid(text)) {
    return false;
  }
  const address = ipaddr.parse(text);
  // IPv4 carried inside IPv6 (::a.b.c.d, mapped, NAT64, 6to4, Teredo) is refused whole: no public host needs it.
  return address.range() === "unicast" && (address instanceof ipaddr.IPv4 || isPublicIpv6(address));
}

function isPublicIpv6(address: ipaddr.IPv6): boolean {
  const [, , , , high = 0, low = 0] = address.parts;
  return address.match(globalUnicast) && !isatapIdentifiers.includes(high * 0x1_0000 + low);
}

function isWithin(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`);
}

function redirectTarget(response: Response, base: string): URL | null {
  const location = response.headers.get("location");
  return location !== null && [301, 302, 303, 307, 308].includes(response.status) ? URL.parse(location, base) : null;
}

function describeFailure(error: unknown, caller: AbortSignal | undefined, deadline: AbortSignal | null): OutboundError {
  if (caller?.aborted === true) {
    return new OutboundError("aborted", "The caller left.", error);
  }
  if (deadline?.aborted === true) {
    return new OutboundError("timeout", "The address did not answer in time.", error);
  }
  return new OutboundError("network", "The address could not be reached.", error);
}
