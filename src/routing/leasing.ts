/** How a shard that is not the first gets its part of the workspace's limits: it asks when a call needs more, ahead of that where it can, and gives back what it does not use. */
import { lookUntil, within } from "../base/flight.js";
import { describeError, log } from "../base/log.js";
import { noteLease } from "./charges.js";
import { meterOf } from "./holds.js";
import { isTenant, lendTo, type Answer, shortOf, takenHere, tenantOf } from "./lease-room.js";
import { writeAccount } from "./ledger-leases.js";
import { gauges, rates, type Amounts, type LeaseAnswer, type LeaseAsk } from "./lender.js";
import { trimWindow } from "./limits.js";
import { noCaps, type Caps } from "./meters.js";
import type { MetLimit, Refusal } from "./model.js";
import { workspaceScope, type RouterState } from "./state.js";
import { findLow, hasSpare, isShort, makeAsk, noAmounts, takeLease, useRate, type Purpose } from "./tenant.js";

/** The first shard, as far as leases go. */
export interface LenderApi {
  lend(ask: LeaseAsk): Promise<LeaseAnswer>;
}

/** What leasing needs of its object. */
export interface LeaseShell {
  readonly state: () => RouterState;
  readonly stub: (region: string) => LenderApi;
  readonly waitUntil: (work: Promise<void>) => void;
}

/** A caller waits no longer than this for what it needs; a first ask may meet one limit after the other. */
const patienceMs = 2_000;
/** How often a call that waits for another's ask looks. */
const lookMs = 4;
/** Leases ahead of need are asked for no more often than this. */
const refillMs = 50;
/** How soon it is looked again whether something can go back, where an ask is under way. */
const retryMs = 100;
/** What is not used for so long goes back, well before a quiet object is let go. */
const idleMs = 3_000;

/** One shard's asking. One ask is under way at a time. */
export class Leasing {
  readonly #shell: LeaseShell;
  #refilledAt = 0;
  #isAsking = false;
  #waiting = 0;
  #usedAt = 0;
  #isTimed = false;

  constructor(shell: LeaseShell) {
    this.#shell = shell;
  }

  /** Whether this shard has to lease what it takes of the workspace's limits. */
  isTenant(): boolean {
    const state = this.#shell.state();
    return isTenant(state, state.config?.caps ?? noCaps);
  }

  /** Makes a decision and counts what it used of the leases. Costs two comparisons where nothing is leased. */
  measure<T>(decide: (now: number) => T): T {
    const state = this.#shell.state();
    const now = Date.now();
    if (!this.isTenant()) {
      return decide(now);
    }
    const { requests, tokens } = meterOf(state, workspaceScope);
    trimWindow(requests, now);
    trimWindow(tokens, now);
    const before = { rpm: requests.total, tpm: tokens.total };
    const result = decide(now);
    const tenant = tenantOf(state, meterOf(state, workspaceScope), now);
    for (const [name, window] of [
      ["rpm", requests],
      ["tpm", tokens],
    ] as const) {
      useRate(tenant, name, window.total - before[name], now);
    }
    if (!isRefused(result)) {
      this.#usedAt = now;
    }
    this.#returnLater();
    return result;
  }

  /** Decides about a call; where the shard's part of a workspace limit stands in its way, with more of it. */
  async decide<T extends Answer>(decide: (now: number) => T | Refusal): Promise<T | Refusal> {
    let answer = this.measure(decide);
    let met = shortOf(this.#shell.state(), answer);
    const giveUpAt = Date.now() + patienceMs;
    while (met !== null && Date.now() < giveUpAt && (await this.#getMore(met))) {
      answer = this.measure(decide);
      met = shortOf(this.#shell.state(), answer);
    }
    if (answer.kind !== "refused" && this.isTenant()) {
      this.#refill(this.#shell.state(), Date.now());
    }
    return answer;
  }

  /** Whether it is worth to decide again. */
  async #getMore(met: MetLimit): Promise<boolean> {
    const needs: Amounts = { ...noAmounts, [met.name]: met.needs ?? 1 };
    const state = this.#shell.state();
    if (isShort(tenantOf(state, meterOf(state, workspaceScope), Date.now()), needs, Date.now())) {
      return false;
    }
    if (this.#isAsking) {
      this.#waiting += 1;
      try {
        return await lookUntil(() => !this.#isAsking, patienceMs, lookMs);
      } finally {
        this.#waiting -= 1;
      }
    }
    return await this.#ask({ kind: "lease", needs, more: limitedBy(state), waiting: this.#waiting });
  }

  /** Asks once; answers whether there was an answer. */
  async #ask(purpose: Purpose): Promise<boolean> {
    const state = this.#shell.state();
    const { first, own } = state.spread;
    if (first === null || own === null || state.closed) {
      return false;
    }
    this.#isAsking = true;
    const sentAt = Date.now();
    const meter = meterOf(state, workspaceScope);
    const tenant = tenantOf(state, meter, sentAt);
    const ask = makeAsk(tenant, own, takenHere(state, meter, sentAt), purpose, sentAt);
    try {
      takeLease(tenant, ask, await within(patienceMs, this.#shell.stub(first).lend(ask)), sentAt, Date.now());
      return true;
    } catch (error) {
      log("warn", "lease_not_had", { region: first, cause: describeError(error) });
      return false;
    } finally {
      this.#isAsking = false;
    }
  }

  #refill(state: RouterState, now: number): void {
    if (this.#isAsking || now - this.#refilledAt < refillMs) {
      return;
    }
    const meter = meterOf(state, workspaceScope);
    const low = findLow(tenantOf(state, meter, now), takenHere(state, meter, now), limitedBy(state), now);
    if (low.length > 0) {
      this.#refilledAt = now;
      this.#shell.waitUntil(
        this.#ask({ kind: "lease", needs: noAmounts, more: low, waiting: 0 }).then(() => undefined),
      );
    }
  }

  /** The timer keeps the object in memory until what it does not need has gone back. */
  #returnLater(afterMs = idleMs): void {
    if (this.#isTimed) {
      return;
    }
    this.#isTimed = true;
    setTimeout(() => {
      this.#isTimed = false;
      this.#shell.waitUntil(this.#returnSpare());
    }, afterMs);
  }

  async #returnSpare(): Promise<void> {
    const state = this.#shell.state();
    const now = Date.now();
    if (state.closed || !this.isTenant()) {
      return;
    }
    const leftMs = this.#usedAt + idleMs - now;
    if (leftMs > 0 || this.#isAsking) {
      this.#returnLater(Math.max(leftMs, retryMs));
      return;
    }
    const meter = meterOf(state, workspaceScope);
    if (hasSpare(tenantOf(state, meter, now), takenHere(state, meter, now), now)) {
      await this.#ask({ kind: "return" });
    }
  }
}

/** Leases to another shard: on disk before the answer, or a crash could lease it twice. */
export function lendOnDisk(sql: SqlStorage, state: RouterState, ask: LeaseAsk, now: number): LeaseAnswer {
  const answer = lendTo(state, ask, meterOf(state, workspaceScope), now);
  noteLease(state, answer.short);
  const account = state.leases.lender.get(ask.shard);
  if (account !== undefined && !state.closed) {
    writeAccount(sql, ask.shard, account);
  }
  return answer;
}

/** A refused call uses nothing: what is left here may be just what another shard's call needs. */
function isRefused(result: unknown): boolean {
  return typeof result === "object" && result !== null && "kind" in result && result.kind === "refused";
}

function limitedBy({ config }: RouterState): readonly (keyof Amounts & keyof Caps)[] {
  return [...rates, ...gauges].filter((name) => (config?.caps[name] ?? null) !== null);
}
