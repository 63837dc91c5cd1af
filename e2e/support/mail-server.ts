/** A real SMTP server on this machine: takes letters for a user, reads them as a mail program does, and can be told to refuse. */
import { type ParsedMail, simpleParser } from "mailparser";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";

/** A letter that arrived. */
export interface ArrivedLetter {
  readonly from: string;
  readonly to: readonly string[];
  /** Whether it came over TLS. */
  readonly isSecure: boolean;
  readonly raw: string;
  readonly mail: ParsedMail;
}

/** What the server says to everything of a kind: a code such as 451, or null to take it. */
export interface Mood {
  signIn: number | null;
  recipient: number | null;
  letter: number | null;
}

export interface MailServer {
  readonly port: number;
  readonly letters: ArrivedLetter[];
  readonly mood: Mood;
  /** How often somebody came, tried to sign in, and named a recipient. */
  readonly counts: { connections: number; signIns: number; recipients: number };
  stop(): Promise<void>;
}

interface Account {
  readonly user: string;
  readonly password: string;
}

class Refusal extends Error {
  readonly responseCode: number;

  constructor(code: number, message: string) {
    super(message);
    this.responseCode = code;
  }
}

/** Listens on a port of 127.0.0.1. `options` are smtp-server's own, such as `secure`, `key` and `cert`. */
export async function startMailServer(
  port: number,
  account: Account,
  options: SMTPServerOptions = {},
): Promise<MailServer> {
  const letters: ArrivedLetter[] = [];
  const mood: Mood = { signIn: null, recipient: null, letter: null };
  const counts = { connections: 0, signIns: 0, recipients: 0 };
  const server = new SMTPServer({
    ...options,
    onConnect(_session, done) {
      counts.connections += 1;
      done();
    },
    onAuth({ username, password }, _session, done) {
      counts.signIns += 1;
      const isRight = username === account.user && password === account.password;
      const code = mood.signIn ?? (isRight ? null : 535);
      if (code === null) {
        done(null, { user: account.user });
        return;
      }
      // A rude server: it repeats what it was given.
      done(new Refusal(code, `no sign-in for ${username} with ${password} (${btoa(password ?? "")})`));
    },
    onRcptTo({ address }, _session, done) {
      counts.recipients += 1;
      done(mood.recipient === null ? null : new Refusal(mood.recipient, `5.1.1 <${address}> is nobody here`));
    },
    onData(stream, session, done) {
      const pieces: Buffer[] = [];
      stream.on("data", (piece: Buffer) => pieces.push(piece));
      stream.on("end", () => {
        const whole = Buffer.concat(pieces);
        if (mood.letter !== null) {
          const link = /http\S+invites\S+/.exec(whole.toString("latin1"))?.[0] ?? "";
          done(new Refusal(mood.letter, `the letter has a bad link ${link}`));
          return;
        }
        const { mailFrom, rcptTo } = session.envelope;
        const from = mailFrom === false ? "" : mailFrom.address;
        const to = rcptTo.map(({ address }) => address);
        simpleParser(whole, (error, mail) => {
          letters.push({ from, to, isSecure: session.secure, raw: whole.toString("latin1"), mail });
          done(error);
        });
      });
    },
  });
  // A client that does not trust us hangs up; that is its right.
  server.on("error", () => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return { port, letters, mood, counts, stop: () => new Promise((resolve) => server.close(() => resolve())) };
}
