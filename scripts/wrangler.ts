/** How the scripts call wrangler: quiet, without telemetry, without asking the network for anything. */
import path from "node:path";

/** The command that runs wrangler with this very Node, without npm or a shell between. */
export function wranglerCommand(
  root: string,
  args: readonly string[],
): { readonly file: string; readonly args: string[] } {
  return { file: process.execPath, args: [path.join(root, "node_modules/wrangler/bin/wrangler.js"), ...args] };
}

/** The environment of a wrangler run, or another tool's. Its own log files go beside the state; `node` is the one that runs us. */
export function wranglerEnvironment(state: string): NodeJS.ProcessEnv {
  const PATH = [path.dirname(process.execPath), process.env["PATH"] ?? ""].join(path.delimiter);
  return {
    ...process.env,
    PATH,
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_LOG_PATH: path.join(state, "logs"),
    // Two instances bear one Worker name; in the shared registry they would push each other out.
    WRANGLER_REGISTRY_PATH: path.join(state, "registry"),
    WRANGLER_SEND_ERROR_REPORTS: "false",
    WRANGLER_SEND_METRICS: "false",
  };
}

/** Lines that do not hold here: the start script triggers the crons itself. */
const noise = [
  /Scheduled Workers are not automatically triggered/,
  /To manually trigger a scheduled event/,
  /curl ".*\/cdn-cgi\/local\/scheduled"/,
  /cron-triggers\/#test-cron-triggers-locally/,
  /^\s*$/,
];

/** The runtime's own words, and its stack, for an address that no name server knows. The Worker handles that and logs what it means. */
const unknownHost = /ERROR.*failed to lookup address information/;
const stack = /^ {2}stack: /;

/** Passes on what matters of wrangler's output, line by line. */
export function makeLineFilter(print: (line: string) => void): (line: string) => void {
  let isOfUnknownHost = false;
  return (line) => {
    isOfUnknownHost = unknownHost.test(line) || (isOfUnknownHost && stack.test(line));
    if (!isOfUnknownHost && !noise.some((pattern) => pattern.test(line))) {
      print(line);
    }
  };
}
