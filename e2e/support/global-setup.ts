/** One server for all end-to-end files. A file that needs a fresh one starts its own with `startServer`. */
import type { TestProject } from "vitest/node";
import { connect } from "./client.ts";
import { findFreePorts, type RunningServer, startServer } from "./server.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The session of the shared server's first account. Each file makes its own workspace with it. */
    readonly sessionToken: string;
    /** The shared server's address, without a slash at the end. */
    readonly serverUrl: string;
    readonly setupToken: string;
    /** A loopback port for pages that may call the shared server (ALLOWED_ORIGINS). A file serves them there. */
    readonly pagePort: number;
    /** The folder of the shared server's data; its processes carry the name in their environment. */
    readonly serverState: string;
    /** Loopback ports that the shared server may call (OUTBOUND_ALLOW). A file starts its upstreams on them. */
    readonly upstreamPorts: number[];
  }
}

const upstreamCount = 6;
let server: RunningServer | undefined;

export async function setup(project: TestProject): Promise<void> {
  const [pagePort = 0, ...ports] = await findFreePorts(1 + upstreamCount);
  const allow = ports.map((port) => `http://127.0.0.1:${port}`).join(",");
  const pages = `http://127.0.0.1:${pagePort}`;
  const vars = { OUTBOUND_ALLOW: allow, WORKSPACE_CREATORS: "anyone", ALLOWED_ORIGINS: pages };
  server = await startServer({ vars });
  project.provide("pagePort", pagePort);
  project.provide("serverUrl", server.url);
  project.provide("setupToken", server.setupToken);
  project.provide("serverState", server.state);
  project.provide("sessionToken", await setUp(server));
  project.provide("upstreamPorts", ports);
}

async function setUp({ url, setupToken }: RunningServer): Promise<string> {
  const body = { email: "ada@example.com", name: "Ada", workspace: { name: "First" } };
  const answer = await connect(url, setupToken)("POST", "/setup", body);
  if (answer.status !== 201) {
    throw new Error(`the set-up answered ${answer.status}: ${answer.text}`);
  }
  return String(answer.body["session_token"]);
}

export async function teardown(): Promise<void> {
  await server?.stop();
}
