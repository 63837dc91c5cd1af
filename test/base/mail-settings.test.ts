import { describe, it } from "vitest";
import { type Mailbox, type MailSettings, readMailSettings } from "../../src/base/mail-settings.js";

interface Read {
  readonly mail: MailSettings | null;
  readonly retrySeconds: number;
  readonly problems: readonly string[];
  readonly details: string;
}

function read(given: Readonly<Record<string, string>>, isLocal = false, hasEmailBinding = false): Read {
  const found: { setting: string; detail: string }[] = [];
  const source = {
    read: (setting: string) => given[setting] ?? "",
    report: (setting: string, detail: string) => void found.push({ setting, detail }),
  };
  const { mail, retrySeconds } = readMailSettings(source, { isLocal, hasEmailBinding });
  const details = found.map(({ detail }) => detail).join(" ");
  return { mail, retrySeconds, problems: found.map(({ setting }) => setting), details };
}

const smtp = { MAIL_TRANSPORT: "smtp", MAIL_FROM: "gate@example.com", SMTP_HOST: "smtp.example.com" };

function fromOf(text: string): Mailbox | null {
  const { mail } = read({ ...smtp, MAIL_FROM: text });
  return mail !== null && "from" in mail ? mail.from : null;
}

describe("mail settings", () => {
  it("have no default transport, and none is guessed", ({ expect }) => {
    for (const transport of ["", "SMTP", "sendmail"]) {
      expect(read({ ...smtp, MAIL_TRANSPORT: transport })).toMatchObject({ mail: null, problems: ["MAIL_TRANSPORT"] });
    }
  });

  it("name all that a transport misses at once", ({ expect }) => {
    expect(read({ MAIL_TRANSPORT: "smtp", SMTP_USER: "u" }).problems).toEqual([
      "MAIL_FROM",
      "SMTP_HOST",
      "SMTP_PASSWORD",
    ]);
    expect(read({ MAIL_TRANSPORT: "http" }).problems).toEqual(["MAIL_FROM", "MAIL_HTTP_URL", "MAIL_HTTP_TOKEN"]);
    expect(read({ MAIL_TRANSPORT: "cloudflare" }).problems).toEqual(["MAIL_FROM", "EMAIL"]);
    expect(read({ MAIL_TRANSPORT: "outbox" })).toMatchObject({ mail: null, problems: [] });
    expect(read({ MAIL_TRANSPORT: "outbox" }, true)).toMatchObject({ mail: { transport: "outbox" }, problems: [] });
  });

  it("take port 587 with STARTTLS when nothing is said, TLS at once on 465, and refuse 25 with the reason", ({
    expect,
  }) => {
    expect(read(smtp).mail).toMatchObject({ port: 587, tls: "starttls", login: null });
    expect(read({ ...smtp, SMTP_PORT: "465" }).mail).toMatchObject({ port: 465, tls: "implicit" });
    expect(read({ ...smtp, SMTP_PORT: "2525" }).mail).toMatchObject({ port: 2525, tls: "starttls" });
    const refused = read({ ...smtp, SMTP_PORT: "25" });
    expect(refused).toMatchObject({ mail: null, problems: ["SMTP_PORT"] });
    expect(refused.details).toMatch(/must not be 25.*587.*465/);
    for (const port of ["0", "70000", "x", "5.5"]) {
      expect(read({ ...smtp, SMTP_PORT: port }).problems).toEqual(["SMTP_PORT"]);
    }
  });

  it("let TLS be off on local runs only", ({ expect }) => {
    expect(read({ ...smtp, SMTP_TLS: "off" })).toMatchObject({ mail: null, problems: ["SMTP_TLS"] });
    expect(read({ ...smtp, SMTP_TLS: "off" }, true).mail).toMatchObject({ tls: "off" });
    expect(read({ ...smtp, SMTP_TLS: "maybe" }, true).problems).toEqual(["SMTP_TLS"]);
    const http = {
      MAIL_TRANSPORT: "http",
      MAIL_FROM: "a@b.example",
      MAIL_HTTP_TOKEN: "t",
      MAIL_HTTP_URL: "http://127.0.0.1/m",
    };
    expect([read(http).mail, read(http, true).mail?.transport]).toEqual([null, "http"]);
  });

  it("read a sender with or without a name, and refuse what could carry a header", ({ expect }) => {
    expect(fromOf("gate@example.com")).toEqual({ name: "", address: "gate@example.com" });
    expect(fromOf("<gate@example.com>")).toEqual({ name: "", address: "gate@example.com" });
    expect(fromOf("Gatehouse 门房 <gate@example.com>")).toEqual({
      name: "Gatehouse 门房",
      address: "gate@example.com",
    });
    expect(fromOf('"Gate, Inc." <gate@example.com>')).toEqual({ name: "Gate, Inc.", address: "gate@example.com" });
    for (const text of [
      "",
      "gate",
      "a@b@c",
      "x\r\nBcc: y <gate@example.com>",
      "Gate <gate@exa mple.com>",
      "<a@b.c>\r\nX: y",
    ]) {
      expect([text, fromOf(text)]).toEqual([text, null]);
    }
  });

  it("keep passwords and tokens in wrappers that do not print, and out of every sentence", ({ expect }) => {
    const { mail } = read({ ...smtp, SMTP_USER: "u", SMTP_PASSWORD: "canary-password" });
    expect(JSON.stringify(mail)).toContain("[redacted]");
    const wrong = read({ ...smtp, SMTP_PORT: "25", SMTP_PASSWORD: "canary-password", MAIL_RETRY_SECONDS: "x" });
    expect(wrong.problems).toEqual(["MAIL_RETRY_SECONDS", "SMTP_PORT", "SMTP_USER"]);
    expect(wrong.details).not.toContain("canary");
  });

  it("need the binding for cloudflare", ({ expect }) => {
    const given = { MAIL_TRANSPORT: "cloudflare", MAIL_FROM: "gate@example.com" };
    expect(read(given, false, true)).toMatchObject({ mail: { transport: "cloudflare" }, problems: [] });
    expect(read(given).details).toContain("send_email");
  });

  it("take a wait before the second attempt, 15 seconds when none is given", ({ expect }) => {
    expect([read(smtp).retrySeconds, read({ ...smtp, MAIL_RETRY_SECONDS: "0" }).retrySeconds]).toEqual([15, 0]);
    for (const text of ["-1", "1801", "1.5", "soon"]) {
      expect(read({ ...smtp, MAIL_RETRY_SECONDS: text })).toMatchObject({
        retrySeconds: 15,
        problems: ["MAIL_RETRY_SECONDS"],
      });
    }
  });
});
