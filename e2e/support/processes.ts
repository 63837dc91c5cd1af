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
 * The address at which the Worker itself listens, behind the proxy that wrangler puts before it. A busy machine may need
 * several looks, so it looks for half a minute; throws when none of the server's workerd ports has been it by then.
 */
export async function findWorkerUrl(state: string, publicUrl: string): Promise<string> {
  const deadline = Date.now() + 30_000;
  let urls: string[] = [];
  while (Date.now() < deadline) {
    urls = workerdUrls(state).filter((url) => url !== publicUrl);
    const found = await Promise.any(urls.map(expectWorker)).catch(() => null);
    if (found !== null) {
      return found;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`no Worker among ${urls.join(", ")}`);
}

/** Every loopback address at which a workerd of this server listens. */
function workerdUrls(state: string): string[] {
  const pids = findProcesses(state).filter((pid) => programOf(pid) === "workerd");
  const inodes = new Set(pids.flatMap(socketsOf));
  return listeners()
    .filter(({ inode }) => inodes.has(inode))
    .map(({ port }) => `http://127.0.0.1:${port}`);
}

/** The address itself, once it has answered as the Worker does; rejects when it has not within five seconds. */
async function expectWorker(url: string): Promise<string> {
  const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(5_000) });
  if (response.ok && (await response.text()).includes('"ok"')) {
    return url;
  }
  throw new Error(`${url} is not the Worker`);
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
