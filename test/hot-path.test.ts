import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { app } from "../src/app.js";
import { origin } from "./support/client.js";
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

async function callOnce(bindings: Env, key: string, stream: boolean, model = "chat"): Promise<number> {
  const request = new Request(`${origin}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model, stream, messages: [{ role: "user", content: "hello" }] }),
  });
  const context = createExecutionContext();
  const response = await app.fetch(request, bindings, context);
  await response.text();
  await waitOnExecutionContext(context);
  return response.status;
}

describe("the hot path in steady state", () => {
  for (const { what, stream, model } of [
    { what: "a JSON call", stream: false, model: "chat" },
    { what: "a stream", stream: true, model: "chat" },
    { what: "a call of a model by its own name", stream: false, model: "sandbox-chat" },
  ]) {
    it(`${what} awaits one Router call, coalesces its settles, and touches neither D1 nor KV`, async ({ expect }) => {
      const workspace = await seedWorkspace();
      const key = await seedPool(workspace, [
        { alias: "a", secret: "sk-sandbox-ok-a", weight: 3 },
        { alias: "b", secret: "sk-sandbox-ok-b", weight: 1 },
      ]);
      const counts: Counts = { d1: 0, kv: 0, router: {} };
      const bindings = counted(counts);
      expect(await callOnce(bindings, key, stream, model)).toBe(200);
      Object.assign(counts, { d1: 0, kv: 0, router: {} });
      // A round lasts as long as its settles are gathered, some 100 ms.
      const rounds = deep(model === "chat" ? 20 : 10, 200);
      for (let round = 0; round < rounds; round += 1) {
        const statuses = await Promise.all(Array.from({ length: 16 }, () => callOnce(bindings, key, stream, model)));
        expect(new Set(statuses)).toEqual(new Set([200]));
      }
      const calls = rounds * 16;
      const { settle = 0, ...awaited } = counts.router;
      console.log(`hot path, ${what}: ${calls} calls, ${settle} settles`);
      expect({ d1: counts.d1, kv: counts.kv, router: awaited }).toEqual({ d1: 0, kv: 0, router: { admit: calls } });
      expect(settle).toBeGreaterThan(0);
      expect(settle / calls).toBeLessThanOrEqual(0.1);
    }, 120_000);
  }
});
