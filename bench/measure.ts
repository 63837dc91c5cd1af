/** Runs the rounds: every contestant in turn, round after round, so that what the machine does meanwhile meets all alike. */
import type { Callers, Upstream } from "./children.ts";
import type { Contestant } from "./contestants.ts";
import type { Plan } from "./plan.ts";
import { cpuMicroseconds, residentBytes } from "./process-figures.ts";

/** One measurement. Times are milliseconds, CPU is microseconds a call, of the contestant's own process. */
export interface Sample {
  readonly name: string;
  readonly host: string;
  readonly kind: "json" | "stream";
  readonly callers: number;
  readonly round: number;
  readonly calls: number;
  readonly failures: number;
  readonly rps: number;
  readonly p50: number;
  readonly p99: number;
  readonly firstByteP50: number;
  readonly firstByteP99: number;
  readonly cpu: number | null;
  readonly residentBytes: number | null;
  /** Busy share of one core, of the upstream and of the callers: near 1, it was they who were measured. */
  readonly upstreamBusy: number;
  readonly callersBusy: number;
}

/** Before anything is measured: so many calls are compiled to the end, which takes a busy machine longer. */
const warmUpCalls = 3_000;
const warmUpSeconds = 60;

/** The call that everybody makes: some 700 bytes, as a short conversation is. */
export function callBody(model: string, kind: Sample["kind"]): string {
  return JSON.stringify({
    model,
    messages: [
      { role: "system", content: "You answer briefly and to the point." },
      { role: "user", content: "Which words of this sentence matter, and which could be left out? ".repeat(8) },
    ],
    temperature: 0.7,
    max_tokens: 200,
    ...(kind === "stream" ? { stream: true } : {}),
  });
}

export async function measure(
  plan: Plan,
  contestants: readonly Contestant[],
  upstream: Upstream,
  callers: Callers,
  say: (line: string) => void,
): Promise<readonly Sample[]> {
  for (const contestant of contestants) {
    for (const kind of plan.kinds) {
      const warmUp = order(contestant, kind, 16, plan.check ? plan.seconds : warmUpSeconds);
      const seen = await callers.run({ ...warmUp, calls: warmUpCalls });
      if (seen.failures > 0 || seen.calls === 0) {
        throw new Error(`${contestant.name} on ${contestant.host} fails: ${seen.failure ?? "no call was answered"}`);
      }
    }
  }
  const samples: Sample[] = [];
  for (let round = 1; round <= plan.rounds; round += 1) {
    for (const kind of plan.kinds) {
      for (const count of plan.callers) {
        // Each round begins with another, so that nobody always follows the same.
        for (let index = 0; index < contestants.length; index += 1) {
          const contestant = contestants[(index + round) % contestants.length];
          if (contestant !== undefined) {
            samples.push(await sample(plan, contestant, kind, count, round, upstream, callers));
          }
        }
        say(`round ${round} of ${plan.rounds}, ${kind}, ${count} callers`);
      }
    }
  }
  return samples;
}

async function sample(
  plan: Plan,
  contestant: Contestant,
  kind: Sample["kind"],
  count: number,
  round: number,
  upstream: Upstream,
  callers: Callers,
): Promise<Sample> {
  const pids = [contestant.pid ?? 0, upstream.pid, callers.pid];
  const readAll = (): readonly number[] => pids.map((pid) => (pid === 0 ? 0 : cpuMicroseconds(pid)));
  const before = readAll();
  const seen = await callers.run(order(contestant, kind, count, plan.seconds));
  const after = readAll();
  const [own = 0, ofUpstream = 0, ofCallers = 0] = after.map((value, index) => value - (before[index] ?? 0));
  return {
    name: contestant.name,
    host: contestant.host,
    kind,
    callers: count,
    round,
    calls: seen.calls,
    failures: seen.failures,
    rps: seen.calls / seen.seconds,
    p50: seen.total.p50,
    p99: seen.total.p99,
    firstByteP50: seen.firstByte.p50,
    firstByteP99: seen.firstByte.p99,
    cpu: contestant.pid === null ? null : own / Math.max(1, seen.calls),
    residentBytes: contestant.pid === null ? null : residentBytes(contestant.pid),
    upstreamBusy: ofUpstream / (seen.seconds * 1e6),
    callersBusy: ofCallers / (seen.seconds * 1e6),
  };
}

function order(contestant: Contestant, kind: Sample["kind"], callers: number, seconds: number) {
  const { headers, path, port } = contestant;
  return { port, path, headers, body: callBody(contestant.model, kind), callers, seconds };
}
