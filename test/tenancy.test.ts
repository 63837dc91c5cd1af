import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { endpoints } from "../src/app.js";
import { call } from "./support/client.js";
import { seedAccount, seedWorkspace } from "./support/seed.js";

const inWorkspace = endpoints.filter(({ spec }) => spec.path.startsWith("/workspaces/{ws}"));

/** Everything that D1 holds, as text, but for what moves by itself. */
async function dump(): Promise<string> {
  const tables = await env.DB.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
  ).all();
  const texts: string[] = [];
  for (const { name } of tables.results as { name: string }[]) {
    const rows = await env.DB.prepare(`SELECT * FROM "${name}"`).all();
    texts.push(`${name} ${JSON.stringify(rows.results)}`);
  }
  return texts.join("\n").replaceAll(/"last_used_at":\d+/g, '"last_used_at":null');
}

function without(text: string): string {
  return text.replaceAll(/req_[0-9a-z]{26}/g, "req");
}

describe("every declared endpoint", () => {
  it("declares a permission, and only public ones do without a caller", async ({ expect }) => {
    expect(endpoints.length).toBeGreaterThan(20);
    for (const { spec } of endpoints) {
      const path = spec.path.replaceAll(/\{\w+\}/g, "x");
      const answer = await call(spec.method.toUpperCase(), path, spec.body === undefined ? {} : { body: {} });
      const isPublic = spec.permission.kind === "public";
      expect([spec.operation, isPublic || answer.status === 401]).toEqual([spec.operation, true]);
    }
  });

  it("answers another workspace's caller as it answers for a workspace that is not there, and changes nothing", async ({
    expect,
  }) => {
    const mine = await seedWorkspace();
    const other = await seedWorkspace();
    const key = await call("POST", `/workspaces/${other.id}/api-keys`, {
      token: other.token,
      body: {
        name: "All",
        scopes: ["workspace:manage", "keys:manage", "providers:manage", "pools:manage", "members:manage"],
      },
    });
    expect(key.status).toBe(201);
    const stranger = await seedAccount();
    const before = await dump();
    for (const { spec } of inWorkspace) {
      for (const token of [other.token, key.body.secret, stranger.token]) {
        const knock = (ws: string) => {
          const path = spec.path.replace("{ws}", ws).replaceAll(/\{\w+\}/g, "x");
          return call(spec.method.toUpperCase(), path, { token, ...(spec.body === undefined ? {} : { body: {} }) });
        };
        const foreign = await knock(mine.id);
        const absent = await knock("ws_01h455vb4pex5vsknk084sn02q");
        expect([spec.operation, foreign.status]).toEqual([spec.operation, 404]);
        expect(without(foreign.text)).toBe(without(absent.text));
      }
    }
    expect(await dump()).toBe(before);
  });
});
