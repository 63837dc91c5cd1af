/** Letters reach a real SMTP server, and what cannot be delivered says why. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { makeCertificate } from "./support/certificate.ts";
import { type Answer, type Call, connect, expectOk, makeTeam, type Team } from "./support/client.ts";
import { type ArrivedLetter, type MailServer, startMailServer } from "./support/mail-server.ts";
import { findFreePorts, type RunningServer, startServer } from "./support/server.ts";

const account = { user: "gatehouse", password: "canary-smtp-password-5e81c0" };
const certificate = makeCertificate();
const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-mail-"));
let port: number;
let mail: MailServer;
let server: RunningServer;
let stranger: Call;
let team: Team;

beforeAll(async () => {
  const file = path.join(folder, "trusted.pem");
  writeFileSync(file, certificate.cert);
  process.env["NODE_EXTRA_CA_CERTS"] = file;
  [port = 0] = await findFreePorts(1);
  mail = await openMail();
  server = await startServer({
    vars: {
      MAIL_TRANSPORT: "smtp",
      MAIL_FROM: "Gatehouse 门房 <no-reply@gatehouse.example>",
      MAIL_RETRY_SECONDS: "0",
      SMTP_HOST: "localhost",
      SMTP_PORT: String(port),
      SMTP_TLS: "implicit",
      SMTP_USER: account.user,
      SMTP_PASSWORD: account.password,
    },
  });
  stranger = connect(server.url, null);
  const body = { email: "ada@example.com", name: "Ada <b>Lovelace</b> 爱达", workspace: { name: "First" } };
  const setUp = expectOk(await connect(server.url, server.setupToken)("POST", "/setup", body));
  team = await makeTeam(server.url, String(setUp["session_token"]), "R&D “Zürich”");
});

afterAll(async () => {
  await server?.stop();
  await mail?.stop();
  delete process.env["NODE_EXTRA_CA_CERTS"];
  rmSync(folder, { recursive: true, force: true });
});

function openMail(): Promise<MailServer> {
  return startMailServer(port, account, { ...certificate, secure: true });
}

async function invite(email: string, locale = "en-US"): Promise<void> {
  expectOk(await team.call("POST", "/members/invite", { emails: [email], locale }));
}

async function until<T>(what: string, look: () => Promise<T | undefined>, limitMs = 45_000): Promise<T> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) {
      return found;
    }
    if (Date.now() > deadline) {
      throw new Error(`${what}: not within ${limitMs} ms; the Worker said\n${server.output().slice(-4_000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function letterTo(email: string): Promise<ArrivedLetter> {
  return until(`a letter to ${email}`, () => Promise.resolve(mail.letters.find(({ to }) => to.includes(email))));
}

async function stateOf(email: string): Promise<{ state: string; reason: string | null }> {
  const list = expectOk(await team.call("GET", "/invites?limit=200"));
  const found = (list["data"] as { email: string; state: string; reason: string | null }[]).find(
    (one) => one.email === email,
  );
  return found ?? { state: "absent", reason: null };
}

function ended(email: string): Promise<{ state: string; reason: string | null }> {
  return until(`an end for ${email}`, async () => {
    const state = await stateOf(email);
    return state.state === "pending" ? undefined : state;
  });
}

function linkIn(text: string): string {
  const [link = ""] = /^http\S+$/m.exec(text) ?? [];
  return link;
}

/** The link as a person uses it: looked at, then accepted. */
async function follow(link: string): Promise<Answer> {
  const token = new URL(link).pathname;
  expectOk(await stranger("GET", token, undefined, { accept: "application/json" }));
  return await stranger("POST", `${token}/accept`, { name: "Grace" });
}

describe("an invite by SMTP", () => {
  it("arrives with honest headers, the same words in two forms, and a link that lets its reader join", async ({
    expect,
  }) => {
    await invite("grace@example.com");
    const { from, to, isSecure, raw, mail: letter } = await letterTo("grace@example.com");
    expect([from, to, isSecure]).toEqual(["no-reply@gatehouse.example", ["grace@example.com"], true]);
    expect(letter.from?.value).toEqual([{ name: "Gatehouse 门房", address: "no-reply@gatehouse.example" }]);
    expect(letter.to).toMatchObject({ value: [{ name: "", address: "grace@example.com" }] });
    expect(letter.subject).toMatch(/^Ada <b>Lovelace<\/b> 爱达 invited you to R&D “Zürich” \w+$/);
    expect(letter.messageId).toMatch(/^<mail_[0-9a-z]{26}@gatehouse\.example>$/);
    expect(Math.abs((letter.date?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(letter.headers.get("auto-submitted")).toBe("auto-generated");
    expect(letter.headers.get("content-type")).toMatchObject({ value: "multipart/alternative" });
    expect(letter.attachments).toEqual([]);
    // oxlint-disable-next-line no-control-regex -- what may travel on every path is printable ASCII and CRLF
    expect(raw.split("\r\n").filter((line) => !/^[\t -~]{0,78}$/.test(line))).toEqual([]);

    const html = String(letter.html);
    const link = linkIn(letter.text ?? "");
    expect(link).toMatch(new RegExp(`^${server.url}/invites/inv_[0-9a-z]+\\.`));
    expect([...html.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, target]) => target)).toEqual([link, link]);
    expect(html).toContain("Ada &lt;b&gt;Lovelace&lt;/b&gt; 爱达 invited you to join the workspace R&amp;D “Zürich”");
    expect(letter.text).toContain("Ada <b>Lovelace</b> 爱达 invited you to join the workspace R&D “Zürich”");
    expect(html).not.toMatch(/<(?:img|script|link|style|iframe)\b|url\(|@import/i);

    const joined = await follow(link);
    expect(joined).toMatchObject({ status: 200, body: { account: { email: "grace@example.com" } } });
    expect(await stateOf("grace@example.com")).toMatchObject({ state: "accepted" });
    expect((await stranger("POST", `${new URL(link).pathname}/accept`, {})).status).toBe(404);
  });

  it("is in Chinese for a Chinese locale, in both forms", async ({ expect }) => {
    await invite("lin@example.com", "zh-CN");
    const { mail: letter } = await letterTo("lin@example.com");
    expect(letter.subject).toContain("邀请您加入");
    expect(letter.text).toContain("身份加入工作区");
    expect(String(letter.html)).toContain('<html lang="zh-CN">');
    expect(linkIn(letter.text ?? "")).toMatch(/\/invites\/inv_/);
  });

  it("that is put off arrives later, once", async ({ expect }) => {
    mail.mood.letter = 451;
    const before = mail.counts.connections;
    await invite("later@example.com");
    await until("three attempts", () => Promise.resolve(mail.counts.connections >= before + 3 || undefined));
    mail.mood.letter = null;
    await letterTo("later@example.com");
    expect(await ended("later@example.com")).toMatchObject({ state: "sent", reason: null });
    expect(mail.letters.filter(({ to }) => to.includes("later@example.com"))).toHaveLength(1);
  });
});

describe("an invite that cannot be delivered", () => {
  it("to an address that is refused fails at once, with the server's words", async ({ expect }) => {
    mail.mood.recipient = 550;
    const before = mail.counts.recipients;
    await invite("nobody@example.com");
    const { state, reason } = await ended("nobody@example.com");
    mail.mood.recipient = null;
    expect(state).toBe("delivery_failed");
    expect(reason).toBe("The mail server refused the address: 550 5.1.1 <nobody@example.com> is nobody here");
    expect(mail.counts.recipients).toBe(before + 1);
  });

  it("for its content fails without its link in the reason", async ({ expect }) => {
    mail.mood.letter = 554;
    await invite("spam@example.com");
    const { state, reason } = await ended("spam@example.com");
    mail.mood.letter = null;
    expect([state, reason]).toEqual([
      "delivery_failed",
      "The mail server refused the letter: 554 the letter has a bad link …",
    ]);
  });

  it("for a wrong password is tried again, then fails with a reason that does not hold it", async ({ expect }) => {
    mail.mood.signIn = 535;
    const before = mail.counts.signIns;
    await invite("auth@example.com");
    const { state, reason } = await ended("auth@example.com");
    mail.mood.signIn = null;
    expect([state, reason]).toEqual(["delivery_failed", "The mail server refused the sign-in of SMTP_USER: 535"]);
    expect(mail.counts.signIns).toBe(before + 9);
  });

  it("because the server is down is tried again, dead-lettered and shown with the reason", async ({ expect }) => {
    await mail.stop();
    await invite("down@example.com");
    const end = await ended("down@example.com");
    mail = await openMail();
    expect(end).toMatchObject({ state: "delivery_failed", reason: "The mail server could not be reached." });
    await invite("up-again@example.com");
    await letterTo("up-again@example.com");
  });
});

describe("the mail server's password", () => {
  it("is in no log line, and in nothing that is stored, the queue included", ({ expect }) => {
    const spellings = [account.password, btoa(account.password).replaceAll("=", "")];
    const signIn = btoa(`\0${account.user}\0${account.password}`).replaceAll("=", "");
    expect(server.output()).toContain("letter_delayed");
    const places = { output: server.output(), ...filesUnder(server.state) };
    expect(Object.keys(places).some((place) => place.endsWith(".sqlite"))).toBe(true);
    for (const [place, text] of Object.entries(places)) {
      const found = [...spellings, signIn].filter((spelling) => text.includes(spelling));
      expect([place, found]).toEqual([place, []]);
    }
  });
});

/** All stored files but the settings themselves, by name. */
function filesUnder(state: string): Record<string, string> {
  const files = readdirSync(state, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const named = files.map((entry) => path.join(entry.parentPath, entry.name));
  const stored = named.filter((file) => path.basename(file) !== "vars");
  return Object.fromEntries(stored.map((file) => [path.relative(state, file), readFileSync(file, "latin1")]));
}
