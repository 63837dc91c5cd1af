/** Configurations, calls and failures as the Router's tests need them. */
import type {
  AdmitRequest,
  Admission,
  Failure,
  FailureClass,
  Outcome,
  Refusal,
  Ticket,
} from "../../src/routing/model.js";
import { LogEntry } from "../../src/routing/request-log-entry.js";
import type { LogPage } from "../../src/routing/request-log.js";
import type { UsageDelta } from "../../src/routing/usage-sums.js";
import type {
  ConfigAddress,
  PoolPolicy,
  RouterInstance,
  RouterKey,
  RouterPool,
  RouterRows,
} from "../../src/snapshot/model.js";

export const policy: PoolPolicy = {
  max_attempts: 3,
  total_timeout_ms: 600_000,
  first_byte_timeout_ms: 20_000,
  idle_timeout_ms: 60_000,
};

export function makeKey(id: string, more: Partial<RouterKey> = {}): RouterKey {
  return {
    id,
    digest: `digest-${id}`,
    scopes: ["models:invoke"],
    models: null,
    rpm: null,
    concurrent: null,
    expires_at_ms: null,
    revoked: false,
    ...more,
  };
}

export function makeInstance(id: string, weight = 1, more: Partial<RouterInstance> = {}): RouterInstance {
  return {
    id,
    alias: id,
    provider_name: "sandbox",
    model: "sandbox-chat",
    credential_id: `cred-${id}`,
    weight,
    priority: 0,
    enabled: true,
    ...more,
  };
}

export function makePool(name: string, instances: RouterInstance[], more: Partial<PoolPolicy> = {}): RouterPool {
  return { id: `pool-${name}`, name, strategy: "weighted", policy: { ...policy, ...more }, fallbacks: [], instances };
}

/** Rows with every credential that the pools name, usable and never validated. */
export function makeRows(
  pools: RouterPool[],
  keys: RouterKey[] = [makeKey("k")],
  more: Partial<RouterRows> = {},
): RouterRows {
  const ids = new Set(pools.flatMap((pool) => pool.instances.map((instance) => instance.credential_id)));
  const credentials = Array.from(ids, (id) => ({ id, usable: true, validated_at_ms: null }));
  return { workspace_id: "ws-1", active: true, keys, pools, credentials, ...more };
}

export function address(version: number, epoch = 0): ConfigAddress {
  return { epoch, version, digest: `digest-of-${version}` };
}

let counter = 0;

export function makeRequest(more: Partial<AdmitRequest> = {}): AdmitRequest {
  counter += 1;
  return { request_id: `req-${counter}`, key_digest: "digest-k", scope: "models:invoke", model: "chat", ...more };
}

export function makeFailure(failureClass: FailureClass, more: Partial<Failure> = {}): Failure {
  return { class: failureClass, status: null, code: null, retry_after_ms: null, timed_out: false, ...more };
}

export function makeOutcome(ticket: Ticket, result: Outcome["result"] = "ok", failure: Failure | null = null): Outcome {
  return { ticket, result, failure, usage: null, duration_ms: 10, first_byte_ms: 5 };
}

export function ticketOf(admission: Admission): Ticket {
  if (admission.kind !== "ticket") {
    throw new Error(`refused: ${admission.code}`);
  }
  return admission;
}

export function refusalOf(admission: Admission): Refusal {
  if (admission.kind !== "refused") {
    throw new Error(`admitted on ${admission.instance.id}`);
  }
  return admission;
}

/** One call's sums in the present hour. */
export function makeDelta(more: Partial<UsageDelta> = {}): UsageDelta {
  return {
    hour: Math.floor(Date.now() / 3_600_000) * 3_600_000,
    key_id: "k",
    member_id: "",
    pool_id: "p",
    instance_id: "i",
    provider_name: "x",
    model: "m",
    endpoint: "e",
    requests: 1,
    errors: 0,
    caller_faults: 0,
    departures: 0,
    refusals: 0,
    failed_attempts: 0,
    prompt_tokens: 3,
    completion_tokens: 2,
    cached_tokens: 0,
    cost_micro_usd: 7,
    unpriced: 0,
    estimated: 0,
    duration_ms: 5,
    ...more,
  };
}

/** The entries of pages that wait for the disk. */
export function entriesOf(pages: readonly LogPage[]): LogEntry[] {
  return pages.flatMap(({ count, text }) => {
    const list = LogEntry.array().parse(JSON.parse(`[${text}]`));
    if (list.length !== count) {
      throw new Error(`a page of ${count} holds ${list.length}`);
    }
    return list;
  });
}

/** Entries as one page. */
export function pageOf(entries: readonly LogEntry[]): LogPage {
  const [first_at, last_at] = [entries[0]?.ended_at ?? 0, entries.at(-1)?.ended_at ?? 0];
  return { first_at, last_at, count: entries.length, text: JSON.stringify(entries).slice(1, -1) };
}
