import { describe, it } from "vitest";
import type { HttpMailSettings } from "../../src/base/mail-settings.js";
import { Secret } from "../../src/base/secret.js";
import { httpTransport } from "../../src/mail/http-api.js";

const token = "re_canary-token-0123456789";
const settings: HttpMailSettings = {
  transport: "http",
  from: { name: "Gatehouse", address: "no-reply@gatehouse.example" },
  url: "https://api.mail.example/emails",
  token: new Secret(token),
};
const rules = { allow: "", ownHosts: ["gatehouse.example"] };
const link = "https://gatehouse.example/invites/inv_1.k1.abcdefgh";
const letter = { to: "ada@example.com", subject: "Hello", text: `Come in\n\n${link}\n`, html: "<p>Hello</p>" };

async function send(answer: () => Response | Promise<Response>, more: Partial<HttpMailSettings> = {}) {
  const requests: Request[] = [];
  const transport = httpTransport({ ...settings, ...more }, rules, async (request) => {
    requests.push(request);
    return await answer();
  });
  const outcome = await transport.send(letter, "mail_1");
  return { outcome, requests };
}

async function reasonFor(status: number, body: unknown, headers: HeadersInit = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const { outcome } = await send(() => new Response(text, { status, headers }));
  return outcome;
}

describe("a letter by a mail API", () => {
  it("is one JSON object with both forms, under the token, with a key that tells a repeat", async ({ expect }) => {
    const { outcome, requests } = await send(() => Response.json({ id: "1" }));
    expect(outcome).toEqual({ kind: "sent" });
    const [request] = requests;
    expect(requests).toHaveLength(1);
    expect([request?.method, request?.url]).toEqual(["POST", settings.url]);
    expect(request?.headers.get("authorization")).toBe(`Bearer ${token}`);
    expect(request?.headers.get("idempotency-key")).toBe("mail_1");
    expect(await request?.json()).toEqual({
      from: '"Gatehouse" <no-reply@gatehouse.example>',
      to: ["ada@example.com"],
      subject: "Hello",
      text: letter.text,
      html: letter.html,
      headers: { "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All" },
    });
  });

  it("that is refused itself has failed; an account, a limit or a moment is worth another attempt", async ({
    expect,
  }) => {
    const body = { message: "Invalid `to` field" };
    for (const status of [400, 413, 422]) {
      expect(await reasonFor(status, body)).toEqual({
        kind: "failed",
        reason: `The mail API refused the letter: ${status} Invalid \`to\` field`,
      });
    }
    for (const status of [401, 403, 404, 409, 429, 500, 503]) {
      expect([status, await reasonFor(status, { error: body })]).toMatchObject([status, { kind: "retry" }]);
    }
    expect(await reasonFor(403, body)).toMatchObject({
      reason: expect.stringMatching(/MAIL_HTTP_TOKEN or MAIL_FROM: 403/),
    });
  });

  it("waits as long as the API asks", async ({ expect }) => {
    expect(await reasonFor(429, "slow down", { "retry-after": "40" })).toMatchObject({ afterSeconds: 40 });
    const date = new Date(Date.now() + 90_000).toUTCString();
    const outcome = await reasonFor(503, "", { "retry-after": date });
    expect(outcome.kind === "retry" ? outcome.afterSeconds : 0).toBeGreaterThan(85);
    expect(await reasonFor(503, "", { "retry-after": "soon" })).not.toHaveProperty("afterSeconds");
  });

  it("leaves no token and no link in a reason, whatever the API repeats", async ({ expect }) => {
    for (const status of [403, 422, 500]) {
      for (const body of [
        `no ${token}`,
        { message: `bad link ${link} for ${btoa(token)}` },
        { error: `Bearer ${token}` },
      ]) {
        const text = JSON.stringify(await reasonFor(status, body));
        expect(text).not.toMatch(/canary|invites|abcdefgh/);
        expect(text).not.toContain(btoa(token).slice(0, -3));
      }
    }
  });

  it("goes nowhere the guard for outbound addresses refuses, and follows no redirect", async ({ expect }) => {
    const inner = await send(() => Response.json({}), { url: "https://10.0.0.1/emails" });
    expect([inner.requests, inner.outcome.kind]).toEqual([[], "retry"]);
    const moved = await send(() => Response.redirect("https://elsewhere.example/", 307));
    expect(moved.requests).toHaveLength(1);
    expect(moved.outcome).toMatchObject({ kind: "retry", reason: expect.stringContaining("redirects") });
    const broken = await send(() => Promise.reject(new TypeError("fetch failed")));
    expect(broken.outcome).toMatchObject({ kind: "retry", reason: expect.stringContaining("could not be reached") });
  });
});
