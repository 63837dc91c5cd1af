/** An MCP server that a workspace named: where it is, what proves us to it, and what may never come back from it. */
import type { OutboundRules } from "../../base/outbound.js";
import { Secret } from "../../base/secret.js";
import type { OpenedCredential, ToolAuth } from "../contract.js";
import { readHeaderValues, secretsWithin } from "../header-values.js";

/** A server and how to call it. Made for one request: it holds opened secrets. */
export interface McpTarget {
  /** The endpoint of its streamable HTTP transport. */
  readonly url: string;
  /** Sent with every request. */
  readonly headers: readonly (readonly [name: string, value: Secret])[];
  /** Searched for in every error and answer. */
  readonly secrets: readonly Secret[];
  /** One for each server and secret: what was agreed with the server is remembered under it. Must change with the secret. */
  readonly sessionKey: string;
  readonly rules: OutboundRules;
}

interface TargetOptions {
  readonly url: string;
  readonly auth: ToolAuth;
  /** Null when none is stored; then nothing is added. */
  readonly credential: OpenedCredential | null;
  /** What an OAuth token endpoint gave for the credential; needed for `oauth_client_credentials` alone. */
  readonly accessToken: Secret | null;
  readonly sessionKey: string;
  readonly rules: OutboundRules;
}

/** A target with its credential in place. Throws `TypeError` for OAuth without a token. */
export function mcpTarget(options: TargetOptions): McpTarget {
  const { auth, credential, accessToken, sessionKey, rules } = options;
  const url = new URL(options.url);
  const headers: (readonly [string, Secret])[] = [];
  const secrets: Secret[] = [];
  if (auth.type === "oauth_client_credentials") {
    if (accessToken === null) {
      throw new TypeError("OAuth needs an access token");
    }
    headers.push(["authorization", new Secret(`Bearer ${accessToken.reveal()}`)]);
    secrets.push(accessToken);
  }
  if (credential !== null) {
    secrets.push(credential.secret);
    const header = headerOf(auth, credential);
    if (header !== null) {
      headers.push(header);
    }
    if (auth.type === "headers") {
      headers.push(...(readHeaderValues(auth, credential.secret.reveal()) ?? []));
      secrets.push(...secretsWithin(auth, credential.secret.reveal()));
    }
    if (auth.type === "basic") {
      secrets.push(new Secret(basicPair(credential)));
    }
    if (auth.type === "api_key" && auth.in === "query") {
      url.searchParams.set(auth.name, `${auth.prefix ?? ""}${credential.secret.reveal()}`);
    }
  }
  return { url: url.href, headers, secrets, sessionKey, rules };
}

function headerOf(auth: ToolAuth, credential: OpenedCredential): [string, Secret] | null {
  const value = credential.secret.reveal();
  switch (auth.type) {
    case "bearer":
      return ["authorization", new Secret(`Bearer ${value}`)];
    case "basic":
      return ["authorization", new Secret(`Basic ${basicPair(credential)}`)];
    case "api_key":
      return auth.in === "header" ? [auth.name, new Secret(`${auth.prefix ?? ""}${value}`)] : null;
    case "headers":
    case "oauth_client_credentials":
    case "none":
      return null;
  }
}

/** RFC 7617 §2, in UTF-8. */
function basicPair(credential: OpenedCredential): string {
  const bytes = new TextEncoder().encode(`${credential.options["username"] ?? ""}:${credential.secret.reveal()}`);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
