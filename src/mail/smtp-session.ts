/** One conversation with an SMTP server (RFC 5321): commands out, replies in, TLS in between. Says only what it was told to say. */
import { utf8 } from "../base/bytes.js";

/** What this file needs of a socket; the platform's own fits. */
export interface SmtpSocket {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly opened: Promise<unknown>;
  startTls(): SmtpSocket;
  close(): Promise<void>;
}

/** What was going on when a conversation broke off. */
export type SmtpStep =
  | "connect"
  | "greeting"
  | "hello"
  | "starttls"
  | "secure"
  | "auth"
  | "sender"
  | "recipient"
  | "data"
  | "letter";

/** An answer of the server: its code, and its lines without it. */
export interface SmtpReply {
  readonly code: number;
  readonly lines: readonly string[];
}

/** A conversation that broke off. `reply` is the server's refusal, null when there was none: it was silent, gone, or said what is no SMTP. */
export class SmtpError extends Error {
  readonly step: SmtpStep;
  readonly reply: SmtpReply | null;

  constructor(step: SmtpStep, reply: SmtpReply | null, cause?: unknown) {
    super(`SMTP ${step}${reply === null ? "" : ` ${reply.code}`}`, cause === undefined ? undefined : { cause });
    this.name = "SmtpError";
    this.step = step;
    this.reply = reply;
  }
}

/** A conversation under way. `step` always says where it is. */
export interface SmtpSession {
  step: SmtpStep;
  socket: SmtpSocket;
  reader: ReadableStreamDefaultReader<Uint8Array>;
  writer: WritableStreamDefaultWriter<Uint8Array>;
  decoder: TextDecoder;
  /** What has arrived and was not read yet. */
  heard: string;
}

/** Far more than any server says at once. */
const longestReply = 16_384;

/** Waits for the connection and the server's greeting. */
export async function openSession(socket: SmtpSocket): Promise<SmtpSession> {
  const session: SmtpSession = { step: "connect", ...streamsOf(socket) };
  await guard(session, () => socket.opened);
  await expectReply(session, "greeting", 2);
  return session;
}

/** Sends a command line and answers its reply. Throws `SmtpError` unless the code's first digit is `kind`. */
export async function command(session: SmtpSession, step: SmtpStep, line: string, kind: 2 | 3): Promise<SmtpReply> {
  await write(session, step, `${line}\r\n`);
  return await expectReply(session, step, kind);
}

/** Sends what is no command: the message, dots doubled at the beginning of its lines (RFC 5321 §4.5.2). It ends in CRLF. */
export async function sendMessage(session: SmtpSession, message: string): Promise<SmtpReply> {
  await write(session, "letter", `${message.replace(/^\./gm, "..")}.\r\n`);
  return await expectReply(session, "letter", 2);
}

/** Goes over to TLS after the server agreed. What it said too early could be anybody's, so that ends the conversation. */
export async function secureSession(session: SmtpSession): Promise<void> {
  await command(session, "starttls", "STARTTLS", 2);
  if (session.heard !== "") {
    throw new SmtpError("secure", null);
  }
  session.step = "secure";
  session.reader.releaseLock();
  session.writer.releaseLock();
  Object.assign(session, streamsOf(session.socket.startTls()));
  await guard(session, () => session.socket.opened);
}

/** Says good-bye and hangs up. Never throws: the letter's fate is decided already. */
export async function closeSession(session: SmtpSession): Promise<void> {
  try {
    await session.writer.write(utf8("QUIT\r\n"));
    await session.socket.close();
  } catch {
    // Gone already, which is what was wanted.
  }
}

function streamsOf(socket: SmtpSocket): Omit<SmtpSession, "step"> {
  const decoder = new TextDecoder();
  return { socket, reader: socket.readable.getReader(), writer: socket.writable.getWriter(), decoder, heard: "" };
}

async function write(session: SmtpSession, step: SmtpStep, text: string): Promise<void> {
  session.step = step;
  await guard(session, () => session.writer.write(utf8(text)));
}

async function expectReply(session: SmtpSession, step: SmtpStep, kind: 2 | 3): Promise<SmtpReply> {
  session.step = step;
  const reply = await readReply(session);
  if (Math.floor(reply.code / 100) !== kind) {
    throw new SmtpError(step, reply);
  }
  return reply;
}

/** Reads lines up to the first whose code is followed by a blank (RFC 5321 §4.2.1). */
async function readReply(session: SmtpSession): Promise<SmtpReply> {
  const lines: string[] = [];
  for (let length = 0; length <= longestReply;) {
    const line = await readLine(session);
    const [, code = "", mark = "", text = ""] = /^(\d{3})([ -]?)(.*)$/.exec(line) ?? [];
    if (code === "") {
      throw new SmtpError(session.step, null);
    }
    lines.push(text);
    length += line.length;
    if (mark !== "-") {
      return { code: Number(code), lines };
    }
  }
  throw new SmtpError(session.step, null);
}

async function readLine(session: SmtpSession): Promise<string> {
  for (;;) {
    const end = session.heard.indexOf("\n");
    if (end >= 0) {
      const line = session.heard.slice(0, end).replace(/\r$/, "");
      session.heard = session.heard.slice(end + 1);
      return line;
    }
    const { done, value } = await guard(session, () => session.reader.read());
    if (done || session.heard.length > longestReply) {
      throw new SmtpError(session.step, null);
    }
    session.heard += session.decoder.decode(value, { stream: true });
  }
}

/** A broken connection becomes the step that it broke in. */
async function guard<T>(session: SmtpSession, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new SmtpError(session.step, null, error);
  }
}
