/** Letters by SMTP: a mail server's submission port (RFC 6409), over TLS unless a local run says otherwise. A password never travels in clear. */
import { connect } from "cloudflare:sockets";
import { utf8 } from "../base/bytes.js";
import { describeError, log } from "../base/log.js";
import type { SmtpSettings } from "../base/mail-settings.js";
import type { Letter } from "./letter.js";
import { isPlainAddress, writeMessage } from "./message.js";
import { quoteAnswer } from "./reason.js";
import {
  closeSession,
  command,
  openSession,
  secureSession,
  sendMessage,
  SmtpError,
  type SmtpReply,
  type SmtpSession,
  type SmtpSocket,
  type SmtpStep,
} from "./smtp-session.js";
import type { SendOutcome, Transport } from "./transport.js";

/** How the transport connects and for how long it waits; the platform's way and half a minute when not given. */
interface SmtpOptions {
  readonly open?: (settings: SmtpSettings) => SmtpSocket;
  /** For the whole conversation. */
  readonly timeoutMs?: number;
}

const usualTimeoutMs = 30_000;
/** A letter that was taken is sent; nobody waits long for a good-bye. */
const goodbyeMs = 1_000;

/** An end that no reply of the server stands for. Its message is the reason. */
class SmtpSetback extends Error {
  override readonly name = "SmtpSetback";
}

/** The transport for an SMTP server. `helloName` is what this service calls itself: its public host. */
export function smtpTransport(settings: SmtpSettings, helloName: string, options: SmtpOptions = {}): Transport {
  const open = options.open ?? openSocket;
  const timeoutMs = options.timeoutMs ?? usualTimeoutMs;
  return {
    async send(letter, letterId) {
      if (!isPlainAddress(letter.to)) {
        return { kind: "failed", reason: "The address has characters that mail servers do not take." };
      }
      const message = writeMessage(letter, settings.from, letterId, Date.now());
      try {
        await converse(open(settings), timeoutMs, (session) =>
          deliver(session, settings, helloName, letter.to, message),
        );
        return { kind: "sent" };
      } catch (error) {
        return toOutcome(error, settings, letter);
      }
    },
  };
}

function openSocket({ host, port, tls }: SmtpSettings): SmtpSocket {
  const secureTransport = tls === "implicit" ? "on" : tls;
  return connect({ hostname: host, port }, { secureTransport, allowHalfOpen: false });
}

/** Runs a conversation within its time and hangs up, however it ends. */
async function converse(
  socket: SmtpSocket,
  timeoutMs: number,
  talk: (session: SmtpSession) => Promise<void>,
): Promise<void> {
  try {
    await within(timeoutMs, meet(socket, talk), () => {
      throw new SmtpSetback("The mail server did not answer in time.");
    });
  } finally {
    // What waits on the socket still, such as a write that nobody reads, fails by this.
    await within(goodbyeMs, hangUp(socket), () => undefined);
  }
}

async function meet(socket: SmtpSocket, talk: (session: SmtpSession) => Promise<void>): Promise<void> {
  const session = await openSession(socket);
  await talk(session);
  await within(goodbyeMs, closeSession(session), () => undefined);
}

async function hangUp(socket: SmtpSocket): Promise<void> {
  try {
    await socket.close();
  } catch {
    // It never opened, or the server was faster.
  }
}

/** Waits for work, but not longer than `limitMs`: then `late` says what. */
async function within(limitMs: number, work: Promise<void>, late: () => void): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), limitMs);
  });
  try {
    if ((await Promise.race([work, limit])) === "late") {
      late();
    }
  } finally {
    clearTimeout(timer);
  }
}

async function deliver(
  session: SmtpSession,
  settings: SmtpSettings,
  helloName: string,
  recipient: string,
  message: string,
): Promise<void> {
  let abilities = await greet(session, helloName);
  if (settings.tls === "starttls") {
    if (!abilities.has("STARTTLS")) {
      throw new SmtpSetback(
        "The mail server offers no TLS on this port, so nothing was sent. See SMTP_TLS and SMTP_PORT.",
      );
    }
    await secureSession(session);
    // What the server offered before may have been anybody's words (RFC 3207 §4.2).
    abilities = await greet(session, helloName);
  }
  if (settings.login !== null) {
    await signIn(session, settings.login, abilities.get("AUTH") ?? "");
  }
  await command(session, "sender", `MAIL FROM:<${settings.from.address}>`, 2);
  await command(session, "recipient", `RCPT TO:<${recipient}>`, 2);
  await command(session, "data", "DATA", 3);
  await sendMessage(session, message);
}

/** Says hello; answers what the server can do, by keyword, in upper case. */
async function greet(session: SmtpSession, helloName: string): Promise<ReadonlyMap<string, string>> {
  const { lines } = await command(session, "hello", `EHLO ${helloName}`, 2);
  return new Map(
    lines.slice(1).map((line) => {
      const [keyword = "", ...words] = line.toUpperCase().split(/[ =]/);
      return [keyword, words.join(" ")];
    }),
  );
}

/** PLAIN (RFC 4616) or the older LOGIN; both only inside TLS, but on local runs. */
async function signIn(
  session: SmtpSession,
  { user, password }: NonNullable<SmtpSettings["login"]>,
  offered: string,
): Promise<void> {
  const mechanisms = offered.split(" ");
  if (mechanisms.includes("PLAIN")) {
    await command(session, "auth", `AUTH PLAIN ${toBase64(`\0${user}\0${password.reveal()}`)}`, 2);
    return;
  }
  if (!mechanisms.includes("LOGIN")) {
    throw new SmtpSetback("The mail server takes neither of the sign-ins that are known here: PLAIN and LOGIN.");
  }
  await command(session, "auth", "AUTH LOGIN", 3);
  await command(session, "auth", toBase64(user), 3);
  await command(session, "auth", toBase64(password.reveal()), 2);
}

function toBase64(text: string): string {
  return btoa(Array.from(utf8(text), (byte) => String.fromCharCode(byte)).join(""));
}

/** Steps in which a server speaks about this letter alone; a final no to anything else is about us, and the operator's to mend. */
const aboutTheLetter: ReadonlySet<SmtpStep> = new Set(["recipient", "data", "letter"]);

function toOutcome(error: unknown, settings: SmtpSettings, letter: Letter): SendOutcome {
  if (error instanceof SmtpSetback) {
    return { kind: "retry", reason: error.message };
  }
  if (!(error instanceof SmtpError)) {
    throw error;
  }
  if (error.reply === null) {
    log("warn", "smtp_broke_off", { step: error.step, cause: describeError(error.cause) });
    return { kind: "retry", reason: silences[error.step] };
  }
  const isFinal = error.reply.code >= 500 && aboutTheLetter.has(error.step);
  const said = error.step === "auth" ? codesOf(error.reply) : quoteReply(error.reply, settings, letter.to);
  return { kind: isFinal ? "failed" : "retry", reason: `${refusals[error.step]}: ${said}` };
}

function quoteReply(reply: SmtpReply, { login }: SmtpSettings, recipient: string): string {
  return quoteAnswer(`${reply.code} ${reply.lines.join(" ")}`, login === null ? [] : [login.password], recipient);
}

/** The codes alone: a server may repeat what it was given to sign in with. */
function codesOf(reply: SmtpReply): string {
  const enhanced = /^[245]\.\d{1,3}\.\d{1,3}(?= |$)/.exec(reply.lines[0] ?? "")?.[0] ?? "";
  return `${reply.code} ${enhanced}`.trim();
}

const brokenOff = "The connection to the mail server broke off.";
const silences: Readonly<Record<SmtpStep, string>> = {
  connect: "The mail server could not be reached.",
  greeting: "The mail server did not greet as mail servers do. See SMTP_HOST, SMTP_PORT and SMTP_TLS.",
  hello: brokenOff,
  starttls: brokenOff,
  secure: "The mail server's TLS could not be trusted.",
  auth: brokenOff,
  sender: brokenOff,
  recipient: brokenOff,
  data: brokenOff,
  letter: brokenOff,
};
const refusals: Readonly<Record<SmtpStep, string>> = {
  connect: "The mail server could not be reached",
  greeting: "The mail server turned the connection away",
  hello: "The mail server turned the connection away",
  starttls: "The mail server refused TLS",
  secure: "The mail server refused TLS",
  auth: "The mail server refused the sign-in of SMTP_USER",
  sender: "The mail server refused the sender",
  recipient: "The mail server refused the address",
  data: "The mail server refused the letter",
  letter: "The mail server refused the letter",
};
