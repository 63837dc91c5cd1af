/** The door to usage: sums from the record, after every shard was asked to tell what it has. */
import { z } from "@hono/zod-openapi";
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../base/bytes.js";
import { AppError } from "../base/errors.js";
import { within } from "../base/flight.js";
import { describeError, log } from "../base/log.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { reply } from "../http/reply.js";
import { requestLogEndpoints } from "./request-log-routes.js";
import { askShards } from "./shards.js";
import { lastTold, listUsage, totalUsage, usageGroups, type UsageLine, type UsagePageQuery } from "./usage-query.js";
import { maxSteps, stepMs, toSums, toUsageRow, UsageQuery, UsageReport } from "./usage-schema.js";
import { readSight } from "./usage-sight.js";

/** How long an answer waits for the shards to tell what they have. */
const patienceMs = 3_000;

const readUsage = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/usage",
    operation: "readUsage",
    summary: "Read usage",
    description:
      "Requests, errors, tokens and cost by hour or day, together or by key, pool, instance, model, provider, member and endpoint. An admin sees everybody's, a member their own: what they called, and the keys that they made. Hours and days are UTC's; a call counts where it ended.",
    tag: "Usage",
    permission: { kind: "workspace", scope: "usage:read", keys: true },
    query: UsageQuery,
    responses: { 200: { description: "A page of sums, and the totals.", schema: UsageReport } },
    errors: [],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const query = toQuery(call.query, await readSight(call), call.now);
    const isComplete = await flush(call.env, call.db, workspaceId);
    const [lines, totals, told] = await Promise.all([
      listUsage(call.db, workspaceId, query),
      totalUsage(call.db, workspaceId, query),
      isComplete ? call.now : lastTold(call.db, workspaceId, query),
    ]);
    const shown = lines.slice(0, query.limit);
    const report: UsageReport = {
      from: toIso(query.from),
      to: toIso(query.to),
      interval: call.query.interval,
      as_of: told === null ? null : toIso(told),
      complete: isComplete,
      totals: toSums(totals),
      data: shown.map(toUsageRow),
      next_cursor: lines.length > query.limit ? writeCursor(query, shown.at(-1)) : null,
    };
    return reply(200, report);
  },
);

/** Every door of this file and of the request log. */
export const usageEndpoints: readonly Endpoint[] = [readUsage, ...requestLogEndpoints];

/** Has every shard tell the record what it has, best effort; answers whether each has. */
async function flush(env: Env, db: Parameters<typeof askShards>[1], workspaceId: string): Promise<boolean> {
  try {
    const asking = askShards(env, db, workspaceId, "flushUsage", (router) => router.flushUsage());
    const told = await within(patienceMs, asking);
    return told.every((hasAll) => hasAll);
  } catch (error) {
    log("warn", "usage_not_flushed", { workspace_id: workspaceId, error: describeError(error) });
    return false;
  }
}

function toQuery(asked: z.output<typeof UsageQuery>, member: string | null, now: number): UsagePageQuery {
  const step = stepMs[asked.interval];
  const last = asked.to === undefined ? now : Date.parse(asked.to);
  const usual = asked.interval === "hour" ? stepMs.day : 30 * stepMs.day;
  const first = asked.from === undefined ? last - usual : Date.parse(asked.from);
  const from = Math.floor(first / step) * step;
  const to = Math.ceil(last / step) * step;
  if (from >= to) {
    throw invalidQuery("/from", "Give a time before `to`.");
  }
  if (to - from > maxSteps[asked.interval] * step) {
    const most = asked.interval === "hour" ? "31 days of hours; ask by day" : "400 days";
    throw invalidQuery("/from", `One question covers at most ${most} or ask in parts.`);
  }
  const groups = usageGroups.filter((group) => asked.group_by.includes(group));
  const filters = Object.fromEntries(
    usageGroups.flatMap((group) => (asked[group] === undefined ? [] : [[group, asked[group]]])),
  );
  const after = asked.cursor === undefined ? null : readCursor(asked.cursor, groups.length);
  return { from, to, member, filters, groups, stepMs: step, limit: asked.limit, after };
}

const Place = z.tuple([z.number()], z.string());

function readCursor(cursor: string, groups: number): readonly [number, ...string[]] {
  const bytes = fromBase64Url(cursor);
  const place = bytes === null ? undefined : Place.safeParse(tryJson(bytes)).data;
  if (place === undefined || place.length !== groups + 1) {
    throw invalidQuery("/cursor", "Use the next_cursor of a page of the same question, unchanged.");
  }
  return place;
}

function writeCursor({ groups }: UsagePageQuery, line: UsageLine | undefined): string | null {
  return line === undefined
    ? null
    : toBase64Url(utf8(JSON.stringify([line.start, ...groups.map((group) => line.groups[group] ?? "")])));
}

function tryJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch {
    return undefined;
  }
}

function invalidQuery(pointer: string, detail: string): AppError {
  return new AppError("validation_failed", { errors: [{ in: "query", pointer, detail }] });
}

function toIso(time: number): string {
  return new Date(time).toISOString();
}
