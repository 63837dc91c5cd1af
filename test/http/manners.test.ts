import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { readSettings } from "../../src/base/settings.js";
import { compressAnswer } from "../../src/http/compress.js";
import { secureAnswer } from "../../src/http/door.js";
import { limitAddress } from "../../src/http/rate-limit.js";
import { call, origin, type Answer } from "../support/client.js";
import { seedWorkspace } from "../support/seed.js";

const gzip = { "accept-encoding": "gzip, br" };
const page = "https://console.example";

describe("compression", () => {
  it("is for larger answers, and for who accepts gzip", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const path = `/workspaces/${id}/model-providers?limit=200`;
    const large = await call("GET", path, { token, headers: gzip });
    expect([large.status, large.headers.get("content-encoding")]).toEqual([200, "gzip"]);
    expect(large.headers.get("vary")).toContain("accept-encoding");
    // Encoded once and whole: it reads as it would without.
    expect(large.body).toEqual((await call("GET", path, { token })).body);
    expect(large.text.length).toBeGreaterThan(10_000);

    for (const words of [null, "identity", "br", "gzip;q=0", "gzip; q=0, *", "*;q=0"]) {
      const headers: Record<string, string> = words === null ? {} : { "accept-encoding": words };
      const plain = await call("GET", path, { token, headers });
      expect([words, plain.headers.get("content-encoding")]).toEqual([words, null]);
      expect(plain.headers.get("vary")).toContain("accept-encoding");
    }
    expect((await call("GET", "/healthz", { headers: gzip })).headers.get("content-encoding")).toBe(null);
  });

  it("takes streamed rows, and never events, secrets or what is encoded already", async ({ expect }) => {
    const request = new Request(origin, { headers: gzip });
    const sent = async (type: string, headers: Record<string, string> = {}, size = 5000) =>
      (
        await compressAnswer(request, new Response("x".repeat(size), { headers: { "content-type": type, ...headers } }))
      ).headers.get("content-encoding");
    expect(await sent("application/x-ndjson; charset=utf-8", {}, 10)).toBe("gzip");
    expect(await sent("text/csv")).toBe("gzip");
    expect(await sent("application/json", {}, 1024)).toBe(null);
    expect(await sent("application/json", {}, 1025)).toBe("gzip");
    expect(await sent("text/event-stream")).toBe(null);
    expect(await sent("application/octet-stream")).toBe(null);
    expect(await sent("application/json", { "cache-control": "no-store, no-transform" })).toBe(null);
    const head = new Request(origin, { method: "HEAD", headers: gzip });
    const answer = new Response(null, { headers: { "content-type": "application/json" } });
    expect((await compressAnswer(head, answer)).headers.get("content-encoding")).toBe(null);
  });

  it("is forbidden to everybody on the way of an answer that shows a secret, also when it is replayed", async ({
    expect,
  }) => {
    const { id, token } = await seedWorkspace();
    const body = {
      name: "k".repeat(90),
      scopes: ["models:invoke"],
      limits: { models: Array(40).fill("a".repeat(60)) },
    };
    const models = [...body.limits.models.keys()].map((index) => `${index}`.padEnd(60, "m"));
    const make = () =>
      call("POST", `/workspaces/${id}/api-keys`, {
        token,
        body: { ...body, limits: { models } },
        headers: { ...gzip, "idempotency-key": "once" },
      });
    const [first, again] = [await make(), await make()];
    expect(first.text.length).toBeGreaterThan(1024);
    for (const answer of [first, again]) {
      expect([answer.status, answer.headers.get("content-encoding")]).toEqual([201, null]);
      expect(answer.headers.get("cache-control")).toBe("no-store, no-transform");
    }
    expect(again.headers.get("idempotency-replayed")).toBe("true");
  });

  it("does not cost a writer the tag of what they read: the platform marks it weak where it compresses", async ({
    expect,
  }) => {
    const { id, token } = await seedWorkspace();
    const read = await call("GET", `/workspaces/${id}`, { token });
    const rename = (name: string) =>
      call("PATCH", `/workspaces/${id}`, {
        token,
        body: { name },
        headers: { "if-match": `W/${read.headers.get("etag")}` },
      });
    expect((await rename("Once")).status).toBe(200);
    expect((await rename("Twice")).body.code).toBe("precondition_failed");
  });
});

const preflight = (path: string, from: string) =>
  call("OPTIONS", path, {
    headers: {
      origin: from,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization, x-stainless-os",
    },
  });

const problems = (text: string) => {
  const reading = readSettings({ ...env, ALLOWED_ORIGINS: text });
  return "problems" in reading ? reading.problems.map(({ setting }) => setting) : reading.settings.allowedOrigins;
};

const cameFrom = (ip: string) => ({ "cf-connecting-ip": ip });

describe("web pages of other origins", () => {
  it("may call when the operator names them, with cookies at the control plane only", async ({ expect }) => {
    for (const [path, cookies] of [
      ["/workspaces", "true"],
      ["/v1/chat/completions", null],
      ["/anthropic/v1/messages", null],
    ] as const) {
      const { status, headers, text } = await preflight(path, page);
      expect([status, text]).toEqual([204, ""]);
      expect(headers.get("access-control-allow-origin")).toBe(page);
      expect(headers.get("access-control-allow-credentials")).toBe(cookies);
      expect(headers.get("access-control-allow-headers")).toBe("authorization, x-stainless-os");
      expect(headers.get("vary")).toContain("origin");
    }
    const { token } = await seedWorkspace();
    const listed = await call("GET", "/workspaces", { token, headers: { origin: page } });
    expect(listed.headers.get("access-control-allow-origin")).toBe(page);
    expect(listed.headers.get("access-control-expose-headers")).toContain("etag");
    const refused = await call("GET", "/v1/models", { headers: { origin: page } });
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([401, page]);
    expect(refused.headers.get("access-control-allow-credentials")).toBe(null);
    expect((await call("GET", "/healthz", { headers: { origin } })).headers.get("access-control-allow-origin")).toBe(
      origin,
    );
  });

  it("may not otherwise, however close their name comes", async ({ expect }) => {
    const { token } = await seedWorkspace();
    const names = ["https://console.example.evil", "http://console.example", "https://CONSOLE.example", "null", "*"];
    for (const from of names) {
      for (const path of ["/workspaces", "/v1/models"]) {
        const answers = [await preflight(path, from), await call("GET", path, { token, headers: { origin: from } })];
        for (const { headers } of answers) {
          expect([from, headers.get("access-control-allow-origin")]).toEqual([from, null]);
          expect(headers.get("vary")).toContain("origin");
        }
      }
    }
  });

  it("are named by whole https origins", ({ expect }) => {
    expect(problems("https://a.example, http://localhost:5173")).toEqual([
      "https://a.example",
      "http://localhost:5173",
    ]);
    for (const wrong of ["*", "https://a.example/", "http://a.example", "a.example", "https://*.example"]) {
      expect([wrong, problems(wrong)]).toEqual([wrong, ["ALLOWED_ORIGINS"]]);
    }
  });
});

describe("security headers", () => {
  it("stand on every answer, whoever gives it", async ({ expect }) => {
    const paths = ["/", "/healthz", "/docs/errors", "/nothing", "/v1/models", "/v1/nothing", "/openapi.json", "/mcp"];
    for (const path of paths) {
      const { headers } = await call("GET", path);
      expect(headers.get("x-content-type-options"), path).toBe("nosniff");
      expect(headers.get("referrer-policy"), path).toBe("no-referrer");
      expect(headers.get("content-security-policy"), path).toMatch(
        /^default-src '(?:self|none)'.*frame-ancestors 'none'/,
      );
      expect(headers.get("x-request-id"), path).toMatch(/^req_/);
      // No promise of https from where there is none.
      expect(headers.get("strict-transport-security"), path).toBe(null);
    }
    expect((await call("GET", "/")).headers.get("x-frame-options")).toBe("DENY");
    const response = new Response("{}");
    secureAnswer(response, "req_x", { ...env, PUBLIC_URL: "https://gatehouse.example" });
    expect(response.headers.get("strict-transport-security")).toBe("max-age=31536000");
  });
});

type Limit = "SIGN_IN_LIMIT" | "ADDRESS_LIMIT" | "CALLER_LIMIT";

/** Windows turn by the clock: whoever empties one at its end finds the next full. */
async function refusalOf(limit: Limit, key: string, ask: () => Promise<Answer>): Promise<Answer> {
  for (let tries = 0; ; tries++) {
    for (let isLeft = true; isLeft;) {
      const spent = await Promise.all(Array.from({ length: 150 }, () => env[limit].limit({ key })));
      isLeft = spent.every(({ success }) => success);
    }
    const answer = await ask();
    if (answer.status === 429 || tries === 5) {
      return answer;
    }
  }
}

describe("rate limits of the control plane", () => {
  it("hold an address that tries codes, and no other one", async ({ expect }) => {
    const ask = () => call("GET", "/auth/nothing", { headers: cameFrom("192.0.2.81") });
    const refused = await refusalOf("SIGN_IN_LIMIT", "192.0.2.81", ask);
    expect([refused.status, refused.body.code, refused.headers.get("retry-after")]).toEqual([
      429,
      "rate_limited",
      "60",
    ]);
    expect(refused.body.detail).toContain("your address");
    expect((await call("GET", "/auth/nothing", { headers: cameFrom("192.0.2.82") })).status).toBe(404);
    expect((await call("GET", "/auth/nothing")).status).toBe(404);
  });

  it("count a customer's whole IPv6 network as one address, before anybody is asked who they are", async ({
    expect,
  }) => {
    const ask = () => call("GET", "/workspaces", { token: "nonsense", headers: cameFrom("2001:db8:5:6:ffff::9") });
    expect((await refusalOf("ADDRESS_LIMIT", "2001:db8:5:6", ask)).status).toBe(429);
    expect((await call("GET", "/workspaces", { headers: cameFrom("2001:db8:5:7::9") })).status).toBe(401);
    expect((await call("GET", "/healthz", { headers: cameFrom("2001:db8:5:6::1") })).status).toBe(200);
  });

  it("hold a caller from however many addresses, and leave others alone", async ({ expect }) => {
    const { owner, token } = await seedWorkspace();
    const other = await seedWorkspace();
    const ask = () =>
      call("GET", "/me", { token, headers: cameFrom(`198.51.100.${Math.floor(performance.now()) % 250}`) });
    const refused = await refusalOf("CALLER_LIMIT", owner.id, ask);
    expect([refused.status, refused.body.code, refused.headers.get("retry-after")]).toEqual([
      429,
      "rate_limited",
      "10",
    ]);
    expect((await call("GET", "/me", { token: other.token, headers: cameFrom("198.51.100.9") })).status).toBe(200);
  });

  it("do not count this very machine, and refuse nobody when the counter does not answer", async ({ expect }) => {
    const asked: string[] = [];
    const counter = (answer: () => Promise<{ success: boolean }>) => ({
      limit: ({ key }: { key: string }) => {
        asked.push(key);
        return answer();
      },
    });
    const broken = counter(() => Promise.reject(new Error("away")));
    const counted = { ...env, ADDRESS_LIMIT: broken, SIGN_IN_LIMIT: broken } as unknown as Env;
    for (const ip of ["127.0.0.1", "127.9.9.9", "::1", "0:0:0:0:0:0:0:1"]) {
      await limitAddress(new Request(origin, { headers: cameFrom(ip) }), counted, "/auth/x");
    }
    expect(asked).toEqual([]);
    for (const ip of ["203.0.113.1", "::ffff:1", "2001:DB8::1", "2001:0db8:0:00f0:1:2:3:4"]) {
      await limitAddress(new Request(origin, { headers: cameFrom(ip) }), counted, "/me");
    }
    expect(asked).toEqual(["203.0.113.1", "0:0:0:0", "2001:db8:0:0", "2001:db8:0:f0"]);
  });
});
