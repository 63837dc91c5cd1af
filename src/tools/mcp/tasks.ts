/** Tools that a server runs as tasks only: started, asked for until they are over, then fetched (MCP 2025-11-25, Tasks). */
import type { CallToolResult, Client } from "@modelcontextprotocol/client";
import { z } from "zod";
import { McpFailure } from "./failure.js";
import type { Wire } from "./wire.js";

const Task = z.object({ taskId: z.string(), status: z.string(), pollInterval: z.number().optional() });
type Task = z.infer<typeof Task>;
const Started = z.object({ task: Task });
const Anything = z.looseObject({});
/** The parts of a result that are read; its blocks are checked where they are turned into an outcome. */
const Result = z.custom<CallToolResult>(
  (value) => Anything.extend({ content: z.array(Anything) }).safeParse(value).success,
);

const minPollMs = 100;
const maxPollMs = 5_000;
const defaultPollMs = 1_000;
/** Time for the server to keep the task, beyond ours. */
const spareMs = 60_000;

/** Runs a tool as a task to its end. A call that ends early cancels the task. Throws `McpFailure`. */
export async function callAsTask(
  client: Client,
  wire: Wire,
  name: string,
  input: Readonly<Record<string, unknown>>,
): Promise<CallToolResult> {
  const params = { name, arguments: { ...input }, task: { ttl: wire.leftMs() + spareMs } };
  let { task } = await client.request({ method: "tools/call", params }, Started, bounds(wire));
  const { taskId } = task;
  const cancel = (): void => {
    client.request({ method: "tasks/cancel", params: { taskId } }, Anything).catch(() => undefined);
  };
  wire.signal.addEventListener("abort", cancel, { once: true });
  try {
    while (task.status === "working" || task.status === "submitted") {
      await pause(task, wire.signal);
      task = await client.request({ method: "tasks/get", params: { taskId } }, Task, bounds(wire));
    }
    if (task.status === "completed" || task.status === "failed") {
      return await client.request({ method: "tasks/result", params: { taskId } }, Result, bounds(wire));
    }
    if (task.status === "input_required") {
      cancel();
      throw new McpFailure("protocol", "The tool asks for input while it runs, which cannot be given.");
    }
    throw new McpFailure("protocol", "The MCP server ended the task without a result.");
  } finally {
    wire.signal.removeEventListener("abort", cancel);
  }
}

function bounds(wire: Wire) {
  return { signal: wire.signal, timeout: wire.leftMs() + 1_000 };
}

/** The time that the server asks for, within ours; over at once when the call is. */
async function pause(task: Task, signal: AbortSignal): Promise<void> {
  const ms = Math.min(maxPollMs, Math.max(minPollMs, task.pollInterval ?? defaultPollMs));
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const wake = (): void => resolve(undefined);
  const timer = setTimeout(wake, ms);
  signal.addEventListener("abort", wake, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", wake);
}
