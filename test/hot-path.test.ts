import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { origin, send } from "./support/client.js";
import { deep } from "./support/deep.js";
import { seedPool, seedWorkspace } from "./support/seed.js";

interface Counts {
  d1: number;
  kv: number;
  router: Record<string, number>;
}

function countCalls<T extends object>(target: T, count: (name: string) => void): T {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name, object);
      if (typeof value !== "function") {
        return value;
      }
      return (...args: unknown[]) => {
        count(String(name));
        return Reflect.apply(value, object, args) as unknown;
      };
    },
  });
}

function runBatch(statements: D1PreparedStatement[]): Promise<D1Result[]> {
  return env.DB.batch(statements);
}

/** Which entries of KEYRING an isolate has is said once a minute whatever it is doing, so it counts for no call. */
function countQueries(counts: Counts): D1Database {
  const prepare = (query: string): D1PreparedStatement => {
    counts.d1 += query.includes("keyring_reports") ? 0 : 1;
    return env.DB.prepare(query);
  };
  return { prepare, batch: runBatch } as unknown as D1Database;
}

/** The bindings with every use of D1, KV and the Router counted. */
function counted(counts: Counts): Env {
  const router = new Proxy(env.ROUTER, {
    get(namespace, name) {
      const value: unknown = Reflect.get(namespace, name, namespace);
      if (typeof value !== "function") {
        return value;
      }
      return (...args: unknown[]) => {
        const result: unknown = Reflect.apply(value, namespace, args);
        const isStub = name === "get" || name === "getByName";
        return isStub
          ? countCalls(result as object, (method) => {
              counts.router[method] = (counts.router[method] ?? 0) + 1;
            })
          : result;
      };
    },
  });
  return {
    ...env,
    DB: countQueries(counts),
    CONFIG: countCalls(env.CONFIG, () => (counts.kv += 1)),
    ROUTER: router,
  };
}

const messages = [{ role: "user", content: "hello" }];

async function callOnce(bindings: Env, key: string, path: string, body: object): Promise<number> {
  const request = new Request(`${origin}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const context = createExecutionContext();
  const response = await send(request, { env: bindings, context });
  await response.text();
  await waitOnExecutionContext(context);
  return response.status;
}

describe("the hot path in steady state", () => {
  const chat = "/v1/chat/completions";
  for (const { what, path, body, rounds } of [
    { what: "a JSON call", path: chat, body: { model: "chat", messages }, rounds: 20 },
    { what: "a stream", path: chat, body: { model: "chat", messages, stream: true }, rounds: 20 },
    { what: "a call of a model by its own name", path: chat, body: { model: "sandbox-chat", messages }, rounds: 10 },
    {
      what: "a stream of responses",
      path: "/v1/responses",
      body: { model: "chat", input: "hello", stream: true },
      rounds: 5,
    },
    {
      what: "a message on Anthropic's wire",
      path: "/anthropic/v1/messages",
      body: { model: "chat", max_tokens: 50, messages },
      rounds: 5,
    },
  ]) {
    it(`${what} awaits one Router call, coalesces its settles, and touches neither D1 nor KV`, async ({ expect }) => {
      const workspace = await seedWorkspace();
      const key = await seedPool(workspace, [
        { alias: "a", secret: "sk-sandbox-ok-a", weight: 3 },
        { alias: "b", secret: "sk-sandbox-ok-b", weight: 1 },
      ]);
      const counts: Counts = { d1: 0, kv: 0, router: {} };
      const bindings = counted(counts);
      expect(await callOnce(bindings, key, path, body)).toBe(200);
      Object.assign(counts, { d1: 0, kv: 0, router: {} });
      // A round lasts as long as its settles are gathered, some 100 ms.
      const all = deep(rounds, 200);
      for (let round = 0; round < all; round += 1) {
        const statuses = await Promise.all(Array.from({ length: 16 }, () => callOnce(bindings, key, path, body)));
        expect(new Set(statuses)).toEqual(new Set([200]));
      }
      const calls = all * 16;
      const { settle = 0, ...awaited } = counts.router;
      console.log(`hot path, ${what}: ${calls} calls, ${settle} settles`);
      expect({ d1: counts.d1, kv: counts.kv, router: awaited }).toEqual({ d1: 0, kv: 0, router: { admit: calls } });
      expect(settle).toBeGreaterThan(0);
      expect(settle / calls).toBeLessThanOrEqual(0.1);
    }, 120_000);
  }
});
