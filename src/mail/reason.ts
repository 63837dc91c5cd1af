/** What another server said, made fit for people to read: one short line without secrets, links or codes. */
import { redactSecrets, type Secret } from "../base/secret.js";

const longest = 200;

/**
 * Quotes a mail server's or mail API's words for a reason. Filters quote the letter they refuse, so links, long words and
 * digits as in sign-in codes go, and the transport's own secrets in any spelling. An address that is written to may stay.
 */
export function quoteAnswer(text: string, secrets: readonly Secret[], recipient: string): string {
  const line = redactSecrets(text, secrets)
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim();
  const words = line.split(" ").map((word) => (isTelling(word, recipient) ? "…" : word));
  const quoted = words.join(" ").replace(/\d{4} ?\d{4,}/g, "…");
  return quoted.length > longest ? `${quoted.slice(0, longest)}…` : quoted;
}

/** Longer than any word of a sentence, as tokens are, or part of an address that opens something. */
function isTelling(word: string, recipient: string): boolean {
  const bare = word.replace(/^[<"'([]+|[>"')\].,;:]+$/g, "").toLowerCase();
  return bare !== recipient.toLowerCase() && (word.length > 30 || word.includes("/"));
}
