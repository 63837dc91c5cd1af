import { describe, it } from "vitest";
import { endpoints } from "../src/app.js";
import { call } from "./support/client.js";
import { dumpRecord, withoutRequestId } from "./support/dump.js";
import { seedAccount, seedWorkspace } from "./support/seed.js";

const inWorkspace = endpoints.filter(({ spec }) => spec.path.startsWith("/workspaces/{ws}"));

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
    const before = await dumpRecord();
    for (const { spec } of inWorkspace) {
      for (const token of [other.token, key.body.secret, stranger.token]) {
        const knock = (ws: string) => {
          const path = spec.path.replace("{ws}", ws).replaceAll(/\{\w+\}/g, "x");
          return call(spec.method.toUpperCase(), path, { token, ...(spec.body === undefined ? {} : { body: {} }) });
        };
        const foreign = await knock(mine.id);
        const absent = await knock("ws_01h455vb4pex5vsknk084sn02q");
        expect([spec.operation, foreign.status]).toEqual([spec.operation, 404]);
        expect(withoutRequestId(foreign.text)).toBe(withoutRequestId(absent.text));
      }
    }
    expect(await dumpRecord()).toBe(before);
  });
});
