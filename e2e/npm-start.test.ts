/** `npm start` itself, beside the server of the other tests: its curl line, every command of the documents, its end without a trace, its second start. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { connect } from "./support/client.ts";
import { findProcesses, programOf } from "./support/processes.ts";
import { findFreePorts } from "./support/server.ts";
import { findObjects, listTwins, openShell, readBlocks, readFences, type Shell } from "./support/shell.ts";

const root = path.dirname(import.meta.dirname);
const printedCurl = /^ *(curl -N .*)$/m;
const blocks = readBlocks(root);

interface Started {
  readonly url: string;
  readonly seconds: number;
  output(): string;
  /** Sends the signal to the whole foreground group, as a terminal does on Ctrl-C. Answers the exit code. */
  interrupt(): Promise<number | null>;
  /** Sends SIGTERM to npm alone, as a service manager does. */
  terminate(): Promise<void>;
}

let state = "";
let port = 0;
let started: Started;
let child: ChildProcess | undefined;

async function npmStart(): Promise<Started> {
  const vars = path.join(state, "vars");
  const env = { ...process.env, PORT: String(port), GATEHOUSE_STATE: state, GATEHOUSE_VARS: vars, WRANGLER_LOG: "log" };
  const from = performance.now();
  const npm = spawn("npm", ["start"], { cwd: root, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  child = npm;
  let heard = "";
  for (const stream of [npm.stdout, npm.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      heard += text;
    });
  }
  const ended = new Promise<number | null>((resolve) => {
    npm.once("exit", resolve);
  });
  while (!heard.includes("Ctrl-C ends it.")) {
    if (npm.exitCode !== null || performance.now() - from > 90_000) {
      throw new Error(`npm start did not come up; it printed:\n${heard}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    url: `http://127.0.0.1:${port}`,
    seconds: (performance.now() - from) / 1000,
    output: () => heard,
    async interrupt() {
      process.kill(-(npm.pid ?? 0), "SIGINT");
      return await ended;
    },
    async terminate() {
      npm.kill("SIGTERM");
      await ended;
    },
  };
}

/** The start script with an argument, to its end. */
async function runStart(argument: string): Promise<object> {
  const ended = promisify(execFile)(process.execPath, ["scripts/start.ts", argument], { cwd: root, timeout: 30_000 });
  return await ended.catch((error: object) => error);
}

/** The key in the printed curl line. */
function printedKey(): string {
  return /Bearer (ghk_\w+)/.exec(printedCurl.exec(started.output())?.[1] ?? "")?.[1] ?? "";
}

/** What still runs for this start, by id and program. */
function leftovers(): string[] {
  return findProcesses(state).map((pid) => `${pid} ${programOf(pid)}`);
}

beforeAll(async () => {
  state = mkdtempSync(path.join(tmpdir(), "gatehouse-start-"));
  [port = 0] = await findFreePorts(1);
  started = await npmStart();
});

afterAll(async () => {
  if (child !== undefined && child.exitCode === null && child.signalCode === null) {
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  }
  rmSync(state, { recursive: true, force: true, maxRetries: 10 });
});

describe("the lines that npm start prints", () => {
  it("hold a curl line that streams a routed answer to its [DONE]", async ({ expect }) => {
    const line = printedCurl.exec(started.output())?.[1] ?? "false";
    const { stdout } = await promisify(execFile)("bash", ["-c", `${line} -sS -i`], { timeout: 30_000 });
    const [head = "", body = ""] = stdout.split(/\r?\n\r?\n(.*)/s);
    expect(head).toMatch(/^HTTP\/1\.1 200 /);
    expect(head).toMatch(/^x-gatehouse-instance: demo-[ab]\r?$/m);
    expect(head).toMatch(/^content-type: text\/event-stream/im);
    const lines = body.split("\n").filter((text) => text.trim() !== "" && !text.startsWith(":"));
    expect(lines.length).toBeGreaterThan(4);
    expect(lines.filter((text) => !text.startsWith("data: "))).toEqual([]);
    expect(lines.at(-1)).toBe("data: [DONE]");
  });

  it("name no address that answers with an error", async ({ expect }) => {
    const addresses = [...started.output().matchAll(/http:\/\/127\.0\.0\.1:\d+(\/[^\s#']*)/g)].map((match) => match[1]);
    const pages = new Set(addresses.filter((page) => page !== undefined && !page.startsWith("/v1")));
    expect(pages.size).toBeGreaterThan(1);
    for (const page of pages) {
      expect((await fetch(`${started.url}${page}`)).status, page).toBe(200);
    }
  });

  it("tell how to start it, and start nothing, when they are asked for or an argument is not understood", async ({
    expect,
  }) => {
    const told = expect.stringMatching(/PORT .*8787[^]*GATEHOUSE_STATE/);
    expect(await runStart("--help")).toMatchObject({ stdout: told });
    expect(await runStart("--prot=9000")).toMatchObject({ code: 1, stderr: told });
  });

  it("are printed beside another server on its own port and state, which does not notice", async ({ expect }) => {
    const other = connect(inject("serverUrl"), printedKey());
    expect((await other("GET", "/readyz")).status).toBe(200);
    expect((await other("GET", "/v1/models")).status).toBe(401);
    expect((await connect(started.url, printedKey())("GET", "/v1/models")).status).toBe(200);
  });
});

describe("the commands in README.md and docs/", () => {
  let shell: Shell;

  beforeAll(() => {
    const setupToken = /\/setup#(\S+)/.exec(started.output())?.[1] ?? "";
    shell = openShell(root, { SETUP_TOKEN: setupToken, GATEHOUSE_KEY: printedKey() });
  });

  afterAll(() => shell.end());

  it("are marked as what they are: start and test are what CI runs by itself, and deploy needs somebody's account", ({
    expect,
  }) => {
    const byMark = Map.groupBy(blocks, ({ mark }) => mark);
    expect([...byMark.keys()].toSorted()).toEqual(["deploy", "keyring", "run", "sdk", "start", "test"]);
    expect(new Set(byMark.get("start")?.map(({ text }) => text))).toEqual(new Set(["npm start\n"]));
    expect(byMark.get("test")?.map(({ text }) => text)).toEqual(["npm test\n"]);
    expect(byMark.get("deploy")?.map(({ place }) => place.split(":")[0])).toEqual(["docs/guides/run-in-production.md"]);
  });

  it("leave no block for a shell or a program unmarked in a guide but those that hold an ellipsis", ({ expect }) => {
    for (const [english] of listTwins(root)) {
      const marked = new Set(blocks.filter(({ place }) => place.startsWith(`${english}:`)).map(({ text }) => text));
      const unmarked = readFences(root, english)
        .map((fence) => /^```(?:sh|ts)\n(.*)```$/s.exec(fence)?.[1])
        .filter((text) => text !== undefined && !marked.has(text) && !text.includes("…"));
      expect(unmarked, english).toEqual([]);
    }
  });

  it("are the same in Chinese", ({ expect }) => {
    const twins = listTwins(root);
    expect(twins.length).toBeGreaterThan(10);
    for (const [english, chinese] of twins) {
      expect(readFences(root, chinese), chinese).toEqual(readFences(root, english));
    }
  });

  it.for(blocks.filter(({ mark }) => mark === "run" || mark === "sdk"))(
    "run as they stand: $place",
    async ({ mark, text, place, prints }, { expect }) => {
      const here = text.replaceAll(/127\.0\.0\.1:8787|localhost:8787/g, `127.0.0.1:${port}`);
      const program = `node --input-type=module-typescript - <<'END_OF_PROGRAM'\n${here}END_OF_PROGRAM`;
      const { exitCode, output } = await shell.paste(mark === "sdk" ? program : here);
      const answers = findObjects(output);
      expect(exitCode, `${place} printed:\n${output}`).toBe(0);
      expect(
        answers.filter(({ code, error }) => typeof code === "string" || (error !== undefined && error !== null)),
        `${place} printed:\n${output}`,
      ).toEqual([]);
      expect(output).not.toMatch(/^curl: \(/m);
      expect(output.trim(), place).not.toBe("");
      let from = 0;
      for (const part of prints) {
        expect(output.indexOf(part, from), `${place} does not print ${part} there but:\n${output}`).toBeGreaterThan(-1);
        from = output.indexOf(part, from) + part.length;
      }
      if (text.includes('"stream": true')) {
        expect(output).toMatch(/^data: \[DONE\]$|^event: message_stop$/m);
      }
      if (mark === "sdk") {
        expect(output).toMatch(/Sandbox answer \w+: /);
      }
    },
  );
});

describe.skipIf(process.platform !== "linux")("the end of npm start", () => {
  it("by Ctrl-C leaves no process behind", async ({ expect }) => {
    expect(leftovers().filter((line) => line.endsWith("workerd")).length).toBeGreaterThan(0);
    await started.interrupt();
    await expect.poll(leftovers, { timeout: 5_000 }).toEqual([]);
    await expect(fetch(`${started.url}/healthz`)).rejects.toThrow();
  });

  it("leaves a state that the next start takes up within 15 s, with a new key in place of the old one", async ({
    expect,
  }) => {
    const oldKey = printedKey();
    started = await npmStart();
    console.log(`second start: ${started.seconds.toFixed(1)} s`);
    expect(started.seconds).toBeLessThan(15);
    expect(printedKey()).toMatch(/^ghk_/);
    expect((await connect(started.url, oldKey)("GET", "/v1/models")).status).toBe(401);
    const models = await connect(started.url, printedKey())("GET", "/v1/models");
    expect(models.body["data"]).toEqual(expect.arrayContaining([expect.objectContaining({ id: "demo" })]));
  });

  it("by SIGTERM to npm leaves no process behind either", async ({ expect }) => {
    await started.terminate();
    await expect.poll(leftovers, { timeout: 10_000 }).toEqual([]);
  });
});
