/** What travels between the gateway and the Router. Outcomes are values; RPC fields are only ever added, as optional ones. */
import type { UpstreamEndpoint } from "../providers/contract.js";
import type { ConfigAddress, PoolPolicy, RouterInstance, RouterPrice, RouterRows } from "../snapshot/model.js";

/** Failure classes of the design's one table; what each means for the instance and the request stands in `classify.ts` and `cooldown.ts`. */
export const failureClasses = [
  "caller_fault",
  "rate_limit",
  "quota",
  "credential",
  "model_missing",
  "transient",
  "overloaded",
] as const;
export type FailureClass = (typeof failureClasses)[number];

/** One failed attempt as the gateway saw it. */
export interface Failure {
  readonly class: FailureClass;
  /** Upstream status, null when there was none (connection, time-out). */
  readonly status: number | null;
  /** The provider's own error code, cut to 64 characters of [a-z0-9_.-]. */
  readonly code: string | null;
  /** How long the provider asked to be left alone; null when it did not say. */
  readonly retry_after_ms: number | null;
  readonly timed_out: boolean;
  /** The trouble was on our own side (snapshot gone, credential cannot be opened): move on, blame nobody. Absent means no. */
  readonly ours?: boolean;
}

/** What a call may use, as far as its body tells before it is sent. */
export interface Estimate {
  /** Tokens that go in. */
  readonly input_tokens: number;
  /** Most tokens that may come out, of one answer; null where the caller set no cap. */
  readonly output_tokens: number | null;
  /** How many answers are asked for (`n`), 1 at least. */
  readonly choices: number;
}

/** What a call used. `prompt_tokens` includes what came from or went to a cache, `completion_tokens` includes reasoning. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  /** Of the prompt: read from the provider's cache. Absent means none. */
  readonly cached_tokens?: number;
  /** Of the prompt: written to the provider's cache. Absent means none. */
  readonly cache_write_tokens?: number;
  /** Counted by us, because the upstream did not say: a broken stream, a caller who left. Absent means no. */
  readonly estimated?: boolean;
}

export interface AdmitRequest {
  /** Names the request; a repeat within the deadline gets the same answer. */
  readonly request_id: string;
  /** SHA-256 of the API key, hex. */
  readonly key_digest: string;
  readonly scope: string;
  /** The name of a pool or of a model, as the client sent it. */
  readonly model: string;
  /** What kind of model the call needs: which default the name `default` means. Absent means llm. */
  readonly type?: string;
  /** The edition of the catalogue of models that the gateway knows. Absent: it can call pools only. */
  readonly catalogue?: number;
  /** The answer is to be a stream, which commits at its first content. Absent means no: then it commits when it is whole. */
  readonly stream?: boolean;
  /** `spreadHash` of the request's `user` field and of its `x-gatehouse-sticky` header, for pools that are sticky by either. */
  readonly sticky?: { readonly user: number | null; readonly header: number | null };
  /** What was called. Absent means chat/completions. */
  readonly endpoint?: UpstreamEndpoint;
  /** What limits and budgets hold for this call until it settles. Absent from a gateway of the release before: then nothing is held. */
  readonly estimate?: Estimate;
}

/** What a call holds of limits and budgets until it settles. */
export interface Hold {
  /** Its input and the most that may come out. */
  readonly tokens: number;
  /** What they cost on the ticket's instance, in micro-dollars; 0 without a price. */
  readonly cost: number;
  /** Where its tokens stand in the key's and in the workspace's window, epoch milliseconds; absent where no limit counts them. */
  readonly key_slot?: number;
  readonly workspace_slot?: number;
}

/** State of one of the caller's own windows, requests or tokens, for `x-ratelimit-*`. */
export interface RateState {
  readonly limit: number;
  readonly remaining: number;
  /** Until a full window is free again. */
  readonly reset_ms: number;
}

/** Leave to call one instance. Carries all that `next` and `settle` need, so a Router that lost its memory can still take them. */
export interface Ticket {
  readonly kind: "ticket";
  readonly request_id: string;
  /** 1 for the first instance, counting up by `next`. */
  readonly attempt: number;
  readonly key_id: string;
  /** The pool that was asked for; the instance may be of one of its fallbacks. */
  readonly pool_id: string;
  readonly instance: Pick<RouterInstance, "id" | "alias" | "provider_name" | "model" | "credential_id">;
  /** Instances already tried for this request, this one included. */
  readonly tried: readonly string[];
  readonly config: ConfigAddress;
  readonly policy: PoolPolicy;
  /** Epoch milliseconds. */
  readonly issued_at: number;
  /** Epoch milliseconds: the request's total time-out plus 60 s; an unsettled ticket ends here. */
  readonly deadline_at: number;
  /** This call is the single probe of a cooled instance: report by `committed` at commit. */
  readonly probe: boolean;
  readonly rate: RateState | null;
  /** The same for tokens. Absent where the key has no limit of them. */
  readonly token_rate?: RateState;
  /** As in the `AdmitRequest`. */
  readonly estimate?: Estimate;
  /** What the instance's tokens cost; absent when nobody knows. */
  readonly price?: RouterPrice;
  /** Absent where the gateway gave no estimate. */
  readonly hold?: Hold;
  /** The caller set no cap, and a limit or budget holds one: send it upstream as the most tokens of one answer. Absent means leave the body as it is. */
  readonly output_cap?: number;
  /** An earlier attempt of this request has cooled an instance: its further transient failures are only noted. Absent means no. */
  readonly blamed?: boolean;
  /** As in the `AdmitRequest`. Absent means no. */
  readonly stream?: boolean;
  /** As in the `AdmitRequest`: instances whose provider does not serve it are no candidates. Absent means that all are. */
  readonly endpoint?: UpstreamEndpoint;
  /** Whose calls stay together, when the pool is sticky. Absent and null mean nobody's. */
  readonly sticky?: number | null;
}

export type RefusalCode =
  | "key_unknown"
  | "key_revoked"
  | "key_expired"
  | "scope_missing"
  | "model_not_allowed"
  | "model_not_found"
  /** Only `admitTool` says it. */
  | "tool_not_allowed"
  /** No instance of the pool, nor of its fallbacks, is of a provider that serves what was called. */
  | "endpoint_not_served"
  | "rate_limited"
  | "concurrency_limited"
  /** The tokens that the call may use do not fit into the window. */
  | "tokens_limited"
  /** What the call may cost does not fit into a budget. */
  | "budget_exhausted"
  /** A budget applies, and nobody knows what the pool's instances cost. */
  | "model_not_priced"
  | "pool_exhausted"
  /** Every allowed attempt or instance was used up by this request; only `next` says it. */
  | "attempts_exhausted"
  /** No version was ever applied to this object, or its catalogue is older than the asker's: publish and try again. */
  | "not_configured";

/** The limit that a call met. Amounts are requests, tokens or micro-dollars. */
export interface MetLimit {
  readonly scope: "key" | "workspace";
  readonly name: "rpm" | "tpm" | "concurrent" | "day" | "month";
  readonly limit: number;
  /** What this call would take, where that is not one. */
  readonly needs?: number;
  /** The call is larger than the limit itself: waiting does not help. Absent means no. */
  readonly never?: boolean;
}

export interface Refusal {
  readonly kind: "refused";
  readonly code: RefusalCode;
  readonly retry_after_ms: number | null;
  readonly rate: RateState | null;
  /** With `model_not_found`: providers that all have a model of that name. Absent otherwise. */
  readonly providers?: readonly string[];
  /** Which limit was met, and whose. Absent where none was, and from the release before. */
  readonly limit?: MetLimit;
  /** As in the ticket. */
  readonly token_rate?: RateState;
}

export type Admission = Ticket | Refusal;

/** A tool's invocation by an API key. */
export interface AdmitToolRequest extends Pick<AdmitRequest, "key_digest" | "scope"> {
  /** `provider/tool`, by their wire names. */
  readonly tool: string;
  /** Under which a refusal stands in the log. */
  readonly request_id?: string;
}

/** Leave to invoke a tool: it counts in the key's window, and nothing of it stays open. */
export interface ToolAdmitted {
  readonly kind: "admitted";
  readonly key_id: string;
  readonly rate: RateState | null;
}

/** What a key may call: pools, and by provider what else goes by its own name. `provided` is absent from an older Router. */
export interface ModelNames {
  readonly kind: "models";
  readonly names: readonly string[];
  readonly provided?: readonly { readonly provider: string; readonly names: readonly string[] }[];
}

/** How a ticket's call ended. `departed`: the caller left; the instance is not blamed. */
export interface Outcome {
  readonly ticket: Ticket;
  readonly result: "ok" | "caller_fault" | "failed" | "departed";
  /** Set when `result` is `failed` after commit or on the last attempt. */
  readonly failure: Failure | null;
  readonly usage: Usage | null;
  readonly duration_ms: number;
  readonly first_byte_ms: number | null;
  /** What the caller was answered, as HTTP status. Absent from the release before. */
  readonly status?: number;
  /** From the request's start to the call that was answered, failed attempts included. Absent where none was. */
  readonly route_ms?: number;
}

export type InstanceStatus = "ready" | "cooling" | "probing" | "drained" | "out";

/** One instance in `/state`. Counts are since the pool was made, per shard; times are ISO 8601. */
export interface InstanceState {
  readonly id: string;
  readonly alias: string;
  readonly status: InstanceStatus;
  readonly cooling_until: string | null;
  readonly reason: string | null;
  readonly picks: number;
  readonly in_flight: number;
  readonly failures: number;
  /** The cool-down is over and the next request will be its probe. Absent means no. */
  readonly probe_due?: boolean;
}

/** What a dry run is asked: where the next `requests` calls for a pool would go. `sticky`: the text callers would be told apart by. */
export interface DryRunRequest {
  readonly pool_id: string;
  readonly requests: number;
  readonly sticky: string | null;
}

/** One imagined call. `cause` says what decided; `pool_id` is the fallback's where one stood in. */
export interface DryRunStep {
  readonly pool_id: string;
  readonly instance_id: string;
  readonly alias: string;
  readonly cause: "strategy" | "sticky" | "probe";
}

/** Where calls would go, and who is left out and why. `steps` ends early when nobody is left. */
export interface DryRun {
  readonly steps: readonly DryRunStep[];
  readonly excluded: readonly { readonly instance_id: string; readonly alias: string; readonly reason: string }[];
  /** Until somebody could be had, when the steps ended early; null when only a change of configuration helps. */
  readonly retry_after_ms: number | null;
}

/** The Router's methods. `apply` answers the version in force after it, which may be higher than the one given. */
export interface RouterApi {
  apply(config: ConfigAddress, rows: RouterRows): Promise<{ epoch: number; version: number }>;
  admit(request: AdmitRequest): Promise<Admission>;
  next(ticket: Ticket, failure: Failure): Promise<Admission>;
  /** Probes only: the first content event is through. */
  committed(ticket: Ticket): Promise<void>;
  settle(outcomes: readonly Outcome[]): Promise<void>;
  /** The answer to this request's `admit` never reached the gateway: its place is free again, and it is not admitted any more. */
  abandon(requestId: string): Promise<void>;
  models(request: Omit<AdmitRequest, "model" | "request_id">): Promise<ModelNames | Refusal>;
  /** Checks a key's standing, scope, allow-list and rate for one invocation of a tool. A Router of the release before does not know it. */
  admitTool(request: AdmitToolRequest): Promise<ToolAdmitted | Refusal>;
  state(poolId: string): Promise<readonly InstanceState[]>;
  /** Where the next calls would go; moves nothing. A Router of the release before does not know it. */
  dryRun(request: DryRunRequest): Promise<DryRun>;
  /** Ends the cool-down of a credential × model, by hand. A Router of the release before does not know it. */
  clearCooldown(credentialId: string, model: string): Promise<void>;
  /** The version in force; null when none was ever applied. */
  configured(): Promise<{ epoch: number; version: number } | null>;
}
