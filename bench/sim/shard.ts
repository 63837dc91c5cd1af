/** One shard of the simulation: the Router's own pure decisions, without its object and its disk. */
import { admit, next } from "../../src/routing/decide.js";
import { installConfig } from "../../src/routing/install.js";
import { meterOf } from "../../src/routing/holds.js";
import { isTenant, shortOf, takenHere, tenantOf } from "../../src/routing/lease-room.js";
import { trimWindow } from "../../src/routing/limits.js";
import { noCaps } from "../../src/routing/meters.js";
import type { Admission, Failure, Outcome, Ticket } from "../../src/routing/model.js";
import { createRequestLog } from "../../src/routing/request-log.js";
import { committed, settle } from "../../src/routing/report.js";
import { createState, workspaceScope, type RouterState } from "../../src/routing/state.js";
import { findLow, makeAsk, noAmounts, useRate } from "../../src/routing/tenant.js";
import type { LeaseAsk } from "../../src/routing/lender.js";
import type { RouterRows } from "../../src/snapshot/model.js";

/** A workspace's Router in one region. */
export class Shard {
  readonly region: string;
  readonly state: RouterState = createState();
  /** Epoch milliseconds of the lease ask under way; null for none. */
  askedAt: number | null = null;

  constructor(region: string, rows: RouterRows, now: number) {
    this.region = region;
    this.state.spread.own = region;
    this.state.leases.incarnation = region;
    installConfig(this.state, { epoch: 0, version: 1, digest: "" }, rows, now);
  }

  /** Admits a call, and counts what that used of the leases. */
  admit(requestId: string, now: number): Admission {
    const request = { request_id: requestId, key_digest: "digest", scope: "models:invoke", model: "chat" };
    const answer = this.#measured(now, () => admit(this.state, request, now));
    this.#forgetLog();
    return answer;
  }

  next(ticket: Ticket, failure: Failure, now: number): Admission {
    return next(this.state, ticket, failure, now);
  }

  /** Ends a call that got through. */
  succeed(ticket: Ticket, tookMs: number, now: number): void {
    if (ticket.probe) {
      committed(this.state, ticket);
    }
    this.settle({ ticket, result: "ok", failure: null, usage: null, duration_ms: tookMs, first_byte_ms: tookMs }, now);
  }

  settle(outcome: Outcome, now: number): void {
    settle(this.state, [outcome], now);
    this.#forgetLog();
  }

  /** What to ask the first shard for: what `answer` was short of, or what runs low; null for nothing. */
  leaseAsk(answer: Admission, now: number): LeaseAsk | null {
    const { state } = this;
    if (this.askedAt !== null || !isTenant(state, state.config?.caps ?? noCaps)) {
      return null;
    }
    const meter = meterOf(state, workspaceScope);
    const tenant = tenantOf(state, meter, now);
    const taken = takenHere(state, meter, now);
    const met = shortOf(state, answer);
    const more = met === null ? findLow(tenant, taken, ["rpm"], now) : (["rpm"] as const);
    if (more.length === 0) {
      return null;
    }
    const needs = met === null ? noAmounts : { ...noAmounts, [met.name]: met.needs ?? 1 };
    this.askedAt = now;
    return makeAsk(tenant, this.region, taken, { kind: "lease", needs, more, waiting: 0 }, now);
  }

  #measured(now: number, decide: () => Admission): Admission {
    const { state } = this;
    if (!isTenant(state, state.config?.caps ?? noCaps)) {
      return decide();
    }
    const { requests } = meterOf(state, workspaceScope);
    trimWindow(requests, now);
    const before = requests.total;
    const answer = decide();
    useRate(tenantOf(state, meterOf(state, workspaceScope), now), "rpm", requests.total - before, now);
    return answer;
  }

  /** The object writes it to disk each second; here nobody reads it. */
  #forgetLog(): void {
    Object.assign(this.state.log, createRequestLog());
  }
}
