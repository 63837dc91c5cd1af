/** The TypeScript client as the package brings it to builders: what is in it, and that its types are the contract's. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, inject, it } from "vitest";

const root = path.dirname(import.meta.dirname);
const run = promisify(execFile);
const ended: (() => void)[] = [];

afterEach(() => {
  for (const end of ended.splice(0)) {
    end();
  }
});

describe("the published TypeScript client", () => {
  it("stands in the package as gatehouse/client, with what it needs and nothing of the service", async ({ expect }) => {
    const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-pack-"));
    ended.push(() => rmSync(folder, { recursive: true, force: true }));
    const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
      cwd: root,
    });
    const packed = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
    const files = packed[0]?.files.map((file) => file.path) ?? [];
    expect(files).toContain("clients/typescript/schema.d.ts");
    expect(files.filter((file) => /^(src|test|e2e|migrations|bench)\//.test(file))).toEqual([]);
    const modules = path.join(folder, "node_modules");
    mkdirSync(path.join(modules, "gatehouse"), { recursive: true });
    await run("tar", [
      "-xzf",
      path.join(folder, packed[0]?.filename ?? ""),
      "--strip-components=1",
      "-C",
      path.join(modules, "gatehouse"),
    ]);
    cpSync(path.join(root, "node_modules/openapi-fetch"), path.join(modules, "openapi-fetch"), { recursive: true });
    const program = path.join(folder, "main.mjs");
    writeFileSync(program, 'import { createClient } from "gatehouse/client"; console.log(typeof createClient);');
    expect((await run(process.execPath, [program])).stdout.trim()).toBe("function");
  }, 60_000);

  it("has the types of the contract that the server hands out", async ({ expect }) => {
    const env = { ...process.env, GATEHOUSE: inject("serverUrl") };
    const args = [path.join(root, "scripts/client-types.ts"), "--check"];
    const { stdout } = await run(process.execPath, args, { env, cwd: root }).catch(
      (error: { stdout: string; stderr: string }) => ({
        stdout: error.stdout + error.stderr,
      }),
    );
    expect(stdout).toContain("is what the contract says");
  }, 180_000);
});
