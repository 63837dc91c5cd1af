/** The whole way of a letter by hand: asked for over HTTP, consumed, buried, shown. */
import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { consumeMail } from "../../src/mail/consumer.js";
import type { Letter } from "../../src/mail/letter.js";
import { outbox } from "../../src/mail/model.js";
import type { SendOutcome, Transport } from "../../src/mail/transport.js";
import { letterWriters } from "../../src/workspaces/letters.js";
import { call } from "../support/client.js";
import { db, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

/** An invite whose letter waits again after the runner's own queue had brought it. */
async function seedWaitingLetter(email: string, locale = "en-US") {
  const workspace = await seedWorkspace();
  const answer = await call("POST", `/workspaces/${workspace.id}/members/invite`, {
    token: workspace.token,
    body: { emails: [email], locale },
  });
  const inviteId: string = answer.body.results[0].invite_id;
  for (let round = 0; (await rowOf(inviteId)).state !== "sent"; round += 1) {
    if (round > 100) {
      throw new Error("the runner's queue did not deliver");
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await db.update(outbox).set({ state: "queued", attempts: 0, sentAt: null }).where(eq(outbox.subjectId, inviteId));
  return { workspace, inviteId };
}

async function rowOf(inviteId: string) {
  const [row] = await db.select().from(outbox).where(eq(outbox.subjectId, inviteId)).all();
  if (row === undefined) {
    throw new Error("no letter");
  }
  return row;
}

async function deliver(inviteId: string, queue: string, transport: Transport, attempts = 1) {
  const { id, kind, version } = await rowOf(inviteId);
  const body = { id, kind, version };
  const batch = createMessageBatch(queue, [{ id: "msg", timestamp: new Date(), attempts, body }]);
  await consumeMail(batch, env, letterWriters, transport);
  return await getQueueResult(batch, createExecutionContext());
}

function transportOf(outcome: SendOutcome): Transport & { readonly sent: (Letter & { readonly id: string })[] } {
  const sent: (Letter & { readonly id: string })[] = [];
  return {
    sent,
    send(letter, id) {
      sent.push({ ...letter, id });
      return Promise.resolve(outcome);
    },
  };
}

async function shownIn(workspace: SeededWorkspace, email: string): Promise<{ state: string; reason: string | null }> {
  const { body } = await call("GET", `/workspaces/${workspace.id}/invites`, { token: workspace.token });
  return body.data.find((invite: { email: string }) => invite.email === email);
}

describe("a letter's delivery", () => {
  it("three times, its outcome unknown each time, brings one letter with one link, and one member", async ({
    expect,
  }) => {
    const email = "thrice@example.com";
    const { workspace, inviteId } = await seedWaitingLetter(email);
    const lost = transportOf({ kind: "retry", reason: "The connection to the mail server broke off." });
    for (const attempts of [1, 2, 3]) {
      await deliver(inviteId, "gatehouse-mail", lost, attempts);
    }
    expect(lost.sent).toHaveLength(3);
    expect(lost.sent[1]).toEqual(lost.sent[0]);
    expect(lost.sent[2]).toEqual(lost.sent[0]);
    const links = lost.sent.map(({ text }) => /^http\S+$/m.exec(text)?.[0] ?? "");
    expect(new Set(links).size).toBe(1);
    const path = new URL(links[0] ?? "").pathname;
    const answers = await Promise.all(links.map(() => call("POST", `${path}/accept`, { body: { name: "Thrice" } })));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 404, 404]);
    const { body } = await call("GET", `/workspaces/${workspace.id}/members`, { token: workspace.token });
    expect(body.data.filter((member: { account: { email: string } }) => member.account.email === email)).toHaveLength(
      1,
    );
  });

  it("whose retries are used up is shown as delivery_failed with the last reason, and stays so", async ({ expect }) => {
    const email = "dead@example.com";
    const { workspace, inviteId } = await seedWaitingLetter(email, "zh-CN");
    const down = transportOf({ kind: "retry", reason: "The mail server could not be reached." });
    const result = await deliver(inviteId, "gatehouse-mail", down, 9);
    expect(result.retryMessages).toHaveLength(1);
    expect(await shownIn(workspace, email)).toMatchObject({ state: "pending", reason: null });
    const buried = await deliver(inviteId, "gatehouse-mail-dead", down);
    expect(buried.explicitAcks).toEqual(["msg"]);
    const failed = { state: "delivery_failed", reason: "The mail server could not be reached." };
    expect(await shownIn(workspace, email)).toMatchObject(failed);
    const late = transportOf({ kind: "sent" });
    await deliver(inviteId, "gatehouse-mail", late);
    expect([late.sent, await shownIn(workspace, email)]).toMatchObject([[], failed]);
  });

  it("of an invite that was revoked meanwhile does not happen", async ({ expect }) => {
    const { workspace, inviteId } = await seedWaitingLetter("revoked@example.com");
    const revoked = await call("DELETE", `/workspaces/${workspace.id}/invites/${inviteId}`, { token: workspace.token });
    expect(revoked.status).toBe(204);
    const transport = transportOf({ kind: "sent" });
    await deliver(inviteId, "gatehouse-mail", transport);
    expect([transport.sent, (await rowOf(inviteId)).state]).toEqual([[], "superseded"]);
  });
});
