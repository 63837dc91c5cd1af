/** How a provider's calls are authenticated: read from its row, checked when entered, and what a credential for it is made of and sealed to. */
import { invalidField } from "../base/errors.js";
import type { Settings } from "../base/settings.js";
import type { FormField } from "../providers/contract.js";
import { ToolAuthSchema, type ToolProviderRow } from "../toolbox/model.js";
import { findBuiltin } from "./builtin/builtin.js";
import type { ToolAuth } from "./contract.js";
import { checkAddress } from "./source.js";

/** A provider's way of authentication. */
export function readAuth(row: Pick<ToolProviderRow, "auth">): ToolAuth {
  return ToolAuthSchema.parse(JSON.parse(row.auth));
}

/** Checks a way of authentication that was entered or suggested by a document. Throws `validation_failed` below `/auth`. */
export function checkAuth(
  settings: Pick<Settings, "outboundAllow" | "publicUrl">,
  kind: ToolProviderRow["kind"],
  auth: ToolAuth,
): void {
  if (auth.type === "oauth_client_credentials") {
    checkAddress(settings, auth.token_url, "/auth/token_url");
  }
  if (auth.type !== "api_key" || kind === "builtin") {
    return;
  }
  if (auth.in === "path") {
    throw invalidField("/auth/in", "Only built-in providers have a key in the path. Use header, query or cookie.");
  }
  if (kind === "mcp" && auth.in === "cookie") {
    throw invalidField("/auth/in", "A key for an MCP server goes into a header or the query.");
  }
}

/**
 * What a credential is sealed to: every origin that any part of it may be sent to. With OAuth these are two, the provider's
 * and the token endpoint's, so a change of either makes it unusable.
 */
export function sealOrigin(auth: ToolAuth, baseUrl: string): string {
  const origin = new URL(baseUrl).origin;
  return auth.type === "oauth_client_credentials" ? `${origin} ${new URL(auth.token_url).origin}` : origin;
}

/** The bases that a credential may be entered for; the first is the default. Only built-in providers have several. */
export function basesOf(row: Pick<ToolProviderRow, "kind" | "name" | "baseUrl">): readonly string[] {
  const builtin = row.kind === "builtin" ? findBuiltin(row.name) : null;
  return builtin === null ? [row.baseUrl] : builtin.bases.map((base) => base.url);
}

/** Who a provider's credentials belong to, as `credentials.provider_name`: built-in ones by name, so that they can be entered first. */
export function ownerOf(row: Pick<ToolProviderRow, "id" | "kind" | "name">): string {
  return row.kind === "builtin" ? row.name : row.id;
}

/** The credential form of a provider; its only secret is `api_key`. Empty when it needs none. */
export function formOf(row: Pick<ToolProviderRow, "kind" | "name" | "auth">): readonly FormField[] {
  const builtin = row.kind === "builtin" ? findBuiltin(row.name) : null;
  return builtin === null ? forms[readAuth(row).type] : builtin.form;
}

const secret = { name: "api_key", secret: true, required: true } as const;
const plain = { secret: false, required: true } as const;

const forms: Readonly<Record<ToolAuth["type"], readonly FormField[]>> = {
  none: [],
  api_key: [{ ...secret, label: "API key", help: "Sent with every call, as the provider's `auth` says." }],
  bearer: [{ ...secret, label: "Token", help: "Sent as `Authorization: Bearer …`." }],
  basic: [
    { ...plain, name: "username", label: "User name", help: "The part before the colon." },
    { ...secret, label: "Password", help: "The part after the colon." },
  ],
  headers: [
    {
      ...secret,
      label: "Header values",
      help: "A JSON object on one line with a value for each header that the provider's `auth` names.",
      placeholder: '{"X-Api-Key": "…", "X-Account": "…"}',
    },
  ],
  oauth_client_credentials: [
    { ...plain, name: "client_id", label: "Client id", help: "As the token endpoint knows this client." },
    { ...secret, label: "Client secret", help: "Sent to the token endpoint alone." },
  ],
};
