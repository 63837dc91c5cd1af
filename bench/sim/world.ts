/** A workspace's shards, the way between them, and providers that fail: what the Routers' decisions come to when words take time and get lost. */
import { cooldownKey } from "../../src/routing/cooldown.js";
import { askForAdmit, askForNext, dropUnused, takeAnswer } from "../../src/routing/probe-asks.js";
import { grantProbe, type ProbeAnswer, type ProbeAsk } from "../../src/routing/probe-grants.js";
import { lendTo, tenantOf } from "../../src/routing/lease-room.js";
import { meterOf } from "../../src/routing/holds.js";
import type { Admission, Failure, Ticket } from "../../src/routing/model.js";
import { endTelling, gatherNews, receiveNews, takeNews } from "../../src/routing/spread.js";
import { workspaceScope } from "../../src/routing/state.js";
import { takeLease } from "../../src/routing/tenant.js";
import type { RouterRows } from "../../src/snapshot/model.js";
import { Timeline, exponential, randomFrom } from "./network.js";
import { Shard } from "./shard.js";

/** What is simulated. Times in milliseconds. */
export interface Setting {
  readonly shards: number;
  /** Calls a second, of all shards together. */
  readonly callsPerSecond: number;
  readonly minutes: number;
  /** Of the workspace as a whole; null for none. */
  readonly rpm: number | null;
  /** Whether shards tell one another of cool-downs and ask for probes. */
  readonly tells: boolean;
  /** Part of the words between shards that get lost. */
  readonly loss: number;
  /** Whether instances fail, each for two minutes, one after the other. */
  readonly fails: boolean;
  readonly seed: number;
}

/** What came of it. */
export interface Tally {
  admitted: number;
  refused: number;
  /** Attempts on an instance that was failing, but for the one that found it out and probes. */
  wasted: number;
  /** Cool-downs that began: the first failure of each failing instance. */
  outages: number;
  probes: number;
  /** From the first shard's cool-down to the last shard's: one figure for each outage. */
  readonly spreadMs: number[];
  /** When calls were admitted, for the windows. */
  readonly admittedAt: number[];
  /** Largest distance of a shard's picks from its weights' share, at every call. */
  worstLag: number;
}

export const weights = [5, 3, 2, 1, 1] as const;
const start = Date.UTC(2026, 0, 5, 12);
const callMs = 400;
const outageMs = 120_000;
const restMs = 240_000;
const patienceMs = 2_000;
const resendMs = 1_000;
const rateLimited: Failure = { class: "rate_limit", status: 429, code: null, retry_after_ms: null, timed_out: false };

/** Runs one setting from beginning to end. */
export function simulate(setting: Setting): Tally {
  const world = new World(setting);
  return world.run();
}

class World {
  readonly #setting: Setting;
  readonly #random: () => number;
  readonly #time = new Timeline(start);
  readonly #shards: readonly Shard[];
  /** One way, from each shard to each other: what the speed of light and the routes make of it. */
  readonly #wayMs: readonly (readonly number[])[];
  readonly #sending = new Set<string>();
  readonly #tally: Tally = {
    admitted: 0,
    refused: 0,
    wasted: 0,
    outages: 0,
    probes: 0,
    spreadMs: [],
    admittedAt: [],
    worstLag: 0,
  };
  #calls = 0;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.#random = randomFrom(setting.seed);
    const regions = Array.from({ length: setting.shards }, (_, index) => `r${index}`);
    const rows = makeRows(setting.tells ? regions : [], setting.rpm);
    this.#shards = regions.map((region) => new Shard(region, rows, start));
    this.#wayMs = regions.map(() => regions.map(() => 10 + this.#random() * 140));
  }

  run(): Tally {
    for (const shard of this.#shards) {
      this.#arrive(shard);
    }
    if (this.#setting.fails) {
      this.#watchOutages();
    }
    this.#time.runUntil(start + this.#setting.minutes * 60_000);
    return this.#tally;
  }

  /** The instance that fails at a time; null between two of them. Each in turn fails for two minutes, then all are well for two. */
  #failing(at: number): number | null {
    const passed = at - start - 60_000;
    const isOut = this.#setting.fails && passed >= 0 && passed % restMs < outageMs;
    return isOut ? Math.floor(passed / restMs) % weights.length : null;
  }

  #arrive(shard: Shard): void {
    const perSecond = this.#setting.callsPerSecond / this.#setting.shards;
    this.#time.after(exponential(this.#random, perSecond), () => {
      this.#begin(shard);
      this.#arrive(shard);
    });
  }

  #begin(shard: Shard): void {
    this.#calls += 1;
    const id = `q${this.#calls}`;
    const request = { request_id: id, key_digest: "digest", scope: "models:invoke", model: "chat" };
    const asked = askForAdmit(shard.state, request, this.#time.now);
    this.#withProbe(
      shard,
      asked,
      () => shard.admit(id, this.#time.now),
      (answer) => this.#proceed(shard, answer, true),
    );
  }

  /** Asks the first shard where the call would be a probe; a word that gets lost ends the waiting by patience. */
  #withProbe(shard: Shard, asked: ProbeAsk | null, decide: () => Admission, then: (answer: Admission) => void): void {
    if (asked === null) {
      then(decide());
      return;
    }
    let isOver = false;
    const end = (answer: ProbeAnswer | null): void => {
      if (!isOver) {
        isOver = true;
        takeAnswer(shard.state, asked, answer, this.#time.now);
        const admission = decide();
        dropUnused(shard.state, asked, admission);
        then(admission);
      }
    };
    this.#time.after(patienceMs, () => end(null));
    this.#send(shard, this.#first(), () => {
      const answer = grantProbe(this.#first().state, asked, this.#time.now);
      this.#spreadNews(this.#first());
      this.#send(this.#first(), shard, () => end(answer));
    });
  }

  #proceed(shard: Shard, answer: Admission, isFirst: boolean): void {
    const { now } = this.#time;
    this.#spreadNews(shard);
    this.#lease(shard, answer);
    if (answer.kind === "refused") {
      this.#tally.refused += 1;
      return;
    }
    if (isFirst) {
      this.#tally.admitted += 1;
      this.#tally.admittedAt.push(now);
    }
    if (answer.probe) {
      this.#tally.probes += 1;
    }
    this.#noteLags(shard);
    const isFailing = this.#failing(now) === Number(answer.instance.id);
    if (isFailing && !answer.probe) {
      this.#tally.wasted += 1;
    }
    this.#time.after(isFailing ? 50 : callMs * (0.5 + this.#random()), () =>
      this.#finish(shard, answer, isFailing, now),
    );
  }

  #finish(shard: Shard, ticket: Ticket, hasFailed: boolean, sentAt: number): void {
    const { now } = this.#time;
    if (!hasFailed) {
      shard.succeed(ticket, now - sentAt, now);
      this.#spreadNews(shard);
      return;
    }
    const asked = askForNext(shard.state, ticket, now);
    this.#withProbe(
      shard,
      asked,
      () => shard.next(ticket, rateLimited, this.#time.now),
      (answer) => this.#proceed(shard, answer, false),
    );
  }

  /** Tells the others what changed here, as the object does: one word under way to each, told again when it gets lost. */
  #spreadNews(shard: Shard): void {
    const { cooldowns, spread } = shard.state;
    if (!gatherNews(spread, cooldowns)) {
      return;
    }
    for (const [region, sibling] of spread.siblings) {
      const way = `${shard.region} ${region}`;
      const to = this.#shards[Number(region.slice(1))];
      if (to === undefined || sibling.untold.size === 0 || this.#sending.has(way)) {
        continue;
      }
      const news = takeNews(sibling, cooldowns, 500, this.#time.now);
      this.#sending.add(way);
      const done = (hasArrived: boolean): void => {
        this.#sending.delete(way);
        endTelling(sibling, hasArrived);
        this.#spreadNews(shard);
      };
      const isLost = !this.#send(shard, to, () => {
        receiveNews(to.state.cooldowns, news, () => null, this.#time.now);
        this.#time.after(this.#way(to, shard), () => done(true));
      });
      if (isLost) {
        this.#time.after(resendMs, () => done(false));
      }
    }
  }

  #lease(shard: Shard, answer: Admission): void {
    const ask = shard.leaseAsk(answer, this.#time.now);
    if (ask === null) {
      return;
    }
    const sentAt = this.#time.now;
    const first = this.#first();
    this.#time.after(patienceMs, () => {
      shard.askedAt = shard.askedAt === sentAt ? null : shard.askedAt;
    });
    this.#send(shard, first, () => {
      const lease = lendTo(first.state, ask, meterOf(first.state, workspaceScope), this.#time.now);
      this.#send(first, shard, () => {
        if (shard.askedAt === sentAt) {
          shard.askedAt = null;
          const tenant = tenantOf(shard.state, meterOf(shard.state, workspaceScope), this.#time.now);
          takeLease(tenant, ask, lease, sentAt, this.#time.now);
        }
      });
    });
  }

  /** Sends a word; false when it gets lost. */
  #send(from: Shard, to: Shard, arrive: () => void): boolean {
    if (from !== to && this.#random() < this.#setting.loss) {
      return false;
    }
    this.#time.after(this.#way(from, to), arrive);
    return true;
  }

  #way(from: Shard, to: Shard): number {
    const ms = this.#wayMs[Number(from.region.slice(1))]?.[Number(to.region.slice(1))] ?? 0;
    return from === to ? 0 : ms * (0.9 + this.#random() * 0.4);
  }

  #first(): Shard {
    const [first] = this.#shards;
    if (first === undefined) {
      throw new Error("a world has a shard at least");
    }
    return first;
  }

  #noteLags(shard: Shard): void {
    for (const { lag } of shard.state.config?.instances.values() ?? []) {
      this.#tally.worstLag = Math.max(this.#tally.worstLag, Math.abs(lag));
    }
  }

  /** Looks every 5 ms of an outage's beginning who knows of it already. */
  #watchOutages(): void {
    const watch = (instance: number, seenAt: number | null, until: number): void => {
      const know = this.#shards.filter(({ state }) =>
        state.cooldowns.entries.has(cooldownKey(`cred-${instance}`, "sandbox-chat")),
      ).length;
      const { now } = this.#time;
      const firstAt = seenAt ?? (know > 0 ? now : null);
      if (know === this.#shards.length || now >= until) {
        this.#tally.spreadMs.push(firstAt === null ? 0 : now - firstAt);
        this.#tally.outages += 1;
        return;
      }
      this.#time.after(5, () => watch(instance, firstAt, until));
    };
    for (let at = 60_000; at + outageMs < this.#setting.minutes * 60_000; at += restMs) {
      this.#time.after(at, () => watch(this.#failing(this.#time.now) ?? 0, null, this.#time.now + outageMs));
    }
  }
}

function makeRows(regions: readonly string[], rpm: number | null): RouterRows {
  const policy = { max_attempts: 5, total_timeout_ms: 60_000, first_byte_timeout_ms: 20_000, idle_timeout_ms: 20_000 };
  const instances = weights.map((weight, index) => ({
    id: String(index),
    alias: `i${index}`,
    provider_name: "sandbox",
    model: "sandbox-chat",
    credential_id: `cred-${index}`,
    weight,
    priority: 0,
    enabled: true,
  }));
  const key = { id: "key", digest: "digest", scopes: ["models:invoke"], models: null, rpm: null, concurrent: null };
  const [first] = regions;
  return {
    workspace_id: "ws",
    active: true,
    keys: [{ ...key, expires_at_ms: null, revoked: false }],
    pools: [{ id: "pool", name: "chat", strategy: "weighted", policy, fallbacks: [], instances }],
    credentials: instances.map(({ credential_id: id }) => ({ id, usable: true, validated_at_ms: null })),
    ...(rpm === null ? {} : { limits: { rpm, tpm: null, concurrent: null, budget: { day: null, month: null } } }),
    ...(first === undefined ? {} : { shards: { first, all: [...regions] } }),
  };
}
