import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { commit, openDatabase } from "../../src/base/database.js";
import { backoffSeconds, consumeMail } from "../../src/mail/consumer.js";
import type { Letter, LetterWriter, LetterWriters } from "../../src/mail/letter.js";
import { letterKinds, outbox, type MailMessage } from "../../src/mail/model.js";
import { planLetters } from "../../src/mail/outbox.js";
import type { SendOutcome, Transport } from "../../src/mail/transport.js";

const db = openDatabase(env.DB);
const mail = "gatehouse-mail";
const dead = "gatehouse-mail-dead";

/** Treats subjects by their names. */
const write: LetterWriter = async (_env, _db, { subjectId, recipient, version }) => {
  if (subjectId.startsWith("inv_broken")) {
    throw new Error("the writer broke");
  }
  if (subjectId.startsWith("inv_gone")) {
    return null;
  }
  const text = `link of ${subjectId} at ${version}`;
  const letter = { to: recipient, subject: "Hello", text, html: `<p>${text}</p>` };
  return { letter, isCurrent: !subjectId.startsWith("inv_answered") };
};
const writers = Object.fromEntries(letterKinds.map((kind) => [kind, write])) as LetterWriters;

function transportOf(
  ...outcomes: readonly SendOutcome[]
): Transport & { readonly sent: Letter[]; readonly ids: string[] } {
  const sent: Letter[] = [];
  const ids: string[] = [];
  return {
    sent,
    ids,
    send(letter, letterId) {
      const outcome = outcomes[Math.min(sent.length, outcomes.length - 1)] ?? { kind: "sent" };
      sent.push(letter);
      ids.push(letterId);
      return Promise.resolve(outcome);
    },
  };
}

async function askFor(subjectId: string): Promise<MailMessage> {
  const order = { kind: "invite", workspaceId: "ws_1", subjectId, version: 1, recipient: "ada@example.com" } as const;
  const { statement, messages } = planLetters(db, [order], Date.now());
  await commit(db, [statement]);
  const [message] = messages;
  if (message === undefined) {
    throw new Error("no message planned");
  }
  return message;
}

async function consume(
  queue: string,
  bodies: readonly unknown[],
  attempts: number,
  transport?: Transport,
  environment = env,
) {
  const timestamp = new Date();
  const messages = bodies.map((body, index) => ({ id: `msg-${index}`, timestamp, attempts, body }));
  const batch = createMessageBatch(queue, messages);
  const delays = watchDelays(batch);
  await consumeMail(batch, environment, writers, transport);
  return { ...(await getQueueResult(batch, createExecutionContext())), delays };
}

/** The runner's own result leaves the delays out. */
function watchDelays(batch: MessageBatch): readonly (number | undefined)[] {
  const delays: (number | undefined)[] = [];
  for (const message of batch.messages) {
    const retry = message.retry.bind(message);
    message.retry = (options) => {
      delays.push(options?.delaySeconds);
      retry(options);
    };
  }
  return delays;
}

async function rowOf(message: MailMessage) {
  const [row] = await db.select().from(outbox).where(eq(outbox.id, message.id)).all();
  return row;
}

describe("the mail queue's consumer", () => {
  it("sends a letter once however often its message is delivered, and keeps its first sent mark", async ({
    expect,
  }) => {
    const message = await askFor("inv_1");
    const transport = transportOf({ kind: "sent" });
    const first = await consume(mail, [message, message], 1, transport);
    const sentAt = (await rowOf(message))?.sentAt;
    const second = await consume(mail, [message], 2, transport);
    expect([first.explicitAcks, second.explicitAcks]).toEqual([["msg-0", "msg-1"], ["msg-0"]]);
    expect(transport.sent).toHaveLength(1);
    expect(transport.ids).toEqual([message.id]);
    expect(await rowOf(message)).toMatchObject({ state: "sent", attempts: 1, sentAt, reason: null });
    expect(sentAt).toBeGreaterThan(0);
  });

  it("retries a failing transport with growing, capped delays and keeps the due time from the sweep", async ({
    expect,
  }) => {
    const message = await askFor("inv_2");
    const transport = transportOf({ kind: "retry", reason: "The mail server is busy." });
    const delays: (number | undefined)[] = [];
    for (let attempt = 1; attempt <= 9; attempt += 1) {
      const result = await consume(mail, [message], attempt, transport);
      expect(result.explicitAcks).toEqual([]);
      delays.push(...result.delays);
    }
    expect(delays).toEqual([15, 30, 60, 120, 240, 480, 960, 1800, 1800]);
    const row = await rowOf(message);
    expect(row).toMatchObject({ state: "queued", attempts: 9, reason: "The mail server is busy." });
    expect(row?.enqueuedAt).toBeGreaterThan(Date.now() + 1_790_000);
  });

  it("marks a dead letter failed with the last reason, once and for good", async ({ expect }) => {
    const message = await askFor("inv_3");
    await consume(mail, [message], 9, transportOf({ kind: "retry", reason: "No such host." }));
    const buried = await consume(dead, [message], 1);
    expect(buried.explicitAcks).toEqual(["msg-0"]);
    expect(await rowOf(message)).toMatchObject({ state: "failed", reason: "No such host." });
    const late = transportOf({ kind: "sent" });
    await consume(mail, [message], 1, late);
    expect(late.sent).toEqual([]);
    expect(await rowOf(message)).toMatchObject({ state: "failed" });
  });

  it("does not bury a letter that was sent by another copy of its message", async ({ expect }) => {
    const message = await askFor("inv_4");
    await consume(mail, [message], 1, transportOf({ kind: "sent" }));
    await consume(dead, [message], 1);
    expect(await rowOf(message)).toMatchObject({ state: "sent", reason: null });
  });

  it("marks what can never be delivered failed at once, without a retry", async ({ expect }) => {
    const message = await askFor("inv_5");
    const result = await consume(
      mail,
      [message],
      1,
      transportOf({ kind: "failed", reason: "The address does not exist." }),
    );
    expect([result.explicitAcks, result.retryMessages]).toEqual([["msg-0"], []]);
    expect(await rowOf(message)).toMatchObject({ state: "failed", reason: "The address does not exist." });
  });

  it("sends nothing about what has moved on or is gone", async ({ expect }) => {
    const messages = [await askFor("inv_answered"), await askFor("inv_gone")];
    const transport = transportOf({ kind: "sent" });
    const result = await consume(mail, messages, 1, transport);
    expect([transport.sent, result.explicitAcks]).toEqual([[], ["msg-0", "msg-1"]]);
    for (const message of messages) {
      expect(await rowOf(message)).toMatchObject({ state: "superseded" });
    }
  });

  it("lets no message of a batch hold up the others, and tells no inner error to whoever reads the reason", async ({
    expect,
  }) => {
    const broken = await askFor("inv_broken");
    const good = await askFor("inv_6");
    const transport = transportOf({ kind: "sent" });
    const result = await consume(
      mail,
      [{ hello: "world" }, broken, { ...good, id: "mail_absent" }, good],
      1,
      transport,
    );
    expect(result.explicitAcks).toEqual(["msg-0", "msg-2", "msg-3"]);
    expect(result.retryMessages.map(({ msgId }) => msgId)).toEqual(["msg-1"]);
    expect(await rowOf(broken)).toMatchObject({ state: "queued" });
    expect((await rowOf(broken))?.reason).not.toContain("the writer broke");
    expect(await rowOf(good)).toMatchObject({ state: "sent" });
  });

  it("waits while MAIL_TRANSPORT names nothing usable, and says so in the reason", async ({ expect }) => {
    const message = await askFor("inv_7");
    for (const unset of [
      { MAIL_TRANSPORT: "" },
      { MAIL_TRANSPORT: "outbox", PUBLIC_URL: "https://gatehouse.example.com" },
    ]) {
      const result = await consume(mail, [message], 1, undefined, { ...env, ...unset });
      expect(result.retryMessages).toHaveLength(1);
      expect(await rowOf(message)).toMatchObject({ state: "queued" });
    }
    expect((await rowOf(message))?.reason).toContain("MAIL_TRANSPORT");
    await consume(mail, [message], 3);
    expect(await rowOf(message)).toMatchObject({ state: "sent", attempts: 3 });
  });

  it("sends by the transport that MAIL_TRANSPORT names", async ({ expect }) => {
    const from = { MAIL_FROM: "gate@example.com" };
    const handed: unknown[] = [];
    const EMAIL = {
      send(letter: { readonly from: string; readonly to: string }) {
        handed.push([letter.from, letter.to]);
        return Promise.resolve({ messageId: "1" });
      },
    };
    const bound = await askFor("inv_9");
    await consume(mail, [bound], 1, undefined, { ...env, ...from, MAIL_TRANSPORT: "cloudflare", EMAIL } as typeof env);
    expect([handed, (await rowOf(bound))?.state]).toEqual([[["gate@example.com", "ada@example.com"]], "sent"]);

    const api = { MAIL_HTTP_URL: "https://api.mail.example/emails", MAIL_HTTP_TOKEN: "t" };
    const posted = await askFor("inv_10");
    await consume(mail, [posted], 1, undefined, { ...env, ...from, ...api, MAIL_TRANSPORT: "http" });
    expect((await rowOf(posted))?.reason).toMatch(/^The mail API did not take the letter: 502/);

    const smtp = { SMTP_HOST: "mail.example.com", SMTP_PORT: "25" };
    const refused = await askFor("inv_11");
    await consume(mail, [refused], 1, undefined, { ...env, ...from, ...smtp, MAIL_TRANSPORT: "smtp" });
    expect((await rowOf(refused))?.reason).toContain("no way to send mail");
  });

  it("waits from the first as long as MAIL_RETRY_SECONDS says", async ({ expect }) => {
    const message = await askFor("inv_8");
    const busy = transportOf({ kind: "retry", reason: "The mail server is busy." });
    const { delays } = await consume(mail, [message], 3, busy, { ...env, MAIL_RETRY_SECONDS: "2" } as typeof env);
    const { delays: none } = await consume(mail, [message], 9, busy, { ...env, MAIL_RETRY_SECONDS: "0" } as typeof env);
    expect([delays, none]).toEqual([[8], [0]]);
  });

  it("waits as long as the transport asks, up to half an hour", ({ expect }) => {
    expect([
      backoffSeconds(1, 15, 90),
      backoffSeconds(4, 15, 7),
      backoffSeconds(1, 15, 86_400),
      backoffSeconds(10_000, 15),
    ]).toEqual([90, 120, 1800, 1800]);
  });
});
