/** The served contract, read by a linter that has never seen our code. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { inject, it } from "vitest";

const root = path.dirname(import.meta.dirname);

it("the OpenAPI document that the server hands out passes the linter without a finding", async ({ expect }) => {
  const response = await fetch(`${inject("serverUrl")}/openapi.json`);
  expect(response.status).toBe(200);
  const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-openapi-"));
  try {
    const file = path.join(folder, "openapi.json");
    writeFileSync(file, await response.text());
    const args = [
      path.join(root, "node_modules/.bin/redocly"),
      "lint",
      file,
      "--config",
      "redocly.yaml",
      "--format",
      "stylish",
    ];
    const env = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
    const result = await promisify(execFile)(process.execPath, args, { cwd: root, env, timeout: 50_000 }).catch(
      (error: Error & { stdout?: string }) => ({ stdout: error.stdout ?? error.message, failed: true }),
    );
    expect("failed" in result, result.stdout).toBe(false);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
