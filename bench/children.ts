/** The bench's own processes: the upstream and the callers, each on its own so that its CPU time is told apart from what is measured. */
import { fork, type ChildProcess } from "node:child_process";
import path from "node:path";
import type { Order, Seen } from "./load.ts";

/** The upstream that every contestant calls. */
export interface Upstream {
  readonly port: number;
  readonly pid: number;
  stop(): void;
}

/** Callers that take orders. */
export interface Callers {
  readonly pid: number;
  run(order: Order): Promise<Seen>;
  stop(): void;
}

export async function startUpstream(): Promise<Upstream> {
  const child = start("upstream.ts");
  const { port } = await message<{ readonly port: number }>(child);
  return { port, pid: child.pid ?? 0, stop: () => stop(child) };
}

export async function startCallers(): Promise<Callers> {
  const child = start("load.ts");
  await message(child);
  return {
    pid: child.pid ?? 0,
    run: async (order) => {
      const seen = message<Seen>(child);
      child.send(order);
      return await seen;
    },
    stop: () => stop(child),
  };
}

function start(file: string): ChildProcess {
  return fork(path.join(import.meta.dirname, file), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
}

/** The next message of a child. Rejects when it ends instead. */
function message<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const onMessage = (value: T): void => {
      child.off("exit", onExit);
      resolve(value);
    };
    const onExit = (): void => {
      child.off("message", onMessage);
      reject(new Error("a process of the bench ended by itself"));
    };
    child.once("message", onMessage);
    child.once("exit", onExit);
  });
}

function stop(child: ChildProcess): void {
  if (child.connected) {
    child.disconnect();
  }
}
