/** Passkeys as deeds: added under a session, used to sign in without an address, listed and removed. */
import type { AuthenticationResponseJSON } from "@simplewebauthn/server";
import { and, desc, eq, lt, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { fromBase64Url, fromUtf8, sha256Hex, toBase64Url, utf8 } from "../base/bytes.js";
import {
  commit,
  guardChanged,
  guardThat,
  hideSql,
  type Change,
  type Database,
  type Statement,
} from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Settings } from "../base/settings.js";
import { passkeys, toAccount, usedChallenges, users, type PasskeyRow } from "./model.js";
import {
  algorithmIds,
  challengeMs,
  checkPasskey,
  isChallenge,
  type NewCredential,
  type RelyingParty,
} from "./passkey.js";
import { planSession } from "./sessions.js";
import type { PlannedSignIn } from "./sign-in.js";

/** More than anybody has; a bound for the list and for `excludeCredentials`. */
const passkeysPerAccount = 20;

/** What `navigator.credentials.create()` needs (WebAuthn §5.4, JSON form). */
export function creationOptions(
  party: RelyingParty,
  person: { readonly accountId: string; readonly email: string; readonly name: string },
  challenge: string,
  known: readonly Pick<PasskeyRow, "credentialId">[],
) {
  return {
    challenge,
    rp: { id: party.id, name: "Gatehouse" },
    user: { id: toBase64Url(utf8(person.accountId)), name: person.email, displayName: person.name },
    pubKeyCredParams: algorithmIds.map((alg) => ({ alg, type: "public-key" as const })),
    excludeCredentials: known.map(({ credentialId }) => ({ id: credentialId, type: "public-key" as const })),
    // Discoverable and with the person verified: one gesture is both factors, and nobody types an address.
    authenticatorSelection: {
      residentKey: "required",
      requireResidentKey: true,
      userVerification: "required",
    } as const,
    attestation: "none" as const,
    timeout: challengeMs,
  };
}

/** What `navigator.credentials.get()` needs (WebAuthn §5.5, JSON form). It names no credential, so it tells nothing of any account. */
export function requestOptions(party: RelyingParty, challenge: string) {
  return {
    challenge,
    rpId: party.id,
    allowCredentials: [],
    userVerification: "required" as const,
    timeout: challengeMs,
  };
}

/** A person's passkeys, newest first. */
export async function listPasskeys(db: Database, accountId: string): Promise<PasskeyRow[]> {
  return await hideSql(
    db
      .select()
      .from(passkeys)
      .where(eq(passkeys.userId, accountId))
      .orderBy(desc(passkeys.createdAt), desc(passkeys.id))
      .limit(passkeysPerAccount)
      .all(),
  );
}

/** Plans a new passkey. May fail with `code_refused` for a challenge used before, `conflict` for a credential that is stored or a full list. */
export async function planAddPasskey(
  db: Database,
  actor: Actor,
  accountId: string,
  credential: NewCredential,
  from: { readonly challenge: string; readonly name: string },
): Promise<Change<PasskeyRow>> {
  const row: PasskeyRow = {
    id: newId("passkey"),
    userId: accountId,
    name: from.name,
    credentialId: credential.id,
    publicKey: credential.publicKey,
    counter: credential.counter,
    isBackedUp: credential.isBackedUp,
    createdAt: actor.at,
    lastUsedAt: null,
  };
  const digest = await sha256Hex(from.challenge);
  const hasRoom = sql`(SELECT count(*) FROM ${passkeys} WHERE ${passkeys.userId} = ${accountId}) < ${passkeysPerAccount}`;
  return {
    statements: [
      useChallenge(db, digest, actor.at),
      guardThat(db, hasRoom, "conflict"),
      db.insert(passkeys).values(row),
      auditRow(db, actor, {
        workspaceId: null,
        action: "passkey.added",
        targets: [{ type: "passkey", id: row.id }],
        after: { name: row.name, backed_up: row.isBackedUp },
      }),
    ],
    value: row,
    conflicts: { "used_challenges.digest": "code_refused" },
  };
}

/** Plans a removal. `not_found` when the passkey is not the person's. */
export function planRemovePasskey(db: Database, actor: Actor, accountId: string, passkeyId: string): Change<undefined> {
  const told = auditRow(db, actor, {
    workspaceId: null,
    action: "passkey.removed",
    targets: [{ type: "passkey", id: passkeyId }],
  });
  const remove = db.delete(passkeys).where(and(eq(passkeys.userId, accountId), eq(passkeys.id, passkeyId)));
  return { statements: [remove, guardChanged(db, "not_found"), told], value: undefined };
}

/** Plans the session of whoever answered a challenge by a passkey. Throws `code_refused` alike for an unknown one and a wrong answer. */
export async function planPasskeySignIn(
  db: Database,
  settings: Settings,
  actor: Actor,
  response: AuthenticationResponseJSON,
  from: { readonly party: RelyingParty; readonly userAgent: string | null },
): Promise<Change<PlannedSignIn>> {
  const [found] = await hideSql(
    db
      .select({ passkey: passkeys, account: users })
      .from(passkeys)
      .innerJoin(users, eq(users.id, passkeys.userId))
      .where(eq(passkeys.credentialId, response.id))
      .all(),
  );
  // The authenticator says whose it is, too: a credential stored under another account does not open that one.
  if (found === undefined || userOf(response) !== found.account.id) {
    throw new AppError("code_refused");
  }
  const { passkey, account } = found;
  let challenge = "";
  const counter = await checkPasskey(response, passkey, {
    party: from.party,
    isExpected: async (answered) => {
      challenge = answered;
      return await isChallenge(settings.authSecret, "sign_in", answered, actor.at);
    },
  });
  const source = { ip: actor.ip, userAgent: from.userAgent, requestId: actor.requestId };
  const session = await planSession(settings.authSecret, db, account.id, source, actor.at);
  // WebAuthn §6.1.1: a counter that does not grow is a copy's; one that stays 0 does not count.
  const grows = counter === 0 ? eq(passkeys.counter, 0) : lt(passkeys.counter, counter);
  const statements = [
    useChallenge(db, await sha256Hex(challenge), actor.at),
    db
      .update(passkeys)
      .set({ counter, lastUsedAt: actor.at })
      .where(and(eq(passkeys.id, passkey.id), grows)),
    guardChanged(db, "code_refused"),
    session.statement,
  ];
  return {
    statements,
    value: { account: toAccount(account), token: session.token },
    conflicts: { "used_challenges.digest": "code_refused" },
  };
}

function userOf(response: AuthenticationResponseJSON): string | null {
  const bytes = fromBase64Url(response.response.userHandle ?? "");
  try {
    return bytes === null ? null : fromUtf8(bytes);
  } catch {
    return null;
  }
}

function useChallenge(db: Database, digest: string, now: number): Statement {
  return db.insert(usedChallenges).values({ digest, usedAt: now });
}

/** Drops used challenges that are over by themselves. Run by cron. */
export async function sweepChallenges(db: Database, now: number): Promise<void> {
  await commit(db, [db.delete(usedChallenges).where(lt(usedChallenges.usedAt, now - challengeMs))]);
}
