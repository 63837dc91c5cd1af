/** What the Workers hold in memory: after many calls, and while a large body passes. */
import type { Callers } from "./children.ts";
import type { Contestant } from "./contestants.ts";
import { callBody } from "./measure.ts";
import { cpuMicroseconds, residentBytes } from "./process-figures.ts";

/** Resident bytes of one contestant. */
export interface MemoryFigures {
  readonly name: string;
  readonly host: string;
  readonly calls: number;
  /** CPU until it answers, in microseconds: the platform's start and the Worker's. On Miniflare also what prepared it. */
  readonly startCpu: number;
  readonly before: number;
  readonly after: number;
  /** How much more it was while a body of 20 MB passed, at most, for each byte of the body. */
  readonly growthPerByte: number;
}

const largeBytes = 20_000_000;
const lookMs = 5;

/** Each contestant in turn, from fresh; so it is best run after nothing else. */
export async function measureMemory(
  contestants: readonly Contestant[],
  callers: Callers,
  calls: number,
): Promise<readonly MemoryFigures[]> {
  const figures: MemoryFigures[] = [];
  for (const contestant of contestants) {
    const { headers, host, model, name, path, pid, port } = contestant;
    if (pid === null || name === "direct") {
      continue;
    }
    const before = residentBytes(pid);
    const startCpu = cpuMicroseconds(pid);
    const order = { port, path, headers, body: callBody(model, "json"), callers: 16, seconds: 3_600, calls };
    const seen = await callers.run(order);
    if (seen.failures > 0) {
      throw new Error(`${name} on ${host} fails: ${seen.failure ?? ""}`);
    }
    const after = residentBytes(pid);
    figures.push({ name, host, calls, startCpu, before, after, growthPerByte: await passLargeBody(contestant, pid) });
  }
  return figures;
}

/** Watches the memory while one body of 20 MB passes. */
async function passLargeBody({ headers, model, path, port }: Contestant, pid: number): Promise<number> {
  const [head = "", tail = ""] = callBody(model, "json").split("You answer briefly");
  const body = head + "x".repeat(largeBytes - head.length - tail.length) + tail;
  const rest = residentBytes(pid);
  let highest = rest;
  const timer = setInterval(() => {
    highest = Math.max(highest, residentBytes(pid));
  }, lookMs);
  const { host: _host, ...sent } = headers;
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers: sent, body });
  await response.arrayBuffer();
  clearInterval(timer);
  if (!response.ok) {
    throw new Error(`a body of 20 MB was answered with ${response.status}`);
  }
  return (Math.max(highest, residentBytes(pid)) - rest) / largeBytes;
}

/** The table, against the floor of the same host. */
export function writeMemoryTable(figures: readonly MemoryFigures[]): string {
  const lines = figures.map(({ name, host, calls, startCpu, before, after, growthPerByte }) => {
    const floor = figures.find((other) => other.name === "floor" && other.host === host)?.after ?? Number.NaN;
    const megabytes = `${toMegabytes(before)} MB at first, ${toMegabytes(after)} MB after ${calls} calls`;
    const start = `${(startCpu / 1_000).toFixed(0)} ms of CPU to start`;
    return `${name}, ${host}: ${start}; ${megabytes} (${(after / floor).toFixed(2)} × floor); a body of 20 MB adds ${growthPerByte.toFixed(2)} × its size`;
  });
  return lines.join("\n");
}

function toMegabytes(bytes: number): string {
  return (bytes / 1_048_576).toFixed(0);
}
