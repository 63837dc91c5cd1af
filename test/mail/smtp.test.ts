import { describe, it, vi } from "vitest";
import type { SmtpSettings } from "../../src/base/mail-settings.js";
import { Secret } from "../../src/base/secret.js";
import type { Letter } from "../../src/mail/letter.js";
import { smtpTransport } from "../../src/mail/smtp.js";
import { type Answers, type FakeServer, fakeServer } from "./fake-smtp.js";

const password = "canary-päss-4711";
const settings: SmtpSettings = {
  transport: "smtp",
  from: { name: "Gatehouse", address: "no-reply@gatehouse.example" },
  host: "mail.example.com",
  port: 587,
  tls: "starttls",
  login: { user: "gate", password: new Secret(password) },
};
const letter: Letter = {
  to: "ada@example.com",
  subject: "Hello",
  text: "First\n.dot\n..dots\nhttps://gatehouse.example/invites/inv_1.k1.abcdefgh\n",
  html: "<p>Hello</p>",
};
const signIn = base64(`\0gate\0${password}`);

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

async function send(server: FakeServer, more: Partial<SmtpSettings> = {}, to = letter.to) {
  const transport = smtpTransport({ ...settings, ...more }, "gatehouse.example", {
    open: () => server.socket,
    timeoutMs: 200,
  });
  return await transport.send({ ...letter, to }, "mail_1");
}

async function reasonOf(answers: Answers, more: Partial<SmtpSettings> = {}): Promise<string> {
  const outcome = await send(fakeServer(answers), more);
  return outcome.kind === "sent" ? "sent" : `${outcome.kind}: ${outcome.reason}`;
}

describe("a letter by SMTP", () => {
  it("is said in the right order, sign-in and letter inside TLS only, and ends with a good-bye", async ({ expect }) => {
    const server = fakeServer();
    expect(await send(server)).toEqual({ kind: "sent" });
    const [message = "", ...rest] = server.heard.slice(-2);
    expect([...server.heard.slice(0, -2), ...rest]).toEqual([
      "EHLO gatehouse.example",
      "STARTTLS",
      "EHLO gatehouse.example",
      `AUTH PLAIN ${signIn}`,
      "MAIL FROM:<no-reply@gatehouse.example>",
      "RCPT TO:<ada@example.com>",
      "DATA",
      "QUIT",
    ]);
    expect(message).toMatch(/^From: "Gatehouse"\r\n <no-reply@gatehouse\.example>\r\nTo: <ada@example\.com>\r\n/);
    expect(server.heardInTls).toHaveLength(7);
    expect(server.isClosed()).toBe(true);
  });

  it("keeps lines that begin with a dot, and none of them ends the letter", async ({ expect }) => {
    const server = fakeServer();
    await send(server);
    const message = server.heard.find((line) => line.startsWith("From: ")) ?? "";
    expect(message).toContain("\r\nFirst\r\n..dot\r\n...dots\r\n");
    expect(message.endsWith("--\r\n.")).toBe(true);
  });

  it("signs in by LOGIN where PLAIN is not taken, and not at all without a user", async ({ expect }) => {
    const login = fakeServer({
      EHLO: "250-x\r\n250-STARTTLS\r\n250 AUTH LOGIN CRAM-MD5",
      AUTH: "334 VXNlcm5hbWU6",
      [base64("gate")]: "334 UGFzc3dvcmQ6",
      [base64(password)]: "235 ok",
    });
    expect(await send(login)).toEqual({ kind: "sent" });
    expect(login.heardInTls.slice(1, 4)).toEqual(["AUTH LOGIN", base64("gate"), base64(password)]);
    const open = fakeServer();
    expect(await send(open, { login: null })).toEqual({ kind: "sent" });
    expect(open.heard.join("\n")).not.toContain("AUTH");
  });

  it("takes greetings and refusals of several lines, in any pieces", async ({ expect }) => {
    const server = fakeServer({
      greeting: "220-mail\r\n220-has\r\n220 much to say",
      RCPT: "550-5.1.1 nobody\r\n550 5.1.1 here",
    });
    expect(await send(server)).toEqual({
      kind: "failed",
      reason: "The mail server refused the address: 550 5.1.1 nobody 5.1.1 here",
    });
  });
});

describe("a password", () => {
  it("is not said to a server that offers no TLS, refuses it, or speaks before it is on", async ({ expect }) => {
    for (const answers of [
      { EHLO: "250-x\r\n250 AUTH PLAIN" },
      { STARTTLS: "454 4.7.0 not now" },
      { STARTTLS: "220 go on\r\n250 AUTH PLAIN" },
    ]) {
      const server = fakeServer(answers);
      expect(await send(server)).toMatchObject({ kind: "retry", reason: expect.stringContaining("TLS") });
      expect(server.heard.filter((line) => !/^(?:EHLO|STARTTLS)/.test(line))).toEqual([]);
    }
  });

  it("is in no reason and no log, however the server repeats it", async ({ expect }) => {
    const logged: string[] = [];
    for (const level of ["info", "warn", "error"] as const) {
      vi.spyOn(console, level).mockImplementation(
        (...words: unknown[]) => void logged.push(words.map(String).join(" ")),
      );
    }
    const reasons: string[] = [];
    for (const echo of [password, signIn, encodeURIComponent(password), base64(password)]) {
      reasons.push(await reasonOf({ AUTH: `535 5.7.8 bad ${echo}` }));
      reasons.push(await reasonOf({ MAIL: `553 5.7.1 not with ${echo}` }));
      reasons.push(await reasonOf({ RCPT: `550 not with ${echo}` }));
      reasons.push(await reasonOf({ message: `451 ${echo.slice(0, -1)}` }));
      reasons.push(await reasonOf({ AUTH: "close" }));
    }
    vi.restoreAllMocks();
    expect(reasons[0]).toBe("retry: The mail server refused the sign-in of SMTP_USER: 535 5.7.8");
    const all = [...reasons, ...logged].join("\n");
    for (const spelling of [password, signIn, encodeURIComponent(password), base64(password).slice(0, -3), "4711"]) {
      expect([spelling, all.includes(spelling)]).toEqual([spelling, false]);
    }
  });
});

describe("what goes wrong", () => {
  it("about the letter itself is final; about us, the server or the moment it is worth another attempt", async ({
    expect,
  }) => {
    const final = {
      RCPT: "550 5.1.1 nobody here",
      DATA: "554 5.6.0 no letters",
      message: "552 5.3.4 too big",
    };
    for (const [word, answer] of Object.entries(final)) {
      expect([word, await reasonOf({ [word]: answer })]).toEqual([word, expect.stringMatching(/^failed: /)]);
    }
    const passing: Answers = {
      greeting: "554 go away",
      EHLO: "500 what",
      AUTH: "535 wrong",
      MAIL: "553 5.7.1 not your address",
      RCPT: "451 4.7.1 greylisted",
      DATA: "421 4.3.2 going down",
      message: "452 4.2.2 mailbox full",
    };
    for (const [word, answer] of Object.entries(passing)) {
      const reason = await reasonOf({ [word]: answer });
      expect([word, reason]).toEqual([word, expect.stringMatching(/^retry: .*: (?:4|5)\d\d/)]);
    }
  });

  it("in silence or by hanging up is worth another attempt at every step, and never keeps the consumer waiting", async ({
    expect,
  }) => {
    for (const word of ["greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "message"]) {
      expect([word, await reasonOf({ [word]: "close" })]).toEqual([word, expect.stringMatching(/^retry: /)]);
      const started = Date.now();
      expect([word, await reasonOf({ [word]: null })]).toEqual([
        word,
        "retry: The mail server did not answer in time.",
      ]);
      expect(Date.now() - started).toBeLessThan(1_500);
    }
    expect(await reasonOf({ QUIT: null })).toBe("sent");
    expect(await reasonOf({ QUIT: "close" })).toBe("sent");
  });

  it("with a server that is none is told as that, whatever it says and how much", async ({ expect }) => {
    for (const greeting of ["HTTP/1.1 400 Bad Request", "SSH-2.0-x", "220-".repeat(9_000), "220-x\r\n".repeat(4_000)]) {
      expect(await reasonOf({ greeting })).toMatch(/^retry: The mail server did not (?:greet|answer)/);
    }
  });

  it("before a connection stands is told as unreachable", async ({ expect }) => {
    const refused = Promise.reject(new Error("connect refused"));
    refused.catch(() => undefined);
    const { socket } = fakeServer();
    const transport = smtpTransport(settings, "x", { open: () => ({ ...socket, opened: refused }), timeoutMs: 200 });
    expect(await transport.send(letter, "mail_1")).toEqual({
      kind: "retry",
      reason: "The mail server could not be reached.",
    });
  });

  it("with an address that could carry commands is final, and nobody is called", async ({ expect }) => {
    for (const to of [
      "a@b.example>\r\nRCPT TO:<c@d.example",
      "a b@c.example",
      "grün@example.com",
      "a@b@c>",
      "nobody",
      `${"a".repeat(250)}@example.com`,
    ]) {
      const server = fakeServer();
      expect(await send(server, {}, to)).toMatchObject({ kind: "failed" });
      expect(server.heard).toEqual([]);
    }
  });
});
