/** An SMTP server inside the test: answers a client's lines by a table, and remembers what it heard and whether TLS was on. */
import type { SmtpSocket } from "../../src/mail/smtp-session.js";

/** The first word of a line (and `message` for the letter itself) to the answer: text without its line's end, `close` to hang up, null for silence. */
export type Answers = Readonly<Record<string, string | null>>;

export interface FakeServer {
  readonly socket: SmtpSocket;
  /** Lines as they arrived, the message as one entry. */
  readonly heard: string[];
  /** Of these, what was said inside TLS. */
  readonly heardInTls: string[];
  isClosed(): boolean;
}

const usual: Answers = {
  greeting: "220 mail.example.com ready",
  EHLO: "250-mail.example.com hello\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME",
  STARTTLS: "220 go on",
  AUTH: "235 2.7.0 welcome",
  MAIL: "250 2.1.0 ok",
  RCPT: "250 2.1.5 ok",
  DATA: "354 go on",
  message: "250 2.0.0 queued",
  QUIT: "221 bye",
};

/** A server that answers as usual but for these. */
export function fakeServer(unusual: Answers = {}): FakeServer {
  const answers = { ...usual, ...unusual };
  const heard: string[] = [];
  const heardInTls: string[] = [];
  const state = { isClosed: false, isInData: false };
  const open = (isSecure: boolean): SmtpSocket => {
    const toClient = new TransformStream<Uint8Array, Uint8Array>();
    const toServer = new TransformStream<Uint8Array, Uint8Array>();
    const speaker = toClient.writable.getWriter();
    const say = async (word: string): Promise<void> => {
      const answer = answers[word] ?? (word in answers ? null : "500 what");
      if (answer === "close") {
        await speaker.close();
      } else if (answer !== null) {
        await speaker.write(new TextEncoder().encode(`${answer}\r\n`));
      }
    };
    const listen = async (): Promise<void> => {
      if (!isSecure) {
        await say("greeting");
      }
      let buffer = "";
      for await (const piece of toServer.readable.pipeThrough(new TextDecoderStream())) {
        buffer += piece;
        for (let end = endOf(buffer, state.isInData); end > 0; end = endOf(buffer, state.isInData)) {
          const line = buffer.slice(0, end).replace(/\r\n$/, "");
          buffer = buffer.slice(end);
          heard.push(line);
          (isSecure ? heardInTls : []).push(line);
          const word = state.isInData ? "message" : (line.split(" ")[0] ?? "");
          state.isInData = word === "DATA" && (answers["DATA"] ?? "").startsWith("3");
          await say(word);
        }
      }
    };
    // It ends when the client hangs up in the middle, as it may.
    listen().catch(() => undefined);
    return {
      readable: toClient.readable,
      writable: toServer.writable,
      opened: Promise.resolve(),
      startTls: () => open(true),
      close() {
        state.isClosed = true;
        return Promise.resolve();
      },
    };
  };
  return { socket: open(false), heard, heardInTls, isClosed: () => state.isClosed };
}

/** Where the next line ends, or the message in `DATA`; 0 when it has not arrived yet. */
function endOf(buffer: string, isInData: boolean): number {
  const mark = isInData ? "\r\n.\r\n" : "\r\n";
  const at = buffer.indexOf(mark);
  return at < 0 ? 0 : at + mark.length;
}
