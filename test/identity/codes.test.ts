import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { requireSettings } from "../../src/base/settings.js";
import { deriveCode, digestHandle, networkOf } from "../../src/identity/code.js";
import { asksPerHour, sweepCodes, triesPerDay } from "../../src/identity/code-limits.js";
import { codeNetworks, emailCodes, sessions, users } from "../../src/identity/model.js";
import { auditLog } from "../../src/audit/model.js";
import { call, type Answer } from "../support/client.js";
import { deep } from "../support/deep.js";
import { db, seedAccount } from "../support/seed.js";

let host = 0;

/** A network nobody asked from yet. */
function freshIp(): string {
  host += 1;
  return `198.51.${host >> 8}.${host & 255}`;
}

function ask(email: string, ip = freshIp()): Promise<Answer> {
  return call("POST", "/auth/email-code", { body: { email }, headers: { "cf-connecting-ip": ip } });
}

/** From everywhere: what is counted here is where a code was asked for. */
function verify(handle: string, code: string, ip = freshIp()): Promise<Answer> {
  return call("POST", "/auth/email-code/verify", { body: { handle, code }, headers: { "cf-connecting-ip": ip } });
}

/** What the letter says: derived, since nothing stores it. */
async function codeFor(handle: string): Promise<string> {
  const [row] = await db
    .select()
    .from(emailCodes)
    .where(eq(emailCodes.handleDigest, await digestHandle(handle)));
  const code = await deriveCode(requireSettings(env).mailSecret, row?.secretId ?? "", row?.id ?? "");
  return code?.reveal() ?? "";
}

function wrong(code: string, step = 1): string {
  return String((Number(code) + step) % 100_000_000).padStart(8, "0");
}

function median(list: readonly number[]): number {
  return list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0;
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Codes that somebody asked for just now, written as asks write them: ten thousand requests would say no more. */
async function fill(count: number, email: string, network: string, tries: number): Promise<void> {
  await env.DB.prepare(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
     INSERT INTO email_codes (id, purpose, email, locale, secret_id, handle_digest, network, tries, created_at, expires_at)
     SELECT hex(randomblob(8)), 'sign_in', replace(?2, '%', i), 'en-US', 'm', hex(randomblob(8)), replace(?3, '%', i), ?4, ?5, ?5 FROM n`,
  )
    .bind(count, email, network, tries, Date.now())
    .run();
}

describe("signing in by an e-mailed code", () => {
  it("gives a session to who has both the letter and the handle, once, and writes it down", async ({ expect }) => {
    const { id, email } = await seedAccount();
    const asked = await ask(` ${email.toUpperCase()} `);
    expect([asked.status, Object.keys(asked.body)]).toEqual([202, ["handle", "expires_at"]]);
    const code = await codeFor(asked.body.handle);
    expect(code).toMatch(/^\d{8}$/);
    const signedIn = await verify(asked.body.handle, `${code.slice(0, 4)} ${code.slice(4)}`, "203.0.113.9");
    expect([signedIn.status, signedIn.body.account.id]).toEqual([200, id]);
    expect((await call("GET", "/workspaces", { token: signedIn.body.session_token })).status).toBe(200);
    const again = await verify(asked.body.handle, code, "203.0.113.9");
    expect([again.status, again.body.code]).toEqual([401, "code_refused"]);
    const [user] = await db.select().from(users).where(eq(users.id, id));
    expect(user?.emailVerified).toBe(true);
    const told = await db.select().from(auditLog).where(eq(auditLog.actorId, id));
    const mine = told.find((row) => row.requestId === signedIn.headers.get("x-request-id"));
    expect(mine).toMatchObject({
      action: "session.created",
      actorType: "account",
      ip: "203.0.113.9",
      outcome: "success",
    });
  });

  it("mails the code, and mails nobody who may not sign in", async ({ expect }) => {
    const { email } = await seedAccount();
    const asked = await ask(email);
    await ask("stranger@example.net");
    const code = await codeFor(asked.body.handle);
    let letters: { to: string; subject: string; text: string; kind: string }[] = [];
    for (let round = 0; round < 40 && !letters.some((letter) => letter.to === email); round += 1) {
      await pause(100);
      letters = (await call("GET", "/dev/outbox")).body.data;
    }
    const letter = letters.find(({ to }) => to === email);
    expect(letter?.kind).toBe("sign_in_code");
    expect(letter?.text.replaceAll(" ", "")).toContain(code);
    await pause(300);
    letters = (await call("GET", "/dev/outbox")).body.data;
    expect(letters.filter(({ to }) => to === "stranger@example.net")).toEqual([]);
    const [row] = await env.DB.prepare("SELECT state FROM outbox WHERE recipient = 'stranger@example.net'")
      .all()
      .then((r) => r.results);
    expect(row).toEqual({ state: "superseded" });
  });

  it("makes no account for an address that was not invited, even with the right code", async ({ expect }) => {
    const asked = await ask("nobody@example.net");
    const answer = await verify(asked.body.handle, await codeFor(asked.body.handle));
    expect([answer.status, answer.body.code]).toEqual([401, "code_refused"]);
    expect(await db.$count(users, eq(users.email, "nobody@example.net"))).toBe(0);
  });

  it("answers alike, and in like time, whether or not the address is known", async ({ expect }) => {
    const known = await seedAccount();
    const rounds = deep(10, 60);
    const times: Record<"known" | "unknown", number[]> = { known: [], unknown: [] };
    for (let round = 0; round < rounds; round += 1) {
      const pairs = [
        ["known", known.email],
        ["unknown", `ghost-${round}@example.net`],
      ] as const;
      for (const [name, email] of round % 2 === 0 ? pairs : [pairs[1], pairs[0]]) {
        await env.DB.prepare("UPDATE email_codes SET created_at = created_at - 7200000").run();
        const from = performance.now();
        const answer = await ask(email);
        times[name].push(performance.now() - from);
        expect([answer.status, Object.keys(answer.body)]).toEqual([202, ["handle", "expires_at"]]);
        expect(answer.body.handle).toMatch(/^cdh_[0-9a-z]{52}$/);
        const names = [...answer.headers.keys()].toSorted();
        expect(names).toEqual([
          "cache-control",
          "content-security-policy",
          "content-type",
          "cross-origin-resource-policy",
          "referrer-policy",
          "vary",
          "x-content-type-options",
          "x-request-id",
        ]);
      }
    }
    console.log(
      `ask: known ${median(times.known).toFixed(1)} ms, unknown ${median(times.unknown).toFixed(1)} ms (median of ${rounds})`,
    );
    const ratio = median(times.known) / median(times.unknown);
    expect(ratio).toBeGreaterThan(0.5);
    expect(ratio).toBeLessThan(2);
  });

  it("tells a wrong code, an unknown handle and an expired one apart by nothing", async ({ expect }) => {
    const { email } = await seedAccount();
    const asked = await ask(email);
    const code = await codeFor(asked.body.handle);
    const refused = [await verify(asked.body.handle, wrong(code)), await verify("cdh_nothing", code)];
    await env.DB.prepare("UPDATE email_codes SET expires_at = 1 WHERE email = ?").bind(email).run();
    refused.push(await verify(asked.body.handle, code));
    const texts = refused.map(({ text }) => text.replace(/req_[0-9a-z]{26}/, "req"));
    expect(new Set(texts).size).toBe(1);
    expect(refused.map(({ status }) => status)).toEqual([401, 401, 401]);
  });
});

describe("guessing a code", () => {
  it("is refused 60 times out of 60 by one guesser or by many, and the sixth try with the right code too", async ({
    expect,
  }) => {
    for (const place of [() => "203.0.113.1", freshIp]) {
      const { email } = await seedAccount();
      const asked = await ask(email);
      const code = await codeFor(asked.body.handle);
      const guesses = await Promise.all(
        Array.from({ length: 60 }, (_, index) => verify(asked.body.handle, wrong(code, index + 1), place())),
      );
      expect(guesses.filter(({ status }) => status === 401).length).toBe(60);
      expect((await verify(asked.body.handle, code)).status).toBe(401);
      const [row] = await db.select().from(emailCodes).where(eq(emailCodes.email, email));
      expect(row?.tries).toBe(5);
      const denied = await db.select().from(auditLog).where(eq(auditLog.action, "sign_in.refused"));
      expect(denied.filter(({ targets }) => targets.includes(row?.id ?? "?")).length).toBe(1);
    }
  });

  it("has exactly five tries, also when twenty come at once and one of them is right", async ({ expect }) => {
    for (let round = 0; round < deep(3, 20); round += 1) {
      const { email, id } = await seedAccount();
      const asked = await ask(email);
      const code = await codeFor(asked.body.handle);
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          verify(asked.body.handle, index === round % 20 ? code : wrong(code, index + 1)),
        ),
      );
      const [row] = await db.select().from(emailCodes).where(eq(emailCodes.email, email));
      expect(row?.tries).toBeLessThanOrEqual(5);
      const opened = answers.filter(({ status }) => status === 200).length;
      expect(opened).toBeLessThanOrEqual(1);
      expect(await db.$count(sessions, eq(sessions.userId, id))).toBe(1 + opened);
    }
  });

  it("lets the same right code in once when twenty send it at once", async ({ expect }) => {
    const { email } = await seedAccount();
    const asked = await ask(email);
    const code = await codeFor(asked.body.handle);
    const answers = await Promise.all(Array.from({ length: 20 }, () => verify(asked.body.handle, code)));
    expect(answers.filter(({ status }) => status === 200).length).toBe(1);
    expect(answers.filter(({ status }) => status === 401).length).toBe(19);
  });

  it("ends for the day at 25 tries of what one place asked for, exactly, wherever they are tried", async ({
    expect,
  }) => {
    const { email } = await seedAccount();
    const place = freshIp();
    const handles: string[] = [];
    for (let code = 0; code < 2 * asksPerHour.pair; code += 1) {
      if (code === asksPerHour.pair) {
        await env.DB.prepare("UPDATE email_codes SET created_at = created_at - 7200000 WHERE email = ?")
          .bind(email)
          .run();
      }
      handles.push((await ask(email, place)).body.handle);
    }
    const answers = await Promise.all(
      handles.flatMap((handle) => Array.from({ length: 5 }, () => verify(handle, "no", freshIp()))),
    );
    expect(answers.filter(({ status }) => status === 401).length).toBe(triesPerDay.pair);
    expect(answers.filter(({ status }) => status === 429).length).toBe(handles.length * 5 - triesPerDay.pair);
    await env.DB.prepare("UPDATE email_codes SET created_at = created_at - 7200000 WHERE email = ?").bind(email).run();
    const late = (await ask(email, place)).body.handle;
    const refused = await verify(late, await codeFor(late));
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "3600"]);
  });

  it("at four places locks the owner out of neither asking nor trying", async ({ expect }) => {
    const { email } = await seedAccount();
    for (const place of [freshIp(), freshIp(), freshIp(), freshIp()]) {
      const asked = await Promise.all(Array.from({ length: 5 }, () => ask(email, place)));
      expect(asked.every(({ status }) => status === 202)).toBe(true);
      const tries = asked.flatMap(({ body }) => Array.from({ length: 5 }, () => verify(body.handle, "no", place)));
      expect((await Promise.all(tries)).every(({ status }) => status === 401)).toBe(true);
    }
    const mine = await ask(email);
    expect(mine.status).toBe(202);
    expect((await verify(mine.body.handle, await codeFor(mine.body.handle))).status).toBe(200);
  });

  it("ends at 1,000 tries a day over all places, but never for a place that signed in to this address", async ({
    expect,
  }) => {
    const { email } = await seedAccount();
    const home = freshIp();
    const first = (await ask(email, home)).body.handle;
    expect((await verify(first, await codeFor(first), freshIp())).status).toBe(200);
    await fill(triesPerDay.address / 5, email, "198.18.0.%", 5);
    await env.DB.prepare("UPDATE email_codes SET created_at = created_at - 7200000 WHERE email = ?").bind(email).run();
    const away = (await ask(email)).body.handle;
    expect((await verify(away, await codeFor(away))).status).toBe(429);
    const again = (await ask(email, home)).body.handle;
    expect((await verify(again, await codeFor(again))).status).toBe(200);
    await sweepCodes(db, Date.now() + 91 * 86_400_000);
    expect(await db.$count(codeNetworks)).toBe(0);
  });
});

describe("asking for a code", () => {
  it("by a stranger neither replaces nor burns the code that its owner waits for", async ({ expect }) => {
    const { email } = await seedAccount();
    const mine = await ask(email, "192.0.2.1");
    const code = await codeFor(mine.body.handle);
    const theirs = await Promise.all(Array.from({ length: 10 }, () => ask(email, "192.0.2.66")));
    for (const { body, status } of theirs) {
      const tries = status === 202 ? [verify(body.handle, code), verify(body.handle, wrong(code))] : [];
      expect((await Promise.all(tries)).every((answer) => answer.status === 401)).toBe(true);
    }
    expect((await ask(email, "192.0.2.1")).status).toBe(202);
    expect((await verify(mine.body.handle, code)).status).toBe(200);
  });

  it("works five times an hour for one address from one place, exactly, under twenty at once", async ({ expect }) => {
    for (const { email } of [await seedAccount(), { email: "unknown-to-all@example.net" }]) {
      const ip = freshIp();
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask(email, ip)));
      expect(answers.filter(({ status }) => status === 202).length).toBe(asksPerHour.pair);
      const refused = answers.filter(({ status }) => status === 429);
      expect(refused.length).toBe(20 - asksPerHour.pair);
      const wait = Number(refused[0]?.headers.get("retry-after"));
      expect(wait).toBeGreaterThan(3500);
      expect(wait).toBeLessThanOrEqual(3600);
    }
  });

  it("is bounded for one address over all places, but not for a place that signed in there", async ({ expect }) => {
    const { email } = await seedAccount();
    const home = freshIp();
    const first = (await ask(email, home)).body.handle;
    expect((await verify(first, await codeFor(first))).status).toBe(200);
    await fill(asksPerHour.address - 5, email, "198.18.1.%", 0);
    const many = await Promise.all(Array.from({ length: 8 }, () => ask(email)));
    expect(many.filter(({ status }) => status === 202).length).toBe(4);
    expect(many.find(({ status }) => status === 429)?.headers.get("retry-after")).toMatch(/^3\d{3}$/);
    expect((await ask(email, home)).status).toBe(202);
  });

  it("is bounded for one place over all addresses far beyond what an office does", async ({ expect }) => {
    const office = freshIp();
    const people = await Promise.all(Array.from({ length: 100 }, (_, index) => ask(`p${index}@example.net`, office)));
    expect(people.every(({ status }) => status === 202)).toBe(true);
    await fill(asksPerHour.network - 103, "q%@example.net", office, 0);
    const last = await Promise.all(Array.from({ length: 6 }, (_, index) => ask(`r${index}@example.net`, office)));
    expect(last.filter(({ status }) => status === 202).length).toBe(3);
  });

  it("counts a place by the platform's header alone", async ({ expect }) => {
    const asks = Array.from({ length: 6 }, (_, index) =>
      call("POST", "/auth/email-code", {
        body: { email: "spoof@example.net" },
        headers: {
          "cf-connecting-ip": "192.0.2.200",
          "x-forwarded-for": `10.0.0.${index}`,
          "x-real-ip": `10.0.0.${index}`,
        },
      }),
    );
    expect((await Promise.all(asks)).filter(({ status }) => status === 202).length).toBe(5);
  });

  it("takes an IPv6 customer's /64 for one place", ({ expect }) => {
    const cases = [
      [null, "unknown"],
      ["192.0.2.1", "192.0.2.1"],
      ["::ffff:192.0.2.1", "192.0.2.1"],
      ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
      ["2001:0DB8:0001:0002::1", "2001:db8:1:2::/64"],
      ["2001:db8::1", "2001:db8:0:0::/64"],
      ["::1", "0:0:0:0::/64"],
    ] as const;
    for (const [ip, network] of cases) {
      expect(networkOf(ip)).toBe(network);
    }
  });
});
