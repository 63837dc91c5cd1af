/** Single things of the Router's memory as rows and back. A row that can't be read is passed over: losing one ticket beats losing the object. */
import { z } from "zod";
import { upstreamEndpoints } from "../providers/contract.js";
import { ConfigAddress, PoolPolicy, RouterInstance, RouterPrice } from "../snapshot/model.js";
import type { Cooldowns } from "./cooldown.js";
import { type RateWindow, windowMs } from "./limits.js";
import { failureClasses, type Ticket } from "./model.js";
import { packTrace, StoredTrace, unpackTrace } from "./request-log-stored.js";
import type { OpenRequest } from "./tickets.js";

const StoredLanes = z.array(z.tuple([z.string(), z.number(), z.number(), z.number()]));
const StoredReason = z.enum(failureClasses);

const StoredRate = z.object({ limit: z.number(), remaining: z.number(), reset_ms: z.number() });

const StoredTicket = z.object({
  kind: z.literal("ticket"),
  request_id: z.string(),
  attempt: z.number(),
  key_id: z.string(),
  pool_id: z.string(),
  instance: RouterInstance.pick({ id: true, alias: true, provider_name: true, model: true, credential_id: true }),
  tried: z.array(z.string()),
  config: ConfigAddress,
  policy: PoolPolicy,
  issued_at: z.number(),
  deadline_at: z.number(),
  probe: z.boolean(),
  rate: StoredRate.nullable(),
  token_rate: StoredRate.exactOptional(),
  endpoint: z.enum(upstreamEndpoints).exactOptional(),
  blamed: z.boolean().default(false),
  stream: z.boolean().default(false),
  sticky: z.number().nullable().default(null),
  estimate: z
    .object({ input_tokens: z.number(), output_tokens: z.number().nullable(), choices: z.number() })
    .exactOptional(),
  price: RouterPrice.exactOptional(),
  hold: z
    .object({
      tokens: z.number(),
      cost: z.number(),
      key_slot: z.number().exactOptional(),
      workspace_slot: z.number().exactOptional(),
    })
    .exactOptional(),
  output_cap: z.number().exactOptional(),
});

const StoredRequest = z.object({
  tickets: z.array(StoredTicket).min(1),
  blamed: z.boolean(),
  reported: z.number(),
  trace: StoredTrace.nullable().catch(null).default(null),
});

/** The value of a JSON text; undefined when it is none. */
export function parseText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Instance id, lag, picks, failures. */
export type StoredLane = z.infer<typeof StoredLanes>[number];

/** Lanes of one pool as text. */
export function packLanes(lanes: readonly StoredLane[]): string {
  return JSON.stringify(lanes);
}

/** Lanes of one pool; none when the text can't be read. */
export function unpackLanes(text: string): readonly StoredLane[] {
  return StoredLanes.safeParse(parseText(text)).data ?? [];
}

/** An open request as text; every ticket of it carries what the rest is made of. */
export function packRequest({ blamed, reported, tickets, trace }: OpenRequest): string {
  return JSON.stringify({ tickets, blamed, reported, trace: trace === undefined ? null : packTrace(trace) });
}

/** An open request, or null when the text can't be read. */
export function unpackRequest(text: string): OpenRequest | null {
  const stored = StoredRequest.safeParse(parseText(text)).data;
  const [first] = stored?.tickets ?? [];
  if (stored === undefined || first === undefined) {
    return null;
  }
  const tickets: Ticket[] = stored.tickets;
  const { deadline_at, key_id, pool_id, request_id } = first;
  const { blamed, reported } = stored;
  const hold = tickets.at(-1)?.hold ?? null;
  const trace = stored.trace === null ? {} : { trace: unpackTrace(stored.trace) };
  return {
    request_id,
    key_id,
    pool_id,
    deadline_at,
    tickets,
    refusal: null,
    blamed,
    reported,
    hold,
    charge: null,
    ...trace,
  };
}

/** A window as the time of its first slot and pairs of (milliseconds after it, events). */
export function packWindow(window: RateWindow): { start: number; slots: ArrayBuffer } {
  const start = window.times[0] ?? 0;
  const pairs = new Uint32Array(window.times.length * 2);
  for (const [index, time] of window.times.entries()) {
    pairs[2 * index] = time - start;
    pairs[2 * index + 1] = window.counts[index] ?? 0;
  }
  return { start, slots: pairs.buffer };
}

/** The window that was packed, or null when it can't be read: a key's limit begins anew then. */
export function unpackWindow(start: unknown, slots: unknown): RateWindow | null {
  if (!Number.isSafeInteger(start) || typeof start !== "number" || !isPairs(slots)) {
    return null;
  }
  const pairs = new Uint32Array(slots);
  const window: RateWindow = { times: [], counts: [], total: 0 };
  for (let index = 0; index < pairs.length; index += 2) {
    const count = pairs[index + 1] ?? 0;
    window.times.push(start + (pairs[index] ?? 0));
    window.counts.push(count);
    window.total += count;
  }
  return window;
}

/** Whether it is what `packWindow` makes. Times that run backwards or far ahead would lock a key out for weeks. */
function isPairs(slots: unknown): slots is ArrayBuffer {
  if (!(slots instanceof ArrayBuffer) || slots.byteLength % 8 !== 0) {
    return false;
  }
  const offsets = Array.from(new Uint32Array(slots)).filter((_, index) => index % 2 === 0);
  return offsets.every((offset, index) => offset >= (offsets[index - 1] ?? 0) && offset <= 2 * windowMs);
}

/** Reads cool-downs and refused credentials back. */
export function loadCooldowns(sql: SqlStorage, cooldowns: Cooldowns): void {
  const entries = sql.exec<{
    key: string;
    since: number;
    until: number;
    reason: string;
    streak: number;
    lease_request: string | null;
    lease_until: number | null;
  }>("SELECT * FROM cooldowns");
  for (const { key, lease_request: leaseRequest, lease_until: leaseUntil, reason, since, streak, until } of entries) {
    const lease = leaseRequest === null || leaseUntil === null ? null : { request_id: leaseRequest, until: leaseUntil };
    const known = StoredReason.safeParse(reason).data ?? "transient";
    cooldowns.entries.set(key, { since, until, reason: known, streak, lease });
  }
  for (const { credential_id: id, since } of sql.exec<{ credential_id: string; since: number }>("SELECT * FROM outs")) {
    cooldowns.outs.set(id, since);
  }
}

/** Writes the cool-downs and refused credentials that changed. */
export function writeCooldowns(sql: SqlStorage, cooldowns: Cooldowns): void {
  for (const key of cooldowns.dirty) {
    const entry = cooldowns.entries.get(key);
    if (entry === undefined) {
      sql.exec("DELETE FROM cooldowns WHERE key = ?", key);
    } else {
      sql.exec(
        `INSERT OR REPLACE INTO cooldowns (key, since, until, reason, streak, lease_request, lease_until)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
        key,
        entry.since,
        entry.until,
        entry.reason,
        entry.streak,
        entry.lease?.request_id ?? null,
        entry.lease?.until ?? null,
      );
    }
  }
  for (const id of cooldowns.dirty_outs) {
    const since = cooldowns.outs.get(id);
    if (since === undefined) {
      sql.exec("DELETE FROM outs WHERE credential_id = ?", id);
    } else {
      sql.exec("INSERT OR REPLACE INTO outs (credential_id, since) VALUES (?, ?)", id, since);
    }
  }
}
