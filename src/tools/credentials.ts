/** The credential that a call uses: chosen, opened, and held to the origins that it was entered for. */
import { and, desc, eq, inArray, sql } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { AppError, invalidField } from "../base/errors.js";
import { sha256Hex } from "../base/bytes.js";
import { fetchOutbound } from "../base/outbound.js";
import type { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import { openStored } from "../connections/examine.js";
import { credentials, readOptions, type CredentialRow } from "../connections/model.js";
import { outboundRules } from "../connections/validation.js";
import { findToken } from "../providers/access-token.js";
import type { ToolProviderRow } from "../toolbox/model.js";
import { basesOf, formOf, ownerOf, readAuth, sealOrigin } from "./auth.js";
import { credentialProvider } from "./credential-provider.js";
import type { OpenedCredential, ToolAuth } from "./contract.js";

/** A credential that is open for one call. */
export interface CallCredential {
  readonly row: CredentialRow;
  readonly opened: OpenedCredential;
  /** For OAuth, the token that the secret was exchanged for; else null. */
  readonly accessToken: Secret | null;
  /** Where its calls go. */
  readonly baseUrl: string;
}

const usable = ["active", "unverified", "exhausted"] as const;
const tokenTimeoutMs = 15_000;

/**
 * The credential for a call to a provider: the one asked for, else the provider's default, else the newest that is good; null when it
 * needs none. Throws `validation_failed` for one that is not this provider's, `credential_missing` when there is none that can be
 * used, `undecryptable` and `keyring_entry_missing`, and `tool_failed` when OAuth gives no token.
 */
export async function openForCall(
  db: Database,
  settings: Settings,
  provider: ToolProviderRow,
  askedFor: string | null,
): Promise<CallCredential | null> {
  if (formOf(provider).length === 0) {
    return null;
  }
  const auth = readAuth(provider);
  const row = await chooseCredential(db, provider, askedFor);
  if (!isHome(provider, auth, row)) {
    throw missing("The provider's address has changed since the credential was entered. Enter its secret again.");
  }
  const secret = await openStored(db, settings, row);
  if (secret === null) {
    throw new AppError("undecryptable", { detail: "The stored credential cannot be opened. Enter its secret again." });
  }
  const opened = { secret, options: readOptions(row) };
  const accessToken = auth.type === "oauth_client_credentials" ? await exchange(settings, provider, row, opened) : null;
  return { row, opened, accessToken, baseUrl: row.baseUrl };
}

/** A name for what is agreed with a server under this credential; another secret gives another name. */
export async function sessionKey(provider: ToolProviderRow, credential: CallCredential | null): Promise<string> {
  const { id, baseUrl, auth } = provider;
  const held = credential === null ? "" : `${credential.row.id} ${credential.row.secretVersion}`;
  return await sha256Hex(JSON.stringify([id, baseUrl, auth, held, credential?.accessToken?.reveal() ?? ""]));
}

async function chooseCredential(
  db: Database,
  provider: ToolProviderRow,
  askedFor: string | null,
): Promise<CredentialRow> {
  const wanted = askedFor ?? provider.credentialId;
  const isOwn = and(
    eq(credentials.workspaceId, provider.workspaceId),
    eq(credentials.providerType, "tool"),
    eq(credentials.providerName, ownerOf(provider)),
  );
  const isThis = wanted === null ? inArray(credentials.status, [...usable]) : eq(credentials.id, wanted);
  // Proved good before untried, the newest first.
  const query = db.select().from(credentials).where(and(isOwn, isThis));
  const order = [sql`${credentials.status} <> 'active'`, desc(credentials.createdAt), desc(credentials.id)];
  const [row] = await hideSql(
    query
      .orderBy(...order)
      .limit(1)
      .all(),
  );
  if (row === undefined) {
    if (askedFor !== null) {
      throw invalidField("/credential_id", "This provider has no such credential.", "unknown_credential");
    }
    throw missing(
      wanted === null
        ? `Add a credential to the tool provider ${provider.name}, or check the ones it has.`
        : "The provider's default credential is gone. Choose another by PATCH, or null for the newest good one.",
    );
  }
  if (!usable.some((status) => status === row.status)) {
    throw missing(`The credential is ${row.status}${row.reason === null ? "." : `: ${row.reason}`}`);
  }
  return row;
}

/** Whether a credential was entered for where this provider's calls go now. The seal says the same; this says it first, in words. */
function isHome(provider: ToolProviderRow, auth: ToolAuth, row: CredentialRow): boolean {
  return basesOf(provider).some((base) => sealOrigin(auth, base) === row.origin);
}

async function exchange(
  settings: Settings,
  provider: ToolProviderRow,
  row: CredentialRow,
  opened: OpenedCredential,
): Promise<Secret> {
  const input = { api_key: opened.secret, base_url: row.baseUrl, options: opened.options };
  const send = (request: Request) => fetchOutbound(request, { ...outboundRules(settings), timeoutMs: tokenTimeoutMs });
  const outcome = await findToken(credentialProvider(provider), input, send);
  if (outcome?.kind === "token") {
    return outcome.token;
  }
  const reason = outcome?.reason ?? "The token endpoint gave no token.";
  throw new AppError("tool_failed", { detail: reason, extra: { upstream_status: null, reason } });
}

function missing(detail: string): AppError {
  return new AppError("credential_missing", { detail });
}
