/** The passkey ceremonies (WebAuthn Level 3): challenges that need no row until they are used, and what a browser's answer proves. */
import type { AuthenticationResponseJSON, RegistrationResponseJSON, WebAuthnCredential } from "@simplewebauthn/server";
import { equalBytes, fromBase64Url, hmacSha256, randomBytes, toBase64Url, utf8 } from "../base/bytes.js";
import { AppError } from "../base/errors.js";
import type { Keyring } from "../base/keyring.js";
import { describeError, log } from "../base/log.js";
import type { Settings } from "../base/settings.js";

/** How long a browser may take. */
export const challengeMs = 5 * 60_000;

/** COSE algorithms taken: EdDSA, ES256, RS256. */
export const algorithmIds = [-8, -7, -257] as const;

/** What a challenge is for: signing anybody in, or adding a passkey to one account. */
export type Ceremony = "sign_in" | `add|${string}`;

/** The service as authenticators know it. */
export interface RelyingParty {
  readonly id: string;
  readonly origin: string;
}

/** PUBLIC_URL's; on a local run whatever loopback name the browser uses, since WebAuthn takes no IP address. */
export function relyingParty(settings: Settings, request: Request): RelyingParty {
  const url = new URL(settings.isLocal ? request.url : settings.publicUrl);
  return { id: url.hostname, origin: url.origin };
}

const nonceBytes = 32;
const macBytes = 32;

/** A new challenge in base64url: 32 random bytes, when it ends, and a MAC over both and the ceremony. */
export async function mintChallenge(authSecret: Keyring, ceremony: Ceremony, now: number): Promise<string> {
  const head = new Uint8Array(nonceBytes + 8);
  head.set(randomBytes(nonceBytes));
  new DataView(head.buffer).setBigUint64(nonceBytes, BigInt(now + challengeMs));
  const mac = await macOf(authSecret, authSecret.primary, ceremony, head);
  return toBase64Url(new Uint8Array([...head, ...(mac ?? [])]));
}

/** Whether this service made the challenge for this ceremony, and it is not over. That it is used once, its row holds. */
export async function isChallenge(
  authSecret: Keyring,
  ceremony: Ceremony,
  challenge: string,
  now: number,
): Promise<boolean> {
  const bytes = fromBase64Url(challenge);
  if (bytes === null || bytes.byteLength !== nonceBytes + 8 + macBytes) {
    return false;
  }
  const head = bytes.slice(0, nonceBytes + 8);
  if (new DataView(head.buffer).getBigUint64(nonceBytes) <= BigInt(now)) {
    return false;
  }
  for (const id of authSecret.ids) {
    const mac = await macOf(authSecret, id, ceremony, head);
    if (mac !== null && equalBytes(mac, bytes.slice(nonceBytes + 8))) {
      return true;
    }
  }
  return false;
}

async function macOf(
  authSecret: Keyring,
  id: string,
  ceremony: Ceremony,
  head: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const key = authSecret.get(id);
  if (key === undefined) {
    return null;
  }
  const mac = await hmacSha256(key, new Uint8Array([...utf8(`gatehouse.passkey.v1|${ceremony}|`), ...head]));
  key.fill(0);
  return mac;
}

/** What both ceremonies check an answer against. */
export interface Expectation {
  readonly party: RelyingParty;
  /** Called with the challenge that the browser answered to. */
  isExpected(challenge: string): Promise<boolean>;
}

/** A new credential, proven by the authenticator that holds it. */
export interface NewCredential {
  readonly id: string;
  readonly publicKey: string;
  readonly counter: number;
  readonly isBackedUp: boolean;
}

/** What a browser's answer to creating a passkey proves. Throws `code_refused` when it does not hold in every part. */
export async function checkNewPasskey(
  response: RegistrationResponseJSON,
  expected: Expectation,
): Promise<NewCredential> {
  const { verifyRegistrationResponse } = await import("@simplewebauthn/server");
  const checked = await refuseBroken(
    verifyRegistrationResponse({
      response,
      expectedChallenge: (challenge) => expected.isExpected(challenge),
      expectedOrigin: expected.party.origin,
      expectedRPID: expected.party.id,
      requireUserVerification: true,
      supportedAlgorithmIDs: [...algorithmIds],
    }),
  );
  if (!checked.verified) {
    throw refused();
  }
  const { credential, credentialBackedUp } = checked.registrationInfo;
  return {
    id: credential.id,
    publicKey: toBase64Url(new Uint8Array(credential.publicKey)),
    counter: credential.counter,
    isBackedUp: credentialBackedUp,
  };
}

/** The authenticator's new signature counter, once a browser's answer to signing in proves the stored key. Throws `code_refused`. */
export async function checkPasskey(
  response: AuthenticationResponseJSON,
  stored: { readonly credentialId: string; readonly publicKey: string; readonly counter: number },
  expected: Expectation,
): Promise<number> {
  const { verifyAuthenticationResponse } = await import("@simplewebauthn/server");
  const publicKey = fromBase64Url(stored.publicKey) ?? new Uint8Array();
  const credential: WebAuthnCredential = { id: stored.credentialId, publicKey, counter: stored.counter };
  const checked = await refuseBroken(
    verifyAuthenticationResponse({
      response,
      expectedChallenge: (challenge) => expected.isExpected(challenge),
      expectedOrigin: expected.party.origin,
      expectedRPID: expected.party.id,
      requireUserVerification: true,
      credential,
    }),
  );
  if (!checked.verified) {
    throw refused();
  }
  return checked.authenticationInfo.newCounter;
}

/** The library says no by throwing, with texts for developers. */
async function refuseBroken<T>(check: Promise<T>): Promise<T> {
  try {
    return await check;
  } catch (error) {
    log("info", "passkey_refused", { cause: describeError(error) });
    throw refused();
  }
}

function refused(): AppError {
  return new AppError("code_refused", {
    detail: "This passkey is not known here, or its answer is no longer good. Try again.",
  });
}
