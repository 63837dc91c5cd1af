/** The audit log as its readers have it: exports judged by `npx verify-audit`, and webhooks that a real receiver checks with Standard Webhooks' own library. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate as breathe } from "node:timers/promises";
import * as fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { verifyExport } from "../scripts/verify-audit-export.mjs";
import { connect, expectOk, makeTeam, type Team } from "./support/client.ts";
import { deep } from "./support/deep.ts";

const url = inject("serverUrl");
const root = path.dirname(import.meta.dirname);
const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-audit-"));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const toText = (lines: readonly string[]): string => `${lines.join("\n")}\n`;

async function keyOf(): Promise<string> {
  return String(expectOk(await connect(url, null)("GET", "/.well-known/audit-log-key"))["public_key"]);
}

/** What only cron does: it comes by itself once a minute. */
async function runCron(): Promise<void> {
  const answer = await fetch(`${url}/cdn-cgi/local/scheduled?cron=${encodeURIComponent("* * * * *")}`);
  await answer.text();
}

/** Rows past the API, by the triggers of the API's own: thousands of changes would take minutes. */
function fillLog(workspaceId: string, count: number): void {
  const files = path.join(inject("serverState"), "v3/d1/miniflare-D1DatabaseObject");
  const file = readdirSync(files).find((name) => /^[0-9a-f]{64}\.sqlite$/.test(name)) ?? "";
  const database = new DatabaseSync(path.join(files, file), { timeout: 30_000 });
  try {
    database
      .prepare(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
        INSERT INTO audit_log SELECT NULL, ?1 || '-' || i, ?1, 1790000000000 + i * 1000, 'account', 'usr_' || (i % 7), 'Zoë "Z" ' || i, 'pool.updated',
          json_array(json_object('type', 'thing', 'id', 'thing_' || (i % 11))), NULL, json_object('b', i, 'a', 'ü'), 'success', 'req_' || i, NULL, 'op' FROM n`,
      )
      .run(workspaceId, count);
  } finally {
    database.close();
  }
}

interface Ended {
  readonly status: number | null;
  readonly out: string;
}

async function judge(name: string, text: string, ...options: readonly string[]): Promise<Ended> {
  const file = path.join(folder, name);
  writeFileSync(file, text);
  return await npx(...options, file);
}

/** Runs it without holding up this process, whose idle connections would break unseen. */
async function npx(...options: readonly string[]): Promise<Ended> {
  const child = spawn("npx", ["verify-audit", ...options], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      out += chunk.toString("utf8");
    });
  }
  const [status] = (await once(child, "close")) as [number | null];
  return { status, out };
}

describe("npx verify-audit on an export of a running server", () => {
  it("passes an untouched one and names the line that was changed; its exit codes are those of docs/audit.md", async ({
    expect,
  }) => {
    const team = await makeTeam(url, inject("sessionToken"), "Audit");
    for (const name of ["one", "two", "three"]) {
      await team.addKey(name);
    }
    const key = await keyOf();
    const { text: early } = await team.call("GET", "/audit-log/export");
    const kept = path.join(folder, "kept.txt");
    const note = await team.call("GET", "/audit-log/checkpoint", undefined, { accept: "text/plain" });
    writeFileSync(kept, note.text);
    await team.addKey("four");
    const { text } = await team.call("GET", "/audit-log/export");
    const lines = text.slice(0, -1).split("\n");
    const at = lines.findIndex((line) => line.includes('"name":"two"'));
    expect(at).toBeGreaterThan(0);

    expect(await judge("whole.ndjson", text, "--key", key, "--checkpoint", kept)).toMatchObject({
      status: 0,
      out: expect.stringContaining("Nothing was changed"),
    });
    const changed = lines.with(at, (lines[at] ?? "").replace('"name":"two"', '"name":"won"'));
    const verdict = await judge("changed.ndjson", toText(changed), "--key", key);
    expect(verdict).toMatchObject({ status: 1, out: expect.stringContaining(`changed, line ${at + 1}, seq `) });
    const told = await judge("changed.ndjson", toText(changed), "--key", key, "--json");
    expect(JSON.parse(told.out.slice(told.out.indexOf("{")).split("\n")[0] ?? "")).toMatchObject({
      ok: false,
      findings: expect.arrayContaining([expect.objectContaining({ kind: "changed", line: at + 1 })]),
    });
    expect((await judge("cut.ndjson", toText(lines.slice(0, -1)), "--key", key)).status).toBe(1);
    expect((await judge("early.ndjson", early, "--key", Buffer.alloc(32, 7).toString("base64"))).status).toBe(1);
    const { text: filtered } = await team.call("GET", "/audit-log/export?action=api_key.*");
    const unproved = {
      status: 3,
      out: expect.stringMatching(/^Nothing wrong was found in \d+ rows, and nothing is proved\.$/m),
    };
    expect(await judge("filtered.ndjson", filtered, "--key", key)).toMatchObject(unproved);
    expect((await npx(path.join(folder, "nothing.ndjson"))).status).toBe(2);
    expect((await npx("--no-such-option")).status).toBe(2);
    expect(await npx("--help")).toMatchObject({ status: 0, out: expect.stringContaining("Exit codes") });
  });

  it(
    "finds any flipped byte, any dropped, doubled, moved or put-in line, and any cut, in an export of 10,000 rows when deep",
    { timeout: deep(60_000, 900_000) },
    async ({ expect }) => {
      const rows = deep(300, 10_000);
      const team = await makeTeam(url, inject("sessionToken"), "Many rows");
      fillLog(team.id, rows);
      const pending = async () => {
        await runCron();
        return (await team.call("GET", "/audit-log/checkpoint")).body["pending"];
      };
      await expect.poll(pending, { timeout: 300_000 }).toBe(0);
      const { text } = await team.call("GET", "/audit-log/export");
      const key = await keyOf();
      const bytes = Buffer.from(text);
      const lines = text.slice(0, -1).split("\n");
      const began = Date.now();
      const untouched = verifyExport(bytes, { key });
      expect([untouched.ok, untouched.proved, untouched.rows > rows]).toEqual([true, true, true]);
      let judged = 0;
      const isSound = (given: Uint8Array): boolean => {
        judged += 1;
        try {
          return verifyExport(given, { key }).ok;
        } catch {
          return false;
        }
      };
      const place = fc.nat(lines.length - 1);
      const flip = fc.record({
        how: fc.constant("flip" as const),
        at: fc.nat(bytes.length - 1),
        mask: fc.integer({ min: 1, max: 255 }),
      });
      const cut = fc.record({ how: fc.constant("cut" as const), at: fc.nat(bytes.length - 1) });
      const move = fc.record({ how: fc.constantFrom("drop", "double", "move", "put in"), from: place, to: place });
      const deed = fc.oneof(
        { weight: 3, arbitrary: flip },
        { weight: 1, arbitrary: cut },
        { weight: 3, arbitrary: move },
      );
      const property = fc.asyncProperty(deed, async (one) => {
        // Lets this process see its idle connections close, or the next call would be written into one of them.
        await breathe();
        if ("mask" in one) {
          const flipped = Uint8Array.from(bytes);
          flipped[one.at] = (flipped[one.at] ?? 0) ^ one.mask;
          return !isSound(flipped);
        }
        if ("at" in one) {
          return !isSound(bytes.subarray(0, one.at));
        }
        const { how, from, to } = one;
        const changed = how === "drop" || how === "move" ? lines.toSpliced(from, 1) : [...lines];
        if (how !== "drop") {
          const line = lines[from] ?? "";
          changed.splice(to, 0, how === "put in" ? line.replace(/"seq":\d+/, `"seq":${to}`) : line);
        }
        const given = toText(changed);
        fc.pre(given !== text);
        return !isSound(Buffer.from(given));
      });
      const numRuns = deep(100, 500);
      await fc.assert(property, { numRuns });
      console.log(
        `${untouched.rows} rows, ${bytes.length} bytes: ${judged} changed exports judged in ${Date.now() - began} ms`,
      );
      expect(judged).toBeGreaterThanOrEqual(numRuns);
    },
  );
});

interface Received {
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

const deliveriesOf = async (team: Team, hook: string) =>
  expectOk(await team.call("GET", `${hook}/deliveries`))["data"] as Record<string, unknown>[];

describe("webhooks, by a real receiver", () => {
  const received: Received[] = [];
  /** What the next messages are answered with; 200 when it is empty. */
  const answers: number[] = [];
  let server: Server;
  let address = "";

  beforeAll(async () => {
    const port = inject("upstreamPorts")[0] ?? 0;
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const headers = Object.fromEntries(
          Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
        );
        received.push({ path: request.url ?? "", headers, body: Buffer.concat(chunks).toString("utf8") });
        const status = answers.shift() ?? 200;
        response.writeHead(status, status === 302 ? { location: `${address}/elsewhere` } : {}).end("thank you");
      });
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${port}`;
  });

  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const messages = (from: string) => received.filter((one) => one.path === from);
  const typesAt = (from: string): string[] =>
    messages(from).map(({ body }) => String((JSON.parse(body) as { type: unknown }).type));

  async function addHook(team: Team, at: string, events: readonly string[]) {
    const made = expectOk(await team.call("POST", "/webhooks", { url: `${address}${at}`, events }));
    return { path: `/webhooks/${String(made["id"])}`, secret: String(made["secret"]) };
  }

  it("signs what it sends, tries again after a 500 under the same id, follows no redirect, and goes out at a 410", async ({
    expect,
  }) => {
    const team = await makeTeam(url, inject("sessionToken"), "Hooks");
    const hook = await addHook(team, "/first?token=abc", ["api_key.*"]);
    answers.push(500);
    await team.addKey("told");
    const came = () => messages("/first?token=abc");
    await expect.poll(() => came().length, { timeout: 30_000 }).toBe(2);
    const [failed, repeated] = came();
    expect(repeated?.headers["webhook-id"]).toBe(failed?.headers["webhook-id"]);
    expect(repeated?.body).toBe(failed?.body);
    const event = new Webhook(hook.secret).verify(repeated?.body ?? "", repeated?.headers ?? {});
    expect(event).toMatchObject({ type: "api_key.created", data: { workspace_id: team.id, after: { name: "told" } } });
    expect(event).not.toHaveProperty("data.ip");
    await expect
      .poll(async () => (await deliveriesOf(team, hook.path))[0])
      .toMatchObject({ type: "api_key.created", status: "delivered", attempts: 2, response_status: 200 });

    const rotated = expectOk(await team.call("POST", `${hook.path}/rotate-secret`, {}));
    expectOk(await team.call("POST", `${hook.path}/test`));
    await expect.poll(() => came().length, { timeout: 30_000 }).toBe(3);
    const tested = came()[2];
    for (const secret of [hook.secret, String(rotated["secret"])]) {
      expect(new Webhook(secret).verify(tested?.body ?? "", tested?.headers ?? {})).toMatchObject({
        type: "webhook.tested",
      });
    }
    expectOk(await team.call("POST", `${hook.path}/rotate-secret`, { overlap_seconds: 0 }));
    expectOk(await team.call("POST", `${hook.path}/test`));
    await expect.poll(() => came().length, { timeout: 30_000 }).toBe(4);
    expect(() => new Webhook(hook.secret).verify(came()[3]?.body ?? "", came()[3]?.headers ?? {})).toThrow("match");

    answers.push(302, 410);
    expectOk(await team.call("POST", `${hook.path}/test`));
    await expect
      .poll(async () => (await deliveriesOf(team, hook.path))[0]?.["error"], { timeout: 30_000 })
      .toBe("redirected");
    expectOk(await team.call("POST", `${hook.path}/test`));
    await expect
      .poll(async () => expectOk(await team.call("GET", hook.path))["disabled_reason"], { timeout: 30_000 })
      .toBe("gone");
    expect(messages("/elsewhere")).toEqual([]);
    expect((await team.call("POST", `${hook.path}/test`)).status).toBe(409);
  });

  it(
    "tells of members, keys, credentials, budgets, invites and instances that go out, and posts checkpoints",
    { timeout: 120_000 },
    async ({ expect }) => {
      const team = await makeTeam(url, inject("sessionToken"), "Events");
      const all = await addHook(team, "/all", ["*"]);
      const proofs = await addHook(team, "/proofs", ["audit_log.checkpoint"]);
      await team.addPool("chat", [await team.addSandbox("a", "ok")]);
      await team.addPool("broken", [await team.addSandbox("b", "401")]);
      const invited = expectOk(await team.call("POST", "/members/invite", { emails: ["hooks@example.com"] }));
      const [{ invite_id: invite }] = invited["results"] as [{ invite_id: string }];
      expectOk(await team.call("DELETE", `/invites/${invite}`));
      expectOk(await team.call("PATCH", "", { settings: { limits: { budget_usd: { day: 0.000_5 } } } }));
      const openai = await team.openai();
      const ask = (model: string) =>
        openai.chat.completions.create({ model, max_tokens: 10, messages: [{ role: "user", content: "Hello" }] });
      await expect(ask("broken")).rejects.toThrow();
      await ask("chat");
      const wanted = [
        "member.invited",
        "invite.revoked",
        "api_key.created",
        "credential.created",
        "credential.refused",
        "budget.warned",
      ];
      const missing = async () => {
        // Until four fifths of the budget are spent; what a call holds is let go a moment after its end, so some are refused.
        await Promise.all(Array.from({ length: 4 }, () => ask("chat").catch(() => null)));
        await runCron();
        const came = typesAt("/all");
        return wanted.filter((type) => !came.includes(type));
      };
      await expect.poll(missing, { timeout: 45_000, interval: 1_000 }).toEqual([]);
      for (const { body, headers } of messages("/all")) {
        expect(new Webhook(all.secret).verify(body, headers)).toBeTruthy();
      }

      await expect.poll(() => messages("/proofs").length, { timeout: 30_000 }).toBeGreaterThan(0);
      const [proof] = messages("/proofs");
      const told = new Webhook(proofs.secret).verify(proof?.body ?? "", proof?.headers ?? {}) as {
        readonly type: string;
        readonly data: { readonly note: string; readonly size: number };
      };
      expect(told.type).toBe("audit_log.checkpoint");
      const { text } = await team.call("GET", "/audit-log/export");
      const kept = { key: await keyOf(), checkpoints: [told.data.note] };
      expect(verifyExport(Buffer.from(text), kept)).toMatchObject({ ok: true, proved: true });
      expect(typesAt("/all")).not.toContain("audit_log.checkpoint");
    },
  );
});
