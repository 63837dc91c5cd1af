/** What a call says of the credential that it used: when that was, and whether the provider took it. */
import { and, eq, isNull, lt, or } from "drizzle-orm";
import type { Database, Statement } from "../base/database.js";
import { credentials } from "../connections/model.js";
import { forgetToken } from "../providers/access-token.js";
import type { ToolProviderRow } from "../toolbox/model.js";
import { credentialProvider } from "./credential-provider.js";
import type { CallCredential } from "./credentials.js";

const lastUsedStepMs = 60_000;

/**
 * Stands at a credential whose last call was refused. It stays in use: there is no free call to ask, and some APIs answer 401
 * about the thing that was asked for, so that one caller's input could take it from all the others.
 */
const refusedReason =
  "The provider refused a call with this credential (401). If calls go on failing, enter its secret again.";

/** What an answer says of the credential: `refused` by status 401, `taken` by a result; null for all else. */
export type Reception = "refused" | "taken" | null;

/** The record of a use at `at`: the time, once a minute, and what is said of the credential where that changes. */
export function noteUse(db: Database, credential: CallCredential | null, at: number, met: Reception): Statement[] {
  if (credential === null) {
    return [];
  }
  const { workspaceId, id, reason } = credential.row;
  const isThis = and(eq(credentials.workspaceId, workspaceId), eq(credentials.id, id));
  const isOld = or(isNull(credentials.lastUsedAt), lt(credentials.lastUsedAt, at - lastUsedStepMs));
  const used = db.update(credentials).set({ lastUsedAt: at }).where(and(isThis, isOld));
  if (met === null || (met === "refused") === (reason === refusedReason)) {
    return [used];
  }
  // A secret that was entered in between is another one: the revision says so.
  const isSame = and(isThis, eq(credentials.revision, credential.row.revision));
  return [
    used,
    db
      .update(credentials)
      .set({ reason: met === "refused" ? refusedReason : null })
      .where(isSame),
  ];
}

/** Drops the OAuth token of a call that was refused, so that the next one fetches another. */
export async function dropToken(provider: ToolProviderRow, credential: CallCredential): Promise<void> {
  const { row, opened, accessToken } = credential;
  if (accessToken !== null) {
    const input = { api_key: opened.secret, base_url: row.baseUrl, options: opened.options };
    await forgetToken(credentialProvider(provider), input, accessToken);
  }
}
