/** What is noted of a request while it runs: references to what was there, so that noting costs next to nothing; the log writes them out later. */
import type { RouterInstance } from "../snapshot/model.js";
import type { DryRunStep, Failure, Refusal } from "./model.js";

/** An instance as a survey saw it. Neither its row nor its weight ever changes. */
export interface Surveyed {
  readonly row: Pick<RouterInstance, "id" | "alias">;
  readonly weight: number;
}

/** Why an instance was no candidate: a state of its own, the class of the failure that it cools for, or what the request rules out. */
export type ExclusionReason =
  | "drained"
  | "credential_unusable"
  | "credential"
  | "endpoint_not_served"
  | "not_priced"
  | "over_budget"
  | "tried"
  | "probing"
  | "probe_due"
  | Failure["class"];

/** One that was left out. */
export interface Exclusion {
  readonly instance: Surveyed;
  readonly reason: ExclusionReason;
  /** When its cool-down ends, epoch milliseconds; null when it does not cool. */
  readonly until: number | null;
}

/** What a pool had to offer at one pick. */
export interface PoolSurvey {
  readonly pool_id: string;
  readonly candidates: readonly Surveyed[];
  readonly excluded: readonly Exclusion[];
}

/** One pick. */
export interface PickTrace {
  readonly attempt: number;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly cause: DryRunStep["cause"];
  readonly instance_id: string;
  /** The pools that were looked at, the one that served last. */
  readonly surveys: readonly PoolSurvey[];
}

/** One attempt's failure. */
export interface FailureTrace {
  readonly attempt: number;
  readonly failure: Failure;
  /** When the Router heard of it, epoch milliseconds. */
  readonly at: number;
}

/** A request from its first pick on. */
export interface RequestTrace {
  /** When it was admitted, epoch milliseconds. */
  readonly at: number;
  /** Null where it was not said, or is forgotten. */
  readonly endpoint: string | null;
  /** The name that was asked for. */
  readonly model: string | null;
  readonly picks: PickTrace[];
  readonly failures: FailureTrace[];
  /** What the log took for its end; null before. Whoever was lost can still be settled; nothing else moves an end. */
  end: TakenEnd | null;
}

/** An end as it was counted. */
export interface TakenEnd {
  readonly at: number;
  readonly is_lost: boolean;
  /** What it was charged by then; null where nothing was. */
  readonly charge: EndCharge | null;
}

/** A charge, as far as the log tells it. */
export interface EndCharge {
  readonly cost: number;
  readonly estimated: boolean;
}

/** A call that was refused before it had an instance. */
export interface RefusalTrace {
  readonly request_id: string;
  readonly at: number;
  readonly key_id: string;
  readonly endpoint: string | null;
  readonly model: string;
  /** The pool of that name; null when there is none. */
  readonly pool_id: string | null;
  readonly stream: boolean;
  readonly refusal: Refusal;
  readonly surveys: readonly PoolSurvey[];
}

/** The trace of a request that begins now, or that is only known by its ticket. */
export function createTrace(at: number, endpoint: string | null, model: string | null): RequestTrace {
  return { at, endpoint, model, picks: [], failures: [], end: null };
}
