/** The three example scripts against a running Gatehouse, as a newcomer runs them: over a bad network, again, and with what newcomers get wrong. */
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, inject, it } from "vitest";
import { doneButHalf, json, pass, play, type Step } from "./support/play.ts";
import { findFreePorts } from "./support/server.ts";

const root = path.dirname(import.meta.dirname);
const commands = {
  JavaScript: [process.execPath, "examples/workspace.mjs"],
  Python: ["python3", "examples/workspace.py"],
  curl: ["bash", "examples/workspace.sh"],
} as const;

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a script to its end, whatever that is, and from elsewhere than the clone. */
function run([command, script]: readonly [string, string], env: object, ...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      command,
      [path.join(root, script), ...args],
      { cwd: tmpdir(), env: { ...process.env, ...env } },
      (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
      },
    );
  });
}

/** A gateway whose answer to a call came too late: it may have been paid for. */
function late(target: string): Step {
  const tooLate = json(504, { error: { code: "upstream_timeout", message: "Too late." } });
  return (request, response, body) => {
    (request.url?.startsWith("/v1/") ? tooLate : pass(target))(request, response, body);
  };
}

/** A network that loses the first answer to each write, and a gateway that is busy at the first call. */
function losing(target: string): Step {
  const met = new Set<string>();
  return (request, response, body) => {
    const { method, url = "" } = request;
    const isFirst = method === "POST" && !met.has(url);
    met.add(url);
    if (isFirst && url.startsWith("/v1/")) {
      return json(429, { error: { code: "rate_limited", message: "Later." } }, { "retry-after": "0" })(
        request,
        response,
        body,
      );
    }
    return (isFirst ? doneButHalf(target) : pass(target))(request, response, body);
  };
}

// Each mostly waits, on a workspace of its own.
describe.concurrent("the examples set up a whole workspace", () => {
  it.for(Object.entries(commands))("%s", { timeout: 120_000 }, async ([, command], { expect }) => {
    const env = { GATEHOUSE: inject("serverUrl"), GATEHOUSE_TOKEN: inject("sessionToken") };
    const network = await play(losing(env.GATEHOUSE));
    const first = await run(command, { ...env, GATEHOUSE: `${network.url}/` });
    network.end();
    expect(first, first.stdout).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout.match(/\[\d\/9\]/g)).toHaveLength(9);
    // Each of these was made at the first try, whose answer was lost.
    expect(first.stdout.match(/no answer, once more in 0\.\d+ s … made (ws|cred|pool|key)_/g)).toHaveLength(4);
    expect(first.stdout.match(/made (ws|cred|pool|key)_/g)).toHaveLength(5);
    expect(first.stdout).toContain("429, once more in 0");
    expect(first.stdout).toMatch(/\[9\/9\] .* nothing (was changed|wrong found, not all sealed yet)\nDone\./);

    const [closed = 0] = await findFreePorts(1);
    const [second, help, unasked, bare, stranger, nobody] = await Promise.all([
      run(command, env),
      run(command, {}, "--help"),
      run(command, env, "--force"),
      run(command, { ...env, GATEHOUSE_TOKEN: "" }),
      run(command, { ...env, GATEHOUSE_TOKEN: "nobody's" }),
      run(command, { ...env, GATEHOUSE: `http://127.0.0.1:${closed}` }),
    ]);
    expect(second.stdout.match(/there already/g)).toHaveLength(5);
    expect(second.stdout).toContain("Done.");
    const usage = expect.stringContaining("GATEHOUSE_TOKEN=<session token>");
    expect(help).toMatchObject({ code: 0, stdout: usage, stderr: "" });
    expect(unasked).toMatchObject({ code: 2, stdout: usage });
    expect(bare).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(/^Set GATEHOUSE_TOKEN to .*\n$/) });
    expect(stranger).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^unauthenticated: .*\(req_\w+\)\n.*sign in again\.\n$/),
    });
    expect(nobody).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^http:\S+ does not answer \(.*\)\. .*\n$/),
    });

    const gateway = await play(late(env.GATEHOUSE));
    const unpaid = await run(command, { ...env, GATEHOUSE: gateway.url });
    gateway.end();
    expect(unpaid).toMatchObject({ code: 1, stderr: expect.stringContaining("upstream_timeout: Too late.") });
    expect(gateway.seen.filter(({ url }) => url.startsWith("/v1/"))).toHaveLength(1);
  });
});
