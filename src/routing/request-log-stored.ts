/** What is noted of a request that is still open, as it stands on disk and back. */
import { z } from "zod";
import { failureClasses } from "./model.js";
import { LoggedPick, writePicks } from "./request-log-entry.js";
import type { PickTrace, PoolSurvey, RequestTrace } from "./request-trace.js";

const StoredFailure = z.object({
  class: z.enum(failureClasses),
  status: z.number().nullable(),
  code: z.string().nullable(),
  retry_after_ms: z.number().nullable(),
  timed_out: z.boolean(),
  ours: z.boolean().exactOptional(),
});

/** A trace on disk. */
export const StoredTrace = z.object({
  at: z.number(),
  endpoint: z.string().nullable(),
  model: z.string().nullable(),
  failures: z.array(z.object({ attempt: z.number(), at: z.number(), failure: StoredFailure })),
  picks: z.array(LoggedPick),
});

/** A trace as plain data, for the disk while its request is open. */
export function packTrace(trace: RequestTrace): z.input<typeof StoredTrace> {
  const { at, endpoint, failures, model } = trace;
  return { at, endpoint, model, failures: [...failures], picks: writePicks(trace) };
}

/** A trace that was on disk, in the form that it has in memory. */
export function unpackTrace({ at, endpoint, failures, model, picks }: z.output<typeof StoredTrace>): RequestTrace {
  return { at, endpoint, model, failures, picks: picks.map(readPick), end: null };
}

function readPick(pick: LoggedPick): PickTrace {
  const surveys = pick.pools.map((pool): PoolSurvey => ({
    pool_id: pool.pool_id,
    candidates: pool.candidates.map(({ alias, id, weight }) => ({ row: { id, alias }, weight })),
    excluded: pool.excluded.flatMap(({ alias, id, reason, until }) => {
      const known = reasons.find((word) => word === reason);
      return known === undefined ? [] : [{ instance: { row: { id, alias }, weight: 0 }, reason: known, until }];
    }),
  }));
  const cause = (["strategy", "sticky", "probe"] as const).find((word) => word === pick.cause) ?? "strategy";
  return { attempt: pick.attempt, at: pick.at, cause, instance_id: pick.instance_id, surveys };
}

/** Every reason there is, to read them back. */
const reasons: readonly PoolSurvey["excluded"][number]["reason"][] = [
  "drained",
  "credential_unusable",
  "endpoint_not_served",
  "not_priced",
  "over_budget",
  "tried",
  "probing",
  "probe_due",
  ...failureClasses,
];
