/** `npm start`: from a fresh clone to a running Gatehouse on this machine: secrets, database, server, cron, and what to try first. */
import { existsSync, mkdirSync } from "node:fs";
import { connect } from "node:net";
import path from "node:path";
import { type Demo, makeDemo } from "./demo.ts";
import { driveCron, waitUntilReady } from "./local-server.ts";
import { ensureLocalVars } from "./local-vars.ts";
import { applyMigrations } from "./migrate.ts";
import { type ProcessGroup, startGroup, stopAllGroups } from "./process-group.ts";
import { makeLineFilter, wranglerCommand, wranglerEnvironment } from "./wrangler.ts";

const root = path.dirname(import.meta.dirname);
const readyLimitMs = 120_000;

const usage = `npm start

Starts Gatehouse on this machine and prints its address. It takes no arguments but --help; set these in the environment if you like:

  PORT             the port on 127.0.0.1 (8787)
  GATEHOUSE_STATE  the folder of database, objects and queues (.wrangler/state); delete it to begin anew
  GATEHOUSE_VARS   the file of secrets and settings, made when it is missing (.dev.vars); docs/settings.md lists what may stand in it
  GATEHOUSE_DEMO   0: no demo workspace, and no curl line with its key
  WRANGLER_LOG     log: a line for each request
`;

/** A failure with a sentence for the person at the terminal; no stack helps them. */
class StartError extends Error {}

interface Plan {
  readonly port: number;
  readonly url: string;
  readonly state: string;
  readonly varsFile: string;
  readonly wantsDemo: boolean;
}

function readPlan(env: NodeJS.ProcessEnv): Plan {
  const port = Number(env["PORT"] ?? "8787");
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new StartError(`PORT is "${env["PORT"]}". It must be a number from 1 to 65535.`);
  }
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    state: path.resolve(root, env["GATEHOUSE_STATE"] ?? ".wrangler/state"),
    varsFile: path.resolve(root, env["GATEHOUSE_VARS"] ?? ".dev.vars"),
    wantsDemo: env["GATEHOUSE_DEMO"] !== "0",
  };
}

/** Whether something answers on the port. Asking by connecting also finds those that listen on all addresses. */
async function isPortTaken(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", timeout: 2000 });
    const settle = (taken: boolean) => {
      socket.destroy();
      resolve(taken);
    };
    socket.once("connect", () => settle(true));
    socket.once("timeout", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

function startWrangler(plan: Plan): ProcessGroup {
  const args = ["dev", "--ip", "127.0.0.1", "--port", String(plan.port), "--inspector-port", "0"];
  args.push("--persist-to", plan.state, "--env-file", plan.varsFile, "--var", `PUBLIC_URL:${plan.url}`);
  args.push("--show-interactive-dev-session=false", "--log-level", process.env["WRANGLER_LOG"] ?? "warn");
  const command = wranglerCommand(root, args);
  const onLine = makeLineFilter((line) => console.log(line));
  return startGroup(command.file, command.args, { cwd: root, env: wranglerEnvironment(plan.state), onLine });
}

/** The demo is a gift: a start without it is still a start, but says so. */
async function offerDemo(url: string, setupToken: string): Promise<Demo | null> {
  try {
    return await makeDemo(url, setupToken);
  } catch (error) {
    console.error(`No demo this time: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

function printGuide(plan: Plan, setupToken: string, demo: Demo | null): void {
  const { url } = plan;
  const setupBody = '{"email":"you@example.com","name":"You","workspace":{"name":"My team"}}';
  console.log(`
Gatehouse is ready: ${url}

  Set up, once  ${url}/setup#${setupToken}
  or by curl    curl -X POST ${url}/setup -H 'Authorization: Bearer ${setupToken}' -H 'Content-Type: application/json' -d '${setupBody}'
  Docs          ${url}/docs
  Contract      ${url}/openapi.json
  Sent mail     ${url}/dev/outbox`);
  if (demo !== null) {
    const body = JSON.stringify({ model: demo.model, stream: true, messages: [{ role: "user", content: "Hello!" }] });
    console.log(`
  A routed, streamed call:
  curl -N ${url}/v1/chat/completions -H 'Authorization: Bearer ${demo.apiKey}' -H 'Content-Type: application/json' -d '${body}'`);
  }
  console.log("\nCtrl-C ends it.");
}

let isStopping = false;

function stop(code: number): void {
  isStopping = true;
  void stopAllGroups().then(() => process.exit(code));
}

/** Ends all that runs and then this process, on a signal or when npm, which started us, is gone without having told us. */
function stopInOrder(): void {
  const codes = { SIGINT: 130, SIGTERM: 0, SIGHUP: 0 } as const;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => stop(codes[signal]));
  }
  const parent = process.ppid;
  if (process.env["npm_lifecycle_event"] !== undefined) {
    setInterval(() => (process.ppid === parent ? undefined : stop(1)), 500).unref();
  }
}

async function startGatehouse(): Promise<void> {
  stopInOrder();
  const plan = readPlan(process.env);
  if (await isPortTaken(plan.port)) {
    const other = `PORT=${plan.port + 1} GATEHOUSE_STATE=.wrangler/state-${plan.port + 1} npm start`;
    throw new StartError(`Port ${plan.port} is in use. Stop what listens there, or start beside it: ${other}`);
  }
  mkdirSync(plan.state, { recursive: true });
  const isFirst = !existsSync(plan.varsFile);
  const { vars, made } = ensureLocalVars(plan.varsFile);
  if (made) {
    console.log(
      `${isFirst ? "Made" : "Completed"} ${path.relative(root, plan.varsFile)} (local secrets, ignored by git)`,
    );
  }
  if (!(await applyMigrations(root, plan.state))) {
    throw new StartError("The local database could not be brought up to date; see the lines above.");
  }
  console.log(`Starting on ${plan.url}`);
  const server = startWrangler(plan);
  const failed = server.ended.then((code) => {
    throw new StartError(`The server ended by itself (exit code ${code}).`);
  });
  failed.catch(() => undefined);
  const trouble = await Promise.race([waitUntilReady(plan.url, readyLimitMs), failed]);
  if (trouble !== null) {
    await server.stop();
    throw new StartError(`Not ready after ${readyLimitMs / 1000} s. /readyz says: ${trouble}`);
  }
  const setupToken = vars["SETUP_TOKEN"] ?? "";
  const demo = plan.wantsDemo ? await offerDemo(plan.url, setupToken) : null;
  printGuide(plan, setupToken, demo);
  driveCron(plan.url);
  await failed;
}

try {
  const [argument] = process.argv.slice(2);
  if (argument === "--help" || argument === "-h") {
    console.log(usage);
    process.exit(0);
  }
  if (argument !== undefined) {
    throw new StartError(`"${argument}" is unknown here.\n\n${usage}`);
  }
  await startGatehouse();
} catch (error) {
  // What ends because we end it is no failure; the signal's own exit code follows.
  if (!isStopping) {
    console.error(error instanceof StartError ? error.message : error);
    process.exit(1);
  }
}
