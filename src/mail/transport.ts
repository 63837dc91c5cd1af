/** What a way out for letters is. Outcomes are values; a reason never holds a secret, since people read it. */
import type { Letter } from "./letter.js";

/**
 * What became of one attempt. `failed` is final, and is only said about a letter that was refused itself: its address or
 * its content. All that time or the operator can mend is `retry`: worth another attempt, after `afterSeconds` at the
 * soonest.
 */
export type SendOutcome =
  | { readonly kind: "sent" }
  | { readonly kind: "retry"; readonly reason: string; readonly afterSeconds?: number }
  | { readonly kind: "failed"; readonly reason: string };

/** Sends one letter, within a minute. `letterId` is the same at every attempt, so that a receiver can tell a repeat. Never throws but for bugs. */
export interface Transport {
  send(letter: Letter, letterId: string): Promise<SendOutcome>;
}
