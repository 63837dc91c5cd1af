/** What runs on this machine for one server (Linux): its processes, known by the state folder in their environment, and their ports. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Ids of the processes that run for the server of this state folder, whoever started them. */
export function findProcesses(state: string): number[] {
  const mark = `GATEHOUSE_STATE=${state}\0`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => readOrEmpty(`/proc/${pid}/environ`).includes(mark))
    .map(Number);
}

/** The name of a process's program, empty when it is gone. */
export function programOf(pid: number): string {
  return readOrEmpty(`/proc/${pid}/comm`).trim();
}

/**
 * The address at which the Worker itself listens, behind the proxy that wrangler puts before it. Throws when none of the
 * server's workerd ports is it.
 */
export async function findWorkerUrl(state: string, publicUrl: string): Promise<string> {
  const pids = findProcesses(state).filter((pid) => programOf(pid) === "workerd");
  const inodes = new Set(pids.flatMap(socketsOf));
  const urls = listeners()
    .filter(({ inode }) => inodes.has(inode))
    .map(({ port }) => `http://127.0.0.1:${port}`)
    .filter((url) => url !== publicUrl);
  for (const url of urls) {
    if (await isWorker(url)) {
      return url;
    }
  }
  throw new Error(`no Worker among ${urls.join(", ")}`);
}

async function isWorker(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(1_000) });
    return response.ok && (await response.text()).includes('"ok"');
  } catch {
    return false;
  }
}

/** IPv4 sockets in state LISTEN (0A), from the kernel's table. */
function listeners(): { readonly port: number; readonly inode: string }[] {
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === "0A")
    .map((fields) => ({ port: Number.parseInt(fields[1]?.split(":")[1] ?? "", 16), inode: fields[9] ?? "" }));
}

function socketsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      const target = /^socket:\[(\d+)\]$/.exec(readlinkOrEmpty(`/proc/${pid}/fd/${fd}`));
      return target?.[1] === undefined ? [] : [target[1]];
    });
  } catch {
    return [];
  }
}

function readlinkOrEmpty(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    // Gone already, or another user's.
    return "";
  }
}
