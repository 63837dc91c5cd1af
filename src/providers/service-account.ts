/** A Google service account's key: read from the JSON that Google hands out, and signed with for an access token (RFC 7523). */
import { importPKCS8, SignJWT } from "jose";
import { fromUtf8 } from "../base/bytes.js";
import type { Secret } from "../base/secret.js";
import { tokenRequest } from "./client-credentials.js";
import type { TokenExchange } from "./contract.js";
import type { SecretForm } from "./entry.js";

/** The one place that an assertion is made for and sent to: the file's own `token_uri` is not asked. */
export const googleTokenUrl = "https://oauth2.googleapis.com/token";

interface ServiceAccount {
  readonly client_email: string;
  readonly private_key: string;
  readonly private_key_id: string | null;
  readonly project_id: string | null;
}

const wholeFile = "Paste the whole JSON file of the service account's key, as it is or in base64.";

/** The JSON file, as it is or in base64. Only what is needed of it is kept. */
export const serviceAccountForm: SecretForm = {
  read(text) {
    const account = readAccount(text.startsWith("{") ? text : decode(text));
    if (account === null) {
      return { error: wholeFile };
    }
    if (!/^-----BEGIN PRIVATE KEY-----\s[A-Za-z0-9+/=\s]+-----END PRIVATE KEY-----\s*$/.test(account.private_key)) {
      return { error: `Its private_key is no PKCS #8 key. ${wholeFile}` };
    }
    const options = account.project_id === null ? {} : { project: account.project_id };
    return { secret: JSON.stringify(account), options };
  },
};

/** The exchange of a signed assertion, good for an hour, for an access token. */
export async function exchangeServiceAccount(secret: Secret, scope: string): Promise<TokenExchange> {
  const account = readAccount(secret.reveal());
  if (account === null) {
    return { refused: "The stored service account cannot be read. Enter its key again." };
  }
  try {
    const key = await importPKCS8(account.private_key, "RS256");
    const header = {
      alg: "RS256",
      typ: "JWT",
      ...(account.private_key_id === null ? {} : { kid: account.private_key_id }),
    };
    const assertion = await new SignJWT({ scope })
      .setProtectedHeader(header)
      .setIssuer(account.client_email)
      .setAudience(googleTokenUrl)
      .setIssuedAt()
      .setExpirationTime("1h")
      .sign(key);
    const form = { grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion };
    return { request: tokenRequest(googleTokenUrl, form) };
  } catch {
    // The cause could quote the key.
    return { refused: "The service account's private_key is no RSA key that can sign. Enter its file again." };
  }
}

function readAccount(text: string | null): ServiceAccount | null {
  const value = text === null ? null : parse(text);
  const email = textOf(value, "client_email");
  const key = textOf(value, "private_key");
  const type = textOf(value, "type");
  // What is stored keeps no type: only the file has one.
  return email === null || key === null || (type !== null && type !== "service_account")
    ? null
    : {
        client_email: email,
        private_key: key,
        private_key_id: textOf(value, "private_key_id"),
        project_id: textOf(value, "project_id"),
      };
}

function textOf(value: unknown, name: string): string | null {
  const found: unknown = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
  return typeof found === "string" && found !== "" ? found : null;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function decode(text: string): string | null {
  try {
    return fromUtf8(Uint8Array.from(atob(text.replaceAll(/\s/g, "")), (unit) => unit.charCodeAt(0)));
  } catch {
    return null;
  }
}
