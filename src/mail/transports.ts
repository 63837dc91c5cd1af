/** The way letters leave, chosen by MAIL_TRANSPORT. */
import type { Settings } from "../base/settings.js";
import { cloudflareTransport, emailBinding } from "./cloudflare.js";
import { httpTransport } from "./http-api.js";
import { smtpTransport } from "./smtp.js";
import type { Transport } from "./transport.js";

/** Local runs: nothing leaves. The letter itself is kept nowhere; /dev/outbox writes it anew from its row. */
const outboxTransport: Transport = {
  send: () => Promise.resolve({ kind: "sent" }),
};

/** Stands in while MAIL_TRANSPORT names nothing usable: /readyz says what is missing, and letters wait in the queue. */
const unavailable: Transport = {
  send: () =>
    Promise.resolve({
      kind: "retry",
      reason: "This service has no way to send mail. Set MAIL_TRANSPORT; see /readyz.",
    }),
};

/** The transport of these settings. */
export function chooseTransport(env: object, settings: Settings): Transport {
  const { mail } = settings;
  switch (mail?.transport) {
    case "outbox":
      return outboxTransport;
    case "smtp":
      return smtpTransport(mail, toHelloName(settings.publicUrl));
    case "http":
      return httpTransport(mail, {
        allow: settings.outboundAllow.join(" "),
        ownHosts: [new URL(settings.publicUrl).host],
      });
    case "cloudflare": {
      const binding = emailBinding(env);
      return binding === null ? unavailable : cloudflareTransport(binding, mail.from);
    }
    case undefined:
      return unavailable;
  }
}

/** What this service calls itself to a mail server: its name, or an address in brackets (RFC 5321 §4.1.3). */
function toHelloName(publicUrl: string): string {
  const { hostname } = new URL(publicUrl);
  return /^[\d.]+$/.test(hostname) ? `[${hostname}]` : hostname.replace(/^\[(?=.*:)/, "[IPv6:");
}
