/** OAuth client credentials (RFC 6749 §4.4): a client secret for a token. */
import type { Secret } from "../base/secret.js";
import type { TokenExchange } from "./contract.js";

/** The call to a token endpoint, with the client's id and secret in the form, as Entra asks for them. */
export function exchangeClientSecret(url: string, clientId: string, secret: Secret, scope: string): TokenExchange {
  return {
    request: tokenRequest(url, {
      grant_type: "client_credentials",
      client_id: clientId,
      client_secret: secret.reveal(),
      scope,
    }),
  };
}

/** A form for a token endpoint. */
export function tokenRequest(url: string, form: Readonly<Record<string, string>>): Request {
  const headers = { accept: "application/json", "content-type": "application/x-www-form-urlencoded" };
  return new Request(url, { method: "POST", headers, body: new URLSearchParams(form).toString(), redirect: "manual" });
}
