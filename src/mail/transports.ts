/** How letters leave: one interface, chosen by MAIL_TRANSPORT. Outcomes are values; a reason never holds a secret, since people read it. */
import type { Settings } from "../base/settings.js";
import type { Letter } from "./letter.js";

/** What became of one attempt. `retry` is worth another one, after `afterSeconds` at the soonest; `failed` is not. */
export type SendOutcome =
  | { readonly kind: "sent" }
  | { readonly kind: "retry"; readonly reason: string; readonly afterSeconds?: number }
  | { readonly kind: "failed"; readonly reason: string };

/** Sends one letter. `letterId` is the same at every attempt, so that a receiver can tell a repeat. */
export interface Transport {
  send(letter: Letter, letterId: string): Promise<SendOutcome>;
}

/** Local runs: nothing leaves. The letter itself is kept nowhere; /dev/outbox writes it anew from its row. */
const outboxTransport: Transport = {
  send: () => Promise.resolve({ kind: "sent" }),
};

/** Stands in while MAIL_TRANSPORT names nothing usable: /readyz says so, and letters wait in the queue. */
const unavailable: Transport = {
  send: () => Promise.resolve({ kind: "retry", reason: "This service has no way to send mail. Set MAIL_TRANSPORT." }),
};

/** The transport of these settings. */
export function chooseTransport(settings: Settings): Transport {
  return settings.mailTransport === "outbox" ? outboxTransport : unavailable;
}
