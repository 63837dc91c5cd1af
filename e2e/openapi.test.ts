/** The served contract, read by a linter that has never seen our code. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { inject, it } from "vitest";

const root = path.dirname(import.meta.dirname);

interface Outcome {
  readonly failed: boolean;
  readonly said: string;
}

/** Runs a script of Node's on the document that the server hands out, as a file. */
async function onDocument(args: (file: string) => readonly string[]): Promise<Outcome> {
  const response = await fetch(`${inject("serverUrl")}/openapi.json`);
  const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-openapi-"));
  try {
    const file = path.join(folder, "openapi.json");
    writeFileSync(file, await response.text());
    return await runNode(args(file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runNode(args: readonly string[]): Promise<Outcome> {
  const env = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env, timeout: 240_000 });
    return { failed: false, said: stdout };
  } catch (error) {
    const said = error instanceof Error && "stdout" in error ? String(error.stdout) : String(error);
    return { failed: true, said };
  }
}

it("the OpenAPI document that the server hands out passes the linter without a finding", async ({ expect }) => {
  const redocly = path.join(root, "node_modules/.bin/redocly");
  const { failed, said } = await onDocument((file) => [
    redocly,
    "lint",
    file,
    "--config",
    "redocly.yaml",
    "--format",
    "stylish",
  ]);
  expect(failed, said).toBe(false);
});

it(
  "the rules of Spectral and OWASP find nothing in it, and something in a document that breaks one",
  { timeout: 480_000 },
  async ({ expect }) => {
    const installed = await runNode(["scripts/install.mjs", "tools/contract"]);
    expect(installed.failed, installed.said).toBe(false);
    const { failed, said } = await onDocument((file) => ["tools/contract/lint.mjs", file]);
    expect(failed, said).toBe(false);
    const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-openapi-"));
    const loose = path.join(folder, "loose.json");
    const name = { name: "name", in: "query", description: "Any.", schema: { type: "string" } };
    const operation = { operationId: "readAll", parameters: [name], responses: { 200: { description: "All." } } };
    writeFileSync(
      loose,
      JSON.stringify({
        openapi: "3.1.0",
        info: { title: "Loose", version: "1" },
        servers: [{ url: "https://loose.example" }],
        paths: { "/all": { get: operation } },
      }),
    );
    try {
      const broken = await runNode(["tools/contract/lint.mjs", loose]);
      expect(broken.failed).toBe(true);
      expect(broken.said).toContain("owasp:api4:2023-string-limit");
      expect(broken.said).toContain("gatehouse:signed-in");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
