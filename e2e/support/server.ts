/** Starts a Gatehouse of its own: free port, new state, own secrets; nothing of the developer's is touched, and `stop` leaves nothing behind. */
import { randomInt } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { ensureLocalVars } from "../../scripts/local-vars.ts";
import { waitUntilReady } from "../../scripts/local-server.ts";
import { startGroup } from "../../scripts/process-group.ts";

const root = path.dirname(path.dirname(import.meta.dirname));
const readyLimitMs = 180_000;

export interface RunningServer {
  /** Without a slash at the end. */
  readonly url: string;
  readonly setupToken: string;
  /** The folder of its D1, KV, Queue and Router data; gone after `stop`, unless `state` was given. */
  readonly state: string;
  /** All that it has printed so far, the Worker's log included. */
  output(): string;
  stop(): Promise<void>;
}

interface ServerOptions {
  /** Added to, or put in place of, the local secrets and switches, such as OUTBOUND_ALLOW. */
  readonly vars?: Readonly<Record<string, string>>;
  /** A folder to keep state and secrets in over several starts. The caller removes it. */
  readonly state?: string;
}

/** Where a server with this state folder writes what it prints, for tests that know the folder alone. */
export function outputFile(state: string): string {
  return path.join(state, "output.log");
}

// Below the ports that systems give to outgoing connections: those come and go, and would take one that a stopped server left.
const lowestPort = 15_000;
const highestPort = 32_000;
const handedOut = new Set<number>();

/** Ports of 127.0.0.1 that were free a moment ago, each handed out once. */
export async function findFreePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = randomInt(lowestPort, highestPort);
    if (!handedOut.has(port) && (await isFree(port))) {
      handedOut.add(port);
      ports.push(port);
    }
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

function writeVars(file: string, vars: Readonly<Record<string, string>>): string {
  if (Object.keys(vars).length > 0) {
    const lines = Object.entries(vars).map(([name, value]) => `${name}='${value}'\n`);
    writeFileSync(file, lines.join(""), { mode: 0o600 });
  }
  return ensureLocalVars(file).vars["SETUP_TOKEN"] ?? "";
}

/** Starts a server and waits for /readyz. Throws with its whole output when that takes longer than 3 min. */
export async function startServer(options: ServerOptions = {}): Promise<RunningServer> {
  const state = options.state ?? mkdtempSync(path.join(tmpdir(), "gatehouse-e2e-"));
  const varsFile = path.join(state, "vars");
  const setupToken = writeVars(varsFile, options.vars ?? {});
  const [port] = await findFreePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const lines: string[] = [];
  const file = openSync(outputFile(state), "a");
  let isOpen = true;
  const keep = (line: string): void => {
    lines.push(line);
    if (isOpen) {
      writeSync(file, `${line}\n`);
    }
  };
  const server = startGroup(process.execPath, [path.join(root, "scripts/start.ts")], {
    cwd: root,
    env: {
      ...process.env,
      PORT: String(port),
      GATEHOUSE_STATE: state,
      GATEHOUSE_VARS: varsFile,
      GATEHOUSE_DEMO: "0",
      WRANGLER_LOG: "log",
    },
    onLine: keep,
  });
  async function stop(): Promise<void> {
    // The start script itself allows its children 5 s.
    await server.stop(10_000);
    if (isOpen) {
      isOpen = false;
      closeSync(file);
    }
    if (options.state === undefined) {
      rmSync(state, { recursive: true, force: true });
    }
  }
  const ended = server.ended.then((code) => `it ended with exit code ${code}`);
  const trouble = await Promise.race([waitUntilReady(url, readyLimitMs), ended]);
  if (trouble !== null) {
    await stop();
    throw new Error(`the server did not become ready (${trouble}); it printed:\n${lines.join("\n")}`);
  }
  return { url, setupToken, state, output: () => lines.join("\n"), stop };
}
