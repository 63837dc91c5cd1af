/** How mail leaves, as the environment says it: a transport with all it needs, or sentences that say what is missing. There is no default. */
import { Secret } from "./secret.js";
import type { SettingSource } from "./sign-in-settings.js";

/** The ways there are. `outbox` is for local runs: nothing leaves. */
const mailTransports = ["outbox", "smtp", "cloudflare", "http"] as const;
export type MailTransport = (typeof mailTransports)[number];

/** Who a letter is from. `name` is empty when none was given. */
export interface Mailbox {
  readonly name: string;
  readonly address: string;
}

/** `implicit`: TLS from the first byte (port 465). `starttls`: TLS before anything is said, or nothing is sent. `off`: local runs only. */
const smtpTlsModes = ["implicit", "starttls", "off"] as const;

/** An SMTP server that takes letters for delivery (RFC 6409). */
export interface SmtpSettings {
  readonly transport: "smtp";
  readonly from: Mailbox;
  readonly host: string;
  readonly port: number;
  readonly tls: (typeof smtpTlsModes)[number];
  readonly login: { readonly user: string; readonly password: Secret } | null;
}

/** A mail API that takes one JSON object a letter and a bearer token. */
export interface HttpMailSettings {
  readonly transport: "http";
  readonly from: Mailbox;
  readonly url: string;
  readonly token: Secret;
}

/** A transport that can be used. */
export type MailSettings =
  | { readonly transport: "outbox" }
  | { readonly transport: "cloudflare"; readonly from: Mailbox }
  | SmtpSettings
  | HttpMailSettings;

/** What the service is that reads them. */
interface Surroundings {
  readonly isLocal: boolean;
  /** Whether a `send_email` binding named EMAIL is there. */
  readonly hasEmailBinding: boolean;
}

/** What was read: `transport` as asked for, `mail` only when it can be used. */
interface MailReading {
  readonly transport: MailTransport | null;
  readonly mail: MailSettings | null;
  /** Wait before a letter's second attempt; doubles with each further one. */
  readonly retrySeconds: number;
}

const longestRetrySeconds = 1800;
const usualRetrySeconds = 15;
const submissionPort = 587;
const implicitTlsPort = 465;

/** Reads every mail setting. Problems go to the source; with one of the transport itself, `mail` is null and letters wait. */
export function readMailSettings(source: SettingSource, surroundings: Surroundings): MailReading {
  const retrySeconds = readRetrySeconds(source);
  const text = source.read("MAIL_TRANSPORT");
  const transport = mailTransports.find((name) => name === text) ?? null;
  if (transport === null) {
    const fault = text === "" ? "is not set, so no mail can be sent" : "is not a transport there is";
    const choices = `Choose one of ${mailTransports.join(", ")} (outbox is for local runs only).`;
    source.report("MAIL_TRANSPORT", `MAIL_TRANSPORT ${fault}. ${choices}`);
    return { transport, mail: null, retrySeconds };
  }
  return { transport, mail: readTransport(source, transport, surroundings), retrySeconds };
}

/** Every setting of the transport is read before it is found wanting, so that all that is missing is named at once. */
function readTransport(
  source: SettingSource,
  transport: MailTransport,
  surroundings: Surroundings,
): MailSettings | null {
  switch (transport) {
    case "outbox":
      return surroundings.isLocal ? { transport } : null;
    case "smtp":
      return readSmtp(source, surroundings.isLocal);
    case "http":
      return readHttp(source, surroundings.isLocal);
    case "cloudflare":
      return readCloudflare(source, surroundings.hasEmailBinding);
  }
}

function readCloudflare(source: SettingSource, hasEmailBinding: boolean): MailSettings | null {
  const from = readFrom(source);
  if (!hasEmailBinding) {
    source.report(
      "EMAIL",
      'MAIL_TRANSPORT=cloudflare needs a send_email binding named EMAIL: add [[send_email]] with name = "EMAIL" to wrangler.toml.',
    );
  }
  return from === null || !hasEmailBinding ? null : { transport: "cloudflare", from };
}

function readHttp(source: SettingSource, isLocal: boolean): HttpMailSettings | null {
  const from = readFrom(source);
  const text = source.read("MAIL_HTTP_URL");
  const url = URL.parse(text);
  const isUsable = url?.protocol === "https:" || (isLocal && url?.protocol === "http:");
  if (!isUsable) {
    source.report(
      "MAIL_HTTP_URL",
      "MAIL_HTTP_URL must be the https address that takes a letter, such as https://api.resend.com/emails.",
    );
  }
  const token = source.read("MAIL_HTTP_TOKEN");
  if (token === "") {
    source.report("MAIL_HTTP_TOKEN", "MAIL_HTTP_TOKEN is not set. It is sent to MAIL_HTTP_URL as a bearer token.");
  }
  return from === null || !isUsable || token === ""
    ? null
    : { transport: "http", from, url: text, token: new Secret(token) };
}

function readSmtp(source: SettingSource, isLocal: boolean): SmtpSettings | null {
  const from = readFrom(source);
  const host = readHost(source);
  const port = readPort(source);
  const tls = readTls(source, port ?? submissionPort, isLocal);
  const login = readLogin(source);
  return from === null || host === null || port === null || tls === null || login === undefined
    ? null
    : { transport: "smtp", from, host, port, tls, login };
}

function readHost(source: SettingSource): string | null {
  const host = source.read("SMTP_HOST");
  if (/^(?:[a-z0-9-]+\.)*[a-z0-9-]+$/i.test(host)) {
    return host;
  }
  source.report("SMTP_HOST", "SMTP_HOST must be the mail server's name, such as smtp.example.com, without a port.");
  return null;
}

function readPort(source: SettingSource): number | null {
  const text = source.read("SMTP_PORT");
  const port = text === "" ? submissionPort : Number(text);
  if (port === 25) {
    source.report(
      "SMTP_PORT",
      "SMTP_PORT must not be 25: Workers cannot connect to it. Use 587 (STARTTLS) or 465 (TLS) of the same server.",
    );
    return null;
  }
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    source.report("SMTP_PORT", "SMTP_PORT must be 587 (STARTTLS), 465 (TLS) or another port number; 587 when not set.");
    return null;
  }
  return port;
}

function readTls(source: SettingSource, port: number, isLocal: boolean): SmtpSettings["tls"] | null {
  const text = source.read("SMTP_TLS").toLowerCase();
  if (text === "") {
    return port === implicitTlsPort ? "implicit" : "starttls";
  }
  const mode = smtpTlsModes.find((word) => word === text) ?? null;
  if (mode === null || (mode === "off" && !isLocal)) {
    const advice =
      mode === "off" ? "off is for local runs only; remove it" : "use implicit or starttls, or leave it out";
    source.report("SMTP_TLS", `SMTP_TLS cannot be used: ${advice}.`);
    return null;
  }
  return mode;
}

/** Null without a sign-in, undefined for half of one. */
function readLogin(source: SettingSource): SmtpSettings["login"] | undefined {
  const user = source.read("SMTP_USER");
  const password = source.read("SMTP_PASSWORD");
  if ((user === "") !== (password === "")) {
    const missing = user === "" ? "SMTP_USER" : "SMTP_PASSWORD";
    source.report(
      missing,
      `${missing} is not set. The mail server's sign-in needs SMTP_USER and SMTP_PASSWORD, or neither.`,
    );
    return undefined;
  }
  return user === "" ? null : { user, password: new Secret(password) };
}

/** `address`, `<address>` or `Name <address>`. Plain ASCII addresses only: nothing else gets through every server. */
function readFrom(source: SettingSource): Mailbox | null {
  const text = source.read("MAIL_FROM");
  const bracketed = /^"?([^"<>\p{Cc}]*?)"?\s*<([^<>]*)>$/u.exec(text);
  const name = bracketed?.[1]?.trim() ?? "";
  const address = bracketed?.[2] ?? text;
  if (/^[\w.!#$%&'*+/=?^`{|}~-]+@(?:[a-z0-9-]+\.)*[a-z0-9-]+$/i.test(address)) {
    return { name, address };
  }
  source.report(
    "MAIL_FROM",
    "MAIL_FROM must be the address that letters come from, such as Gatehouse <gatehouse@example.com>.",
  );
  return null;
}

function readRetrySeconds(source: SettingSource): number {
  const text = source.read("MAIL_RETRY_SECONDS");
  const seconds = text === "" ? usualRetrySeconds : Number(text);
  if (Number.isInteger(seconds) && seconds >= 0 && seconds <= longestRetrySeconds) {
    return seconds;
  }
  source.report(
    "MAIL_RETRY_SECONDS",
    `MAIL_RETRY_SECONDS must be a whole number from 0 to ${longestRetrySeconds}, or not set, which means ${usualRetrySeconds}.`,
  );
  return usualRetrySeconds;
}
