/** The bench runs: every figure of it comes from calls that were answered. What the figures are is for a quiet machine to say. */
import path from "node:path";
import { describe, it } from "vitest";
import { runCommand } from "../scripts/process-group.ts";

const root = path.dirname(import.meta.dirname);

describe("npm run bench", () => {
  it("measures Gatehouse beside the floor and a pass-through Worker, as JSON and as streams", async ({ expect }) => {
    const lines: string[] = [];
    const args = [path.join(root, "bench/bench.ts"), "--check", "--workers", "floor,pass-through,gatehouse"];
    const onLine = (line: string): number => lines.push(line);
    const code = await runCommand(process.execPath, args, { cwd: root, onLine, limitMs: 110_000 });
    expect(code, lines.join("\n")).toBe(0);
    for (const name of ["floor", "pass-through", "gatehouse"]) {
      expect(lines.filter((line) => new RegExp(`^${name} .* 0$`).test(line))).toHaveLength(2);
    }
  }, 120_000);
});

describe("npm run bench:sim", () => {
  it("sees every share and limit hold on one shard and on four, and says when one does not", async ({ expect }) => {
    const lines: string[] = [];
    const args = [path.join(root, "bench/simulate.ts"), "--check"];
    const onLine = (line: string): number => lines.push(line);
    expect(await runCommand(process.execPath, args, { cwd: root, onLine, limitMs: 60_000 }), lines.join("\n")).toBe(0);
    expect(lines.filter((line) => /^\| [14] \|/.test(line))).toHaveLength(6);
    expect(await runCommand(process.execPath, [...args, "--calls", "0"], { cwd: root, onLine, limitMs: 60_000 })).toBe(
      1,
    );
  }, 90_000);
});
