/** Safe retries of every write route: a failing statement, a Router that cannot be told, an answer that is lost, and the same request twice at once. */
import { env } from "cloudflare:workers";
import { afterAll, afterEach, beforeAll, describe, it, vi, type ExpectStatic } from "vitest";
import { endpoints } from "../../src/app.js";
import type { Answer } from "../support/client.js";
import { deep, seed } from "../support/deep.js";
import { dumpRecord } from "../support/dump.js";
import { faultyD1 } from "../support/faulty-d1.js";
import { sendQuietly, type Sending } from "../support/quiet.js";
import type { WriteCase } from "../support/request-case.js";
import { writeCases } from "../support/requests.js";
import { breakRouter } from "../support/router.js";
import { seedAccount, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

/** Routes that take no Idempotency-Key, and what makes a second request safe. */
const keyless: Readonly<Record<string, string>> = {
  "post /setup": "answers a session; the second is 409 already_set_up",
  "post /dev/demo-session": "answers a session; local only",
  "post /auth/email-code": "answers the same each time; letters are limited by address",
  "post /auth/email-code/verify": "answers a session; a code is spent once",
  "post /auth/sign-in/social": "begins a ceremony in the browser",
  "post /auth/passkey/options": "begins a ceremony, and a second one is another",
  "post /auth/passkey/verify": "answers a session; a challenge is spent once",
  "post /me/passkeys/options": "begins a ceremony, and a second one is another",
  "delete /auth/sessions": "ends its own session",
  "delete /auth/sessions/{id}": "a second one finds nothing",
  "post /auth/sign-out": "ends its own session",
  "post /invites/{token}/accept": "may answer a session; an invite is taken once",
};

const writes = endpoints.filter(({ spec }) => spec.method !== "get");
const operationOf = ({ spec }: (typeof writes)[number]) => `${spec.method} ${spec.path}`;
const publishing = new Set(writes.filter(({ spec }) => spec.publishes === true).map(operationOf));

let team: SeededWorkspace;
let keys = 0;
let failed = 0;

beforeAll(async () => {
  team = await seedWorkspace();
});

afterEach(() => {
  vi.restoreAllMocks();
});

afterAll(() => {
  console.log(`${Object.keys(writeCases).length} routes, ${failed} statements made to fail`);
});

describe("the table of write routes", () => {
  it("has a case or a reason for each, and for nothing else", ({ expect }) => {
    const told = [...Object.keys(writeCases), ...Object.keys(keyless)];
    expect(told.toSorted()).toEqual(writes.map(operationOf).toSorted());
    const never = writes.filter(({ spec }) => spec.storedAnswer === "never").map(operationOf);
    expect(Object.keys(keyless).toSorted()).toEqual(never.toSorted());
  });
});

/** Methods that say how things shall be, so that a second request is safe without a key. */
const isAbsolute = (operation: string) => /^(put|patch|delete) /.test(operation);

/** Run deep, each route meets every trouble; in CI one that the seed deals it. */
const all = Object.entries(writeCases).map(([operation, one], index) => {
  const troubles = [
    "fault",
    "race",
    "takeover",
    ...(publishing.has(operation) ? ["router"] : []),
    ...(isAbsolute(operation) ? ["repeat"] : []),
  ];
  const dealt = troubles[((seed() >>> 0) + index) % troubles.length];
  return { operation, one, meets: (trouble: string) => deep(0, 1) === 1 || trouble === dealt };
});

describe.for(all)("$operation", ({ operation, one, meets }) => {
  it.runIf(meets("fault"))(
    "fails whole and succeeds once, whatever statement fails, and answers again what was lost",
    async ({ expect }) => {
      const sending = await prepare(operation, one);
      const before = await shape();
      const untouched = await dumpRecord();
      if (one.actsOutside !== true) {
        await failAtEach(expect, sending, untouched, one.countsTries === true);
      }
      const lost = faultyD1({ call: "change", at: "after", isLast: true });
      const cut = await sendQuietly(sending, lost.d1);
      expect([lost.hasFailed(), cut.status >= 500]).toEqual([true, true]);
      const first = await sendQuietly(sending);
      expect([first.status < 300, first.headers.get("idempotency-replayed")], first.text).toEqual([true, "true"]);
      await expectOneEffect(expect, one, before);
      await expectReplay(expect, sending, first);
    },
  );

  it.runIf(meets("race"))("twice at once is once, and its key belongs to its body", async ({ expect }) => {
    const sending = await prepare(operation, one);
    const before = await shape();
    const both = await Promise.all([sendQuietly(sending), sendQuietly(sending)]);
    const answered = both.filter(({ status }) => status !== 409);
    for (const refused of both.filter(({ status }) => status === 409)) {
      expect([refused.body.code, refused.headers.get("retry-after") !== null]).toEqual([
        "idempotency_in_progress",
        true,
      ]);
    }
    const [first] = answered;
    expect(first?.status ?? 0, both[0].text).toBeLessThan(300);
    expect(first?.status ?? 0, both[0].text).toBeGreaterThan(199);
    expect(new Set(answered.map(({ text }) => text)).size).toBe(1);
    await expectOneEffect(expect, one, before);
    if (first !== undefined) {
      await expectReplay(expect, sending, first);
    }
    await expectOthersUntouched(expect, sending);
    const text = sending.body === undefined ? "{}" : JSON.stringify(sending.body);
    const after = await dumpRecord();
    const other = await sendQuietly({ ...sending, body: `${text} ` });
    const refusal = one.handsOver === true ? [403, "forbidden"] : [422, "idempotency_key_reused"];
    expect([other.status, other.body?.code]).toEqual(refusal);
    expect(await dumpRecord()).toBe(after);
  });

  it.runIf(meets("takeover"))(
    "its key goes to who asks after its lease has run out, and the first, if it lives still, changes nothing",
    async ({ expect }) => {
      const sending = await prepare(operation, one);
      const before = await shape();
      const taken: Answer[] = [];
      const meanwhile = async () => {
        const early = await sendQuietly(sending);
        expect([early.status, early.body.code]).toEqual([409, "idempotency_in_progress"]);
        await env.DB.prepare("UPDATE idempotency SET lease_until = 0 WHERE status IS NULL").run();
        taken.push(await sendQuietly(sending));
      };
      const late = await sendQuietly(sending, faultyD1({ call: "change", at: "before", meanwhile }).d1);
      expect([late.status, late.body?.code]).toEqual([409, "idempotency_in_progress"]);
      const [second] = taken;
      expect([second?.status ?? 0, second?.headers.get("idempotency-replayed")], second?.text).toEqual([
        expect.toBeOneOf([200, 201, 202, 204]),
        null,
      ]);
      // What acts outside has told of its act before it ends, and acted twice.
      await expectOneEffect(expect, one.actsOutside === true ? { ...one, audit: one.audit * 2 } : one, before);
      if (second !== undefined) {
        await expectReplay(expect, sending, second);
      }
    },
  );

  it.runIf(isAbsolute(operation) && meets("repeat"))(
    "sent again without a key it changes nothing more and tells of nothing",
    async ({ expect }) => {
      const request = await one.prepare(one.alone === true ? await seedWorkspace() : team);
      const sending = { ...request, method: (operation.split(" ")[0] ?? "").toUpperCase() };
      const before = await shape();
      const first = await sendQuietly(sending);
      expect(first.status, first.text).toBeLessThan(300);
      await expectOneEffect(expect, one, before);
      const after = await dumpRecord();
      const again = await sendQuietly(sending);
      if (one.leavesNothing === true) {
        expect([again.status, again.body.code]).toEqual([404, "not_found"]);
      } else if (one.readsAnew === true) {
        expect(again.status).toBe(first.status);
        await expectOneEffect(expect, { ...one, audit: one.audit * 2 }, before);
        return;
      } else {
        expect([again.status, again.text]).toEqual([first.status, first.text]);
      }
      expect(await dumpRecord()).toBe(after);
    },
  );

  it.runIf(publishing.has(operation) && meets("router"))(
    "says that it is pending while no Router can be told, and then what it was",
    async ({ expect }) => {
      const sending = await prepare(operation, one);
      const before = await shape();
      await breakRouter(sending.workspaceId ?? team.id);
      if (one.unpublished === true) {
        expect((await sendQuietly(sending)).status).toBeLessThan(300);
        return;
      }
      const pending = [await sendQuietly(sending), await sendQuietly(sending)];
      vi.restoreAllMocks();
      for (const answer of pending) {
        expect([answer.status, answer.body.code, answer.headers.get("retry-after")]).toEqual([
          503,
          "publish_pending",
          "1",
        ]);
      }
      const inForce = await sendQuietly(sending);
      expect([inForce.status < 300, inForce.headers.get("idempotency-replayed")]).toEqual([true, "true"]);
      await expectOneEffect(expect, one, before);
      expect(await isInForce(sending.workspaceId ?? inForce.body.id)).toBe(true);
      await expectReplay(expect, sending, inForce);
    },
  );
});

describe("who has left", () => {
  it.for(["", "lost", "pending"])(
    "hears of it again with their key, and without one: %s",
    async (trouble, { expect }) => {
      const { token } = await seedMember(team.id, "MEMBER");
      const before = await shape();
      const headers = { "idempotency-key": "leaving" };
      const sending = { method: "DELETE", path: `/workspaces/${team.id}/members/me`, token, headers };
      if (trouble === "pending") {
        await breakRouter(team.id);
      }
      const first = await sendQuietly(
        sending,
        trouble === "lost" ? faultyD1({ call: "change", at: "after", isLast: true }).d1 : env.DB,
      );
      vi.restoreAllMocks();
      expect(first.status).toBe({ "": 204, lost: 500, pending: 503 }[trouble]);
      const keyed = await sendQuietly(sending);
      expect([keyed.status, keyed.text, keyed.headers.get("idempotency-replayed")]).toEqual([204, "", "true"]);
      expect(await isInForce(team.id)).toBe(true);
      const after = await dumpRecord();
      const plain = await sendQuietly({ ...sending, headers: {} });
      expect([plain.status, plain.text]).toEqual([204, ""]);
      const reused = await sendQuietly({ ...sending, body: {} });
      expect([reused.status, reused.body.code]).toEqual([422, "idempotency_key_reused"]);
      expect((await sendQuietly({ ...sending, method: "GET" })).status).toBe(404);
      expect(await dumpRecord()).toBe(after);
      expect(await shape()).toEqual({ ...before, audit: before.audit + 1 });
    },
  );
});

type Ready = Sending & { readonly workspaceId?: string };

async function prepare(operation: string, one: WriteCase): Promise<Ready> {
  const request = await one.prepare(one.alone === true ? await seedWorkspace() : team);
  keys += 1;
  const headers = { ...request.headers, "idempotency-key": `retry-${keys}` };
  return { ...request, method: (operation.split(" ")[0] ?? "").toUpperCase(), headers };
}

/** Lets each statement of the change fail in turn, run deep; one that the seed picks in CI. Each leaves nothing changed. */
async function failAtEach(expect: ExpectStatic, sending: Ready, untouched: string, countsTries: boolean) {
  const failAt = async (at: number): Promise<number> => {
    const faulty = faultyD1({ call: "change", at });
    const answer = await sendQuietly(sending, faulty.d1);
    expect([faulty.hasFailed(), answer.status, answer.body?.code]).toEqual([true, 500, "internal"]);
    if (countsTries) {
      await env.DB.prepare("UPDATE email_codes SET tries = 0").run();
    }
    expect(await dumpRecord()).toBe(untouched);
    return faulty.calls.find(({ writes: isWrite, statements }) => isWrite && statements > 1)?.statements ?? 0;
  };
  const share = ((Math.imul(seed() ^ keys, 2_654_435_761) >>> 0) + 0.5) / 2 ** 32;
  const size = await failAt(deep(share, 0));
  for (let place = 1; place < deep(0, size); place += 1) {
    await failAt((place + 0.5) / size);
    failed += 1;
  }
  failed += 1;
}

async function shape(): Promise<{ audit: number; letters: number }> {
  const row = await env.DB.prepare(
    "SELECT (SELECT count(*) FROM audit_log WHERE action <> 'request.denied') AS audit, (SELECT count(*) FROM outbox) AS letters",
  ).first<{ audit: number; letters: number }>();
  return row ?? { audit: 0, letters: 0 };
}

async function expectOneEffect(expect: ExpectStatic, one: WriteCase, before: { audit: number; letters: number }) {
  const after = await shape();
  const grown = { audit: after.audit - before.audit, letters: after.letters - before.letters };
  expect(grown).toEqual({ audit: one.audit, letters: one.letters ?? 0 });
}

/** The same answer again, to the byte, and a record that stands still. */
async function expectReplay(expect: ExpectStatic, sending: Ready, first: Answer) {
  const before = await dumpRecord();
  const again = await sendQuietly(sending);
  expect([again.status, again.headers.get("idempotency-replayed"), again.text]).toEqual([
    first.status,
    "true",
    first.text,
  ]);
  for (const name of ["etag", "location"]) {
    expect(again.headers.get(name)).toBe(first.headers.get(name));
  }
  expect(await dumpRecord()).toBe(before);
}

/** The same key in somebody else's hands, in nobody's, and at another address is another key. */
async function expectOthersUntouched(expect: ExpectStatic, sending: Ready) {
  const { token, ...anonymous } = sending;
  const stranger = await seedAccount();
  const others: Sending[] = [
    { ...sending, token: stranger.token },
    sending.path === "/me"
      ? { ...sending, method: "POST", path: "/me/tokens" }
      : { ...sending, method: "PATCH", path: "/me" },
  ];
  if (token !== undefined) {
    others.push(anonymous);
  }
  if (sending.workspaceId !== undefined) {
    others.push({ ...sending, token: (await seedMember(sending.workspaceId, "ADMIN")).token });
  }
  // In CI one of them, in turn.
  for (const other of deep(0, 1) === 1 ? others : others.slice(keys % others.length).slice(0, 1)) {
    const { status, headers, text } = await sendQuietly(other);
    expect([other.path, headers.get("idempotency-replayed")]).toEqual([other.path, null]);
    expect([text, /idempotency/.test(text), status < 500]).toEqual([text, false, true]);
  }
}

async function isInForce(id: string): Promise<boolean> {
  const row = await env.DB.prepare("SELECT applied_version >= config_version AS ok FROM workspaces WHERE id = ?")
    .bind(id)
    .first<{ ok: number }>();
  return row?.ok === 1;
}
