/** How a key travels. */
import type { Secret } from "../base/secret.js";

/** The header that carries a key. */
export type AuthStyle = "bearer" | "x-api-key" | "api-key" | "x-goog-api-key";

/** How a key travels, for the person who enters it. */
export const authSentences: Readonly<Record<AuthStyle, string>> = {
  bearer: "The key is sent as Authorization: Bearer.",
  "x-api-key": "The key is sent as x-api-key.",
  "api-key": "The key is sent as api-key.",
  "x-goog-api-key": "The key is sent as x-goog-api-key.",
};

/** The header that carries the key; nothing for a credential without one. */
export function authHeaders(style: AuthStyle, key: Secret | null): Readonly<Record<string, string>> {
  if (key === null) {
    return {};
  }
  return style === "bearer" ? { authorization: `Bearer ${key.reveal()}` } : { [style]: key.reveal() };
}

/** The version of Anthropic's wire that requests are written in. */
export const anthropicHeaders = { "anthropic-version": "2023-06-01" } as const;
