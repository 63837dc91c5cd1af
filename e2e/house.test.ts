/** The lint rules that hold the house together, tried by breaking them: a rule that is no longer read would pass everything. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";

const root = path.dirname(import.meta.dirname);
const slope = "no-restricted-imports";
/** Below src/. */
const planted = [
  { file: "audit/up.ts", code: 'import type { X } from "../keys/model.js";\nexport type Y = X;', rule: slope },
  { file: "keys/peer.ts", code: 'import { x } from "../connections/model.js";\nexport const y = x;', rule: slope },
  { file: "base/detour.ts", code: 'import { x } from "../../src/keys/deep/er.js";\nexport const y = x;', rule: slope },
  { file: "identity/late.ts", code: 'export const load = () => import("../gateway/relay.js");', rule: slope },
  { file: "gateway/top.ts", code: 'import { app } from "../app.js";\nexport const y = app;', rule: slope },
  { file: "keys/verb.ts", code: 'import { Hono } from "hono";\nexport const y = Hono;', rule: slope },
  { file: "keys/model.ts", code: 'import { env } from "cloudflare:workers";\nexport const y = env;', rule: slope },
  { file: "keys/door.ts", code: 'import { y } from "./routes.js";\nexport const z = y;', rule: slope },
  { file: "http/a.ts", code: 'import type { B } from "./b.js";\nexport interface A { b: B }', rule: "no-cycle" },
  { file: "http/b.ts", code: 'import type { A } from "./a.js";\nexport interface B { a: A }', rule: "no-cycle" },
  {
    file: "keys/loose.ts",
    code: "const go = async () => 1;\nexport function f() { go(); }",
    rule: "no-floating-promises",
  },
  {
    file: "../test/a.ts",
    code: 'import { exports } from "cloudflare:workers";\nexport const y = exports;',
    rule: slope,
  },
  { file: "../test/b.ts", code: 'import { app } from "../src/app.js";\nexport const y = app;', rule: slope },
  { file: "../test/c.ts", code: 'import { SELF } from "cloudflare:test";\nexport const y = SELF;', rule: slope },
  { file: "../test/d.ts", code: 'import { env } from "cloudflare:workers";\nexport const y = env;', rule: null },
  { file: "../e2e/a.ts", code: 'import { request } from "node:http";\nexport const y = request;', rule: slope },
  {
    file: "../e2e/b.ts",
    code: 'import { createServer } from "node:http";\nexport const y = createServer;',
    rule: null,
  },
  { file: "keys/routes.ts", code: 'import { Hono } from "hono";\nexport const y = Hono;', rule: null },
  { file: "vault/down.ts", code: 'import { x } from "../base/bytes.js";\nexport const y = x;', rule: null },
];

let house = "";
let findings = "";

async function lint(folder: string): Promise<string> {
  const bin = path.join(root, "node_modules/oxlint/bin/oxlint");
  return await new Promise((resolve) => {
    execFile(
      process.execPath,
      [bin, "--format", "unix", "src", "test", "e2e"],
      { cwd: folder, timeout: 50_000 },
      (_error, stdout) => {
        resolve(stdout);
      },
    );
  });
}

describe("the linter", () => {
  beforeAll(async () => {
    house = mkdtempSync(path.join(tmpdir(), "gatehouse-house-"));
    for (const name of ["oxlint.config.ts", "tsconfig.json"]) {
      cpSync(path.join(root, name), path.join(house, name));
    }
    symlinkSync(path.join(root, "node_modules"), path.join(house, "node_modules"));
    for (const { file, code } of planted) {
      mkdirSync(path.dirname(path.join(house, "src", file)), { recursive: true });
      writeFileSync(path.join(house, "src", file), `${code}\n`);
    }
    findings = await lint(house);
  });
  afterAll(() => rmSync(house, { recursive: true, force: true }));

  for (const { file, rule } of planted) {
    it(`${rule === null ? "lets" : "refuses"} ${path.join("src", file)}${rule === null ? " pass" : ` by ${rule}`}`, ({
      expect,
    }) => {
      const own = findings.split("\n").filter((line) => line.startsWith(`${path.join("src", file)}:`));
      expect(own.some((line) => (rule === null ? line.includes(slope) : line.includes(`(${rule})`)))).toBe(
        rule !== null,
      );
    });
  }
});
