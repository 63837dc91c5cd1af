/** Child processes as whole groups: whatever a child starts ends with it, and nothing runs longer than it may. */
import { spawn, type StdioOptions } from "node:child_process";
import { createInterface } from "node:readline";

/** A running command and everything it started. */
export interface ProcessGroup {
  /** Settles when the command has ended: its exit code, or 128 plus the signal's usual number. */
  readonly ended: Promise<number>;
  isRunning(): boolean;
  /** Asks the group to end, and kills what is left after `graceMs`. */
  stop(graceMs?: number): Promise<void>;
}

interface GroupOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Takes each line of output; without it the output goes where ours goes. */
  readonly onLine?: (line: string) => void;
}

const living = new Map<number, ProcessGroup>();

/** Ends every group that still runs. */
export async function stopAllGroups(): Promise<void> {
  await Promise.all([...living.values()].map((group) => group.stop()));
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone already.
  }
}

process.once("exit", () => {
  for (const pid of living.keys()) {
    // Not SIGKILL: a child that leads groups of its own must get the chance to end those.
    signalGroup(pid, "SIGTERM");
  }
});

/** Starts a command as the leader of its own group, so that a Ctrl-C at the terminal reaches us alone and we end it in order. */
export function startGroup(command: string, args: readonly string[], options: GroupOptions): ProcessGroup {
  const output = options.onLine === undefined ? "inherit" : "pipe";
  const stdio: StdioOptions = ["ignore", output, output];
  const child = spawn(command, args, { cwd: options.cwd, env: options.env ?? process.env, stdio, detached: true });
  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null && options.onLine !== undefined) {
      createInterface({ input: stream }).on("line", options.onLine);
    }
  }
  const { pid } = child;
  let running = true;
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 143)));
  }).finally(() => {
    running = false;
    if (pid !== undefined) {
      living.delete(pid);
      // A leader can end before those it started.
      signalGroup(pid, "SIGKILL");
    }
  });
  // Whoever cares awaits `ended`; a failure before that must not end the process as unhandled.
  ended.catch(() => undefined);

  async function stop(graceMs = 5000): Promise<void> {
    if (!running || pid === undefined) {
      return;
    }
    signalGroup(pid, "SIGTERM");
    const timer = setTimeout(() => signalGroup(pid, "SIGKILL"), graceMs);
    await ended.catch(() => undefined);
    clearTimeout(timer);
  }

  const group = { ended, isRunning: () => running, stop };
  if (pid !== undefined) {
    living.set(pid, group);
  }
  return group;
}

/** Runs a command to its end, at most `limitMs`. Answers its exit code; 124 when it had to be ended. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: GroupOptions & { readonly limitMs: number },
): Promise<number> {
  const group = startGroup(command, args, options);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    void group.stop();
  }, options.limitMs);
  const code = await group.ended.finally(() => clearTimeout(timer));
  return isLate ? 124 : code;
}
