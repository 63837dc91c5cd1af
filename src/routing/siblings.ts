/** The Router's talk with the workspace's other shards: news goes out at once and nobody's answer waits for it; only a probe is asked for and waited for. */
import { within } from "../base/flight.js";
import { describeError, log } from "../base/log.js";
import { isMarked } from "./call.js";
import type { Admission } from "./model.js";
import type { ProbeAnswer, ProbeAsk } from "./probe-grants.js";
import { askPatienceMs, dropUnused, takeAnswer } from "./probe-asks.js";
import { endTelling, gatherNews, receiveNews, takeNews, type News, type Sibling } from "./spread.js";
import type { RouterState } from "./state.js";

/** What shards ask of one another. A Router of the release before knows none of it, which costs what the other does not learn. */
export interface SiblingApi {
  /** Takes what another shard saw. */
  tell(news: readonly News[]): Promise<void>;
  /** Everything that cools or is out here. */
  coolings(): Promise<readonly News[]>;
  /** Grants a probe; only the first shard is asked. */
  grantProbe(ask: ProbeAsk): Promise<ProbeAnswer>;
}

/** What the talk needs of its object. */
export interface Shell {
  /** Another one after a purge. */
  readonly state: () => RouterState;
  /** Makes a stub; one that has thrown may be broken for good. */
  readonly stub: (region: string) => SiblingApi;
  readonly waitUntil: (work: Promise<void>) => void;
  /** Something changed that the ledger must learn. */
  readonly changed: () => void;
  /** Has `tellNews` called at that time, even if the object sleeps until then. */
  readonly wakeAt: (at: number) => void;
}

const patienceMs = 10_000;
/** A shard's first version is in force after this at the latest, whatever its siblings know. */
const learnPatienceMs = 2_000;
/** Items a call carries at most. */
const mostItems = 500;
const firstRestMs = 1_000;
const longestRestMs = 60_000;

/** Talks with every sibling by itself: one that can't be reached holds up no other. */
export class Siblings {
  readonly #shell: Shell;
  readonly #sending = new Set<string>();
  /** Siblings that could not be reached: how often in a row, and until when they are left alone. */
  readonly #resting = new Map<string, { readonly fails: number; readonly until: number }>();

  constructor(shell: Shell) {
    this.#shell = shell;
  }

  /** Tells the siblings what changed here. Costs a few comparisons while nothing did. */
  tellNews(): void {
    const { cooldowns, spread } = this.#shell.state();
    if (!gatherNews(spread, cooldowns)) {
      return;
    }
    for (const [region, sibling] of spread.siblings) {
      const isResting = (this.#resting.get(region)?.until ?? 0) > Date.now();
      if (sibling.untold.size > 0 && !this.#sending.has(region) && !isResting) {
        this.#sending.add(region);
        this.#shell.waitUntil(this.#send(region, sibling));
      }
    }
  }

  /** Asks what cools elsewhere, at a shard's first version. What a sibling can't say now, it tells later. */
  async learn(): Promise<void> {
    const regions = [...this.#shell.state().spread.siblings.keys()];
    await Promise.all(
      regions.map(async (region) => {
        try {
          this.receive(await within(learnPatienceMs, this.#shell.stub(region).coolings()));
        } catch (error) {
          logFailure("coolings", region, error);
        }
      }),
    );
  }

  /** Takes a sibling's news. */
  receive(news: readonly News[]): void {
    const state = this.#shell.state();
    const { cooldowns, config } = state;
    if (!state.closed) {
      receiveNews(cooldowns, news, (id) => config?.credentials.get(id)?.validated_at_ms ?? null, Date.now());
      this.#shell.changed();
    }
  }

  /** Asks the first shard for the probe that a call would be, then decides about the call. */
  async decideWithProbe(asked: ProbeAsk, decide: () => Promise<Admission>): Promise<Admission> {
    const answer = await this.#askProbe(asked);
    // A purge may have come between.
    const state = this.#shell.state();
    takeAnswer(state, asked, answer, Date.now());
    const admission = await decide();
    dropUnused(state, asked, admission);
    return admission;
  }

  async #askProbe(asked: ProbeAsk): Promise<ProbeAnswer | null> {
    const { first } = this.#shell.state().spread;
    const ask = async (): Promise<ProbeAnswer> =>
      await within(askPatienceMs / 2, this.#shell.stub(first ?? "auto").grantProbe(asked));
    try {
      return await ask();
    } catch (error) {
      if (!isMarked(error, "retryable") || isMarked(error, "overloaded")) {
        logFailure("grantProbe", first ?? "auto", error);
        return isUnknownMethod(error) ? { kind: "granted" } : null;
      }
    }
    try {
      return await ask();
    } catch (error) {
      logFailure("grantProbe", first ?? "auto", error);
      return null;
    }
  }

  async #send(region: string, sibling: Sibling): Promise<void> {
    try {
      let news = takeNews(sibling, this.#shell.state().cooldowns, mostItems, Date.now());
      while (news.length > 0) {
        await within(patienceMs, this.#shell.stub(region).tell(news));
        endTelling(sibling, true);
        news = takeNews(sibling, this.#shell.state().cooldowns, mostItems, Date.now());
      }
      this.#resting.delete(region);
    } catch (error) {
      this.#rest(region, sibling, error);
    } finally {
      this.#sending.delete(region);
      this.#shell.changed();
    }
  }

  #rest(region: string, sibling: Sibling, error: unknown): void {
    endTelling(sibling, false);
    logFailure("tell", region, error);
    const fails = (this.#resting.get(region)?.fails ?? 0) + 1;
    const until = Date.now() + Math.min(firstRestMs * 2 ** (fails - 1), longestRestMs);
    this.#resting.set(region, { fails, until });
    this.#shell.wakeAt(until);
  }
}

function isUnknownMethod(error: unknown): boolean {
  return error instanceof Error && error.message.includes("does not implement");
}

function logFailure(call: string, region: string, error: unknown): void {
  log("warn", "sibling_not_reached", { call, region, cause: describeError(error) });
}
