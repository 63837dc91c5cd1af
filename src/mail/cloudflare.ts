/** Letters by Cloudflare's own mail service: the `send_email` binding named EMAIL. */
import { EmailMessage } from "cloudflare:email";
import { describeError, log } from "../base/log.js";
import type { Mailbox } from "../base/mail-settings.js";
import { isPlainAddress, writeMessage } from "./message.js";
import type { SendOutcome, Transport } from "./transport.js";

/** The binding of an environment, or null: it stands in a deployment's own configuration, not in everybody's. */
export function emailBinding(env: object): SendEmail | null {
  const binding: unknown = Reflect.get(env, "EMAIL");
  return isSendEmail(binding) ? binding : null;
}

/** The transport for a `send_email` binding. */
export function cloudflareTransport(binding: SendEmail, from: Mailbox): Transport {
  return {
    async send(letter, letterId) {
      if (!isPlainAddress(letter.to)) {
        return { kind: "failed", reason: "The address has characters that mail servers do not take." };
      }
      const message = writeMessage(letter, from, letterId, Date.now());
      try {
        await binding.send(new EmailMessage(from.address, letter.to, message));
        return { kind: "sent" };
      } catch (error) {
        return toOutcome(error);
      }
    },
  };
}

const hourSeconds = 3600;

/** By the code on what the binding throws. The service's own words may quote the letter, so only the code is told. */
const known: Readonly<Record<string, SendOutcome>> = {
  E_RECIPIENT_SUPPRESSED: {
    kind: "failed",
    reason: "Cloudflare does not write to this address any more: it bounced, or its owner complained.",
  },
  E_RECIPIENT_NOT_ALLOWED: {
    kind: "failed",
    reason: "Cloudflare may not write to this address: the EMAIL binding or the plan restricts the recipients.",
  },
  E_CONTENT_TOO_LARGE: { kind: "failed", reason: "Cloudflare found the letter too large." },
  E_VALIDATION_ERROR: { kind: "failed", reason: "Cloudflare found the letter or its address invalid." },
  E_SENDER_NOT_VERIFIED: { kind: "retry", reason: "Cloudflare does not know the sender: verify MAIL_FROM there." },
  E_SENDER_DOMAIN_NOT_AVAILABLE: {
    kind: "retry",
    reason: "Cloudflare may not send for the domain of MAIL_FROM: set it up for sending there.",
  },
  E_RATE_LIMIT_EXCEEDED: { kind: "retry", reason: "Cloudflare takes no more letters this moment." },
  E_DAILY_LIMIT_EXCEEDED: {
    kind: "retry",
    reason: "Cloudflare takes no more letters today: the account's daily limit is reached.",
    afterSeconds: hourSeconds,
  },
};

function toOutcome(error: unknown): SendOutcome {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  const name = typeof code === "string" && /^\w{1,64}$/.test(code) ? code : null;
  if (name === null) {
    log("warn", "email_binding_failed", { cause: describeError(error) });
  }
  const outcome = name !== null && Object.hasOwn(known, name) ? known[name] : undefined;
  return (
    outcome ?? { kind: "retry", reason: `Cloudflare did not take the letter${name === null ? "" : ` (${name})`}.` }
  );
}

function isSendEmail(binding: unknown): binding is SendEmail {
  return typeof binding === "object" && binding !== null && typeof Reflect.get(binding, "send") === "function";
}
