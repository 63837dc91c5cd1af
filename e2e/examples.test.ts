/** The three example scripts against a running Gatehouse, as a newcomer runs them: once, again, and with what newcomers get wrong. */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { describe, inject, it } from "vitest";

const root = path.dirname(import.meta.dirname);
const run = promisify(execFile);

describe("the examples set up a whole workspace, and find it the second time", () => {
  const commands = {
    JavaScript: [process.execPath, "examples/workspace.mjs"],
    Python: ["python3", "examples/workspace.py"],
    curl: ["bash", "examples/workspace.sh"],
  };

  it.for(Object.entries(commands))("%s", { timeout: 120_000 }, async ([, [command = "", ...args]], { expect }) => {
    const env = { ...process.env, GATEHOUSE: inject("serverUrl"), GATEHOUSE_TOKEN: inject("sessionToken") };
    const first = await run(command, args, { cwd: root, env });
    expect(first.stdout.match(/\[\d\/9\]/g)).toHaveLength(9);
    expect(first.stdout.match(/made (ws|cred|pool|key)_/g)).toHaveLength(5);
    expect(first.stdout).toMatch(/\[9\/9\] .* nothing (was changed|wrong found, not all sealed yet)\nDone\./);
    const second = await run(command, args, { cwd: root, env });
    expect(second.stdout.match(/there already/g)).toHaveLength(5);
    expect(second.stdout).toContain("Done.");
    const { GATEHOUSE_TOKEN: _, ...without } = env;
    await expect(run(command, args, { cwd: root, env: without })).rejects.toMatchObject({
      stderr: expect.stringContaining("Set GATEHOUSE_TOKEN"),
    });
    const bad = await run(command, args, { cwd: root, env: { ...env, GATEHOUSE_TOKEN: "nobody's" } }).catch(
      (error: { code: number; stderr: string }) => error,
    );
    expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining("unauthenticated") });
  });
});
