/** A letter and the mail server's password leave under TLS, or not at all. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { makeCertificate } from "./support/certificate.ts";
import { type Call, connect, expectOk } from "./support/client.ts";
import { type MailServer, startMailServer } from "./support/mail-server.ts";
import { findFreePorts, type RunningServer, startServer } from "./support/server.ts";

const account = { user: "gatehouse", password: "tls-password-ß-77" };
const trusted = makeCertificate();
const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-tls-"));
let port: number;
let server: RunningServer;
let call: Call;

beforeAll(async () => {
  const file = path.join(folder, "trusted.pem");
  writeFileSync(file, trusted.cert);
  process.env["NODE_EXTRA_CA_CERTS"] = file;
  [port = 0] = await findFreePorts(1);
  server = await startServer({
    vars: {
      MAIL_TRANSPORT: "smtp",
      MAIL_FROM: "no-reply@gatehouse.example",
      MAIL_RETRY_SECONDS: "0",
      SMTP_HOST: "localhost",
      SMTP_PORT: String(port),
      SMTP_USER: account.user,
      SMTP_PASSWORD: account.password,
    },
  });
  const body = { email: "ada@example.com", name: "Ada", workspace: { name: "First" } };
  const setUp = expectOk(await connect(server.url, server.setupToken)("POST", "/setup", body));
  call = connect(server.url, String(setUp["session_token"]));
});

afterAll(async () => {
  delete process.env["NODE_EXTRA_CA_CERTS"];
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Invites somebody while this mail server is there, and waits until the Worker's log says a word about the attempt or the letter is here. */
async function inviteBy(email: string, mail: MailServer, word: string | null): Promise<void> {
  expectOk(await call("POST", "/workspaces/current/members/invite", { emails: [email] }));
  const isOver = () => (word === null ? mail.letters.length > 0 : server.output().includes(word));
  for (let round = 0; !isOver(); round += 1) {
    if (round === 200) {
      throw new Error(`nothing happened for ${email}; the Worker said\n${server.output()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await mail.stop();
}

describe("SMTP by STARTTLS", () => {
  it("secures the connection before it signs in and sends", async ({ expect }) => {
    const mail = await startMailServer(port, account, trusted);
    await inviteBy("grace@example.com", mail, null);
    expect(mail.letters).toMatchObject([{ isSecure: true, to: ["grace@example.com"] }]);
    expect(mail.counts.signIns).toBe(1);
  });

  it("tells nothing to a server that offers no TLS, whoever took the offer away", async ({ expect }) => {
    const options = { hideSTARTTLS: true, allowInsecureAuth: true, authOptional: true };
    const mail = await startMailServer(port, account, options);
    await inviteBy("bare@example.com", mail, "offers no TLS on this port, so nothing was sent");
    expect(mail.counts.connections).toBeGreaterThan(0);
    expect(mail.counts).toMatchObject({ signIns: 0, recipients: 0 });
  });

  it("tells nothing to a server whose certificate nobody vouches for", async ({ expect }) => {
    const mail = await startMailServer(port, account, makeCertificate());
    await inviteBy("stranger@example.com", mail, "TLS could not be trusted");
    expect(mail.counts.connections).toBeGreaterThan(0);
    expect(mail.counts).toMatchObject({ signIns: 0, recipients: 0 });
  });
});
