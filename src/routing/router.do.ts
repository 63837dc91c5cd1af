/** The Router: one object per workspace and region. A shell around the pure decision files: it brings time, takes turns, and keeps the disk a second behind. */
import { DurableObject } from "cloudflare:workers";
import { openDatabase } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import type { ConfigAddress, RouterRows } from "../snapshot/model.js";
import { admitTool, logToolRefused } from "./admit-tool.js";
import { tellBudgets } from "./budget-news.js";
import { expire } from "./charges.js";
import { clearCooldown, cooldownKey } from "./cooldown.js";
import { admit, logRefused, next } from "./decide.js";
import { dryRun } from "./dry-run.js";
import { armAlarm, runDue, setDue } from "./due.js";
import { installConfig, isNewer } from "./install.js";
import { isDirty, loadState, markClean, openLedger, writeChanges, writeClosed, writeConfig } from "./ledger.js";
import { Leasing, lendOnDisk, type LenderApi } from "./leasing.js";
import { sweepMeters } from "./ledger-meters.js";
import type { LeaseAnswer, LeaseAsk } from "./lender.js";
import type {
  AdmitRequest,
  Admission,
  AdmitToolRequest,
  DryRun,
  DryRunRequest,
  Failure,
  InstanceState,
  ModelNames,
  Outcome,
  Refusal,
  RouterApi,
  Ticket,
  ToolAdmitted,
} from "./model.js";
import { askForAdmit, askForNext } from "./probe-asks.js";
import { grantProbe, type ProbeAnswer, type ProbeAsk } from "./probe-grants.js";
import { abandon, committed, settle } from "./report.js";
import type { LogEntry, ToolUse } from "./request-log-entry.js";
import { findEntry, queryLog, type LogAnswer, type LogQuery } from "./request-log-pages.js";
import { logTool } from "./request-log.js";
import { regionOf, routerFor } from "./router-for.js";
import { Siblings, type SiblingApi } from "./siblings.js";
import { describeAll, resumeShards, type News } from "./spread.js";
import { createState, type RouterState } from "./state.js";
import { listModels, surveyInstances } from "./survey.js";
import { ageBooks, expectTelling, openBooks, resumeLog, tellBooks, writeBooks, type BooksApi } from "./usage-books.js";
import { hasUntoldUses, tellUses } from "./uses-tell.js";

/** What moves is on disk at most this much later; a crash loses no more. */
const writeBehindMs = 1_000;

/** News of budgets that the record could not take is told again after this. */
const retryBudgetsMs = 30_000;

/** Live keys, limits, weights, cool-downs and open tickets of one workspace's shard. */
export class Router extends DurableObject<Env> implements RouterApi, SiblingApi, BooksApi, LenderApi {
  #state: RouterState = createState();
  #timer: ReturnType<typeof setTimeout> | null = null;
  readonly #leasing = new Leasing({
    state: () => this.#state,
    stub: (region) => routerFor(this.env, this.#state.config?.rows.workspace_id ?? "", region),
    waitUntil: (work) => this.ctx.waitUntil(work),
  });
  readonly #siblings = new Siblings({
    state: () => this.#state,
    stub: (region) => routerFor(this.env, this.#state.config?.rows.workspace_id ?? "", region),
    waitUntil: (work) => this.ctx.waitUntil(work),
    changed: () => this.#writeBehind(),
    wakeAt: (at) => {
      setDue(this.ctx.storage.sql, "tell_siblings", at);
      this.ctx.waitUntil(armAlarm(this.ctx.storage));
    },
  });

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    void ctx.blockConcurrencyWhile(async () => {
      openLedger(ctx.storage.sql);
      openBooks(ctx.storage.sql);
      this.#state = loadState(ctx.storage.sql);
      resumeLog(ctx.storage.sql, this.#state.log, Date.now());
      this.#state.leases.incarnation = crypto.randomUUID();
      const { config, cooldowns, spread } = this.#state;
      if (config !== null) {
        spread.own = regionOf(env, config.rows.workspace_id, ctx.id);
        resumeShards(spread, cooldowns, config.rows.shards);
      }
      await armAlarm(ctx.storage);
    });
  }

  /** Puts a version into force and on disk; lower ones change nothing, equal ones only what they tell of a newer catalogue. Answers the version in force: none, once it is purged. */
  async apply(config: ConfigAddress, rows: RouterRows): Promise<{ epoch: number; version: number }> {
    if (this.#state.closed) {
      return { epoch: 0, version: 0 };
    }
    if (isNewer(this.#state, config, rows)) {
      this.ctx.storage.transactionSync(() => {
        writeConfig(this.ctx.storage.sql, config, rows);
      });
      const isFirst = this.#state.config === null;
      this.#state.spread.own = regionOf(this.env, rows.workspace_id, this.ctx.id);
      installConfig(this.#state, config, rows, Date.now());
      // What the version restored or dropped goes with it: the platform holds both writes and this answer together.
      this.#flush();
      await armAlarm(this.ctx.storage);
      await (isFirst ? this.#siblings.learn() : undefined);
      this.#writeBehind();
    }
    const { epoch, version } = this.#state.config?.address ?? config;
    return { epoch, version };
  }

  /** Admits a call and picks its instance, or refuses. */
  async admit(request: AdmitRequest): Promise<Admission> {
    const decide = (now: number): Admission => admit(this.#state, request, now);
    const asked = askForAdmit(this.#state, request, Date.now());
    const isAlone = asked === null && !this.#leasing.isTenant();
    const answer = isAlone ? decide(Date.now()) : await this.#decide(asked, decide);
    logRefused(this.#state, request, answer, Date.now());
    this.#writeBehind();
    return answer;
  }

  /** Takes an attempt's failure and gives the next instance, or refuses. */
  async next(ticket: Ticket, failure: Failure): Promise<Admission> {
    const asked = failure.class === "caller_fault" ? null : askForNext(this.#state, ticket, Date.now());
    const decide = (now: number): Admission => next(this.#state, ticket, failure, now);
    // Not by leases: it ends a request, and a repeat gets the same answer.
    const measured = (): Admission => this.#leasing.measure(decide);
    const answer = asked === null ? measured() : await this.#siblings.decideWithProbe(asked, async () => measured());
    this.#writeBehind();
    return answer;
  }

  /** Takes a probe's first event. */
  async committed(ticket: Ticket): Promise<void> {
    committed(this.#state, ticket);
    this.#writeBehind();
  }

  /** Takes how calls ended. */
  async settle(outcomes: readonly Outcome[]): Promise<void> {
    this.#leasing.measure((now) => settle(this.#state, outcomes, now));
    this.#writeBehind();
  }

  /** Takes back what `admit` gave for a request whose gateway never got the answer. */
  async abandon(requestId: string): Promise<void> {
    abandon(this.#state, requestId, Date.now());
    this.#writeBehind();
  }

  /** Names the pools and models a key may use. */
  async models(request: Omit<AdmitRequest, "model" | "request_id">): Promise<ModelNames | Refusal> {
    const answer = listModels(this.#state, request, Date.now());
    this.#writeBehind();
    return answer;
  }

  /** Admits one invocation of a tool, or refuses. */
  async admitTool(request: AdmitToolRequest): Promise<ToolAdmitted | Refusal> {
    const answer = await this.#leasing.decide<ToolAdmitted>((now) => admitTool(this.#state, request, now));
    logToolRefused(this.#state, request, answer, Date.now());
    this.#writeBehind();
    return answer;
  }

  /** Describes a pool's instances; empty for a pool that is not in force here. */
  async state(poolId: string): Promise<readonly InstanceState[]> {
    return surveyInstances(this.#state, poolId, Date.now());
  }

  /** Imagines calls. */
  async dryRun(request: DryRunRequest): Promise<DryRun> {
    return dryRun(this.#state, request, Date.now());
  }

  /** Ends a cool-down by hand; on disk before the answer. */
  async clearCooldown(credentialId: string, model: string): Promise<void> {
    clearCooldown(this.#state.cooldowns, cooldownKey(credentialId, model), Date.now());
    this.#flush();
    this.#writeBehind();
  }

  /** Takes what another shard saw. */
  async tell(news: readonly News[]): Promise<void> {
    this.#siblings.receive(news);
  }

  /** Says what cools or is out here, for a shard that begins. */
  async coolings(): Promise<readonly News[]> {
    return describeAll(this.#state.cooldowns, Date.now());
  }

  /** Grants another shard's probe, if it is the only one. */
  async grantProbe(ask: ProbeAsk): Promise<ProbeAnswer> {
    const answer = grantProbe(this.#state, ask, Date.now());
    this.#writeBehind();
    return answer;
  }

  /** Ended requests by a query, newest first. */
  async requests(query: LogQuery): Promise<LogAnswer> {
    if (this.#state.closed) {
      return { entries: [], known_to: null };
    }
    this.#flush();
    return queryLog(this.ctx.storage.sql, query, Date.now());
  }

  /** One ended request by its id; null when it is not known here. */
  async request(id: string): Promise<LogEntry | null> {
    if (this.#state.closed) {
      return null;
    }
    this.#flush();
    return findEntry(this.ctx.storage.sql, id, Date.now());
  }

  /** Takes a tool's invocation into the books. */
  async noteTool(use: ToolUse): Promise<void> {
    logTool(this.#state.log, use, Date.now());
    this.#writeBehind();
  }

  /** Tells the record of all usage up to this moment. */
  async flushUsage(): Promise<boolean> {
    if (this.#state.closed) {
      return true;
    }
    this.#flush();
    return await this.#tellUsage();
  }

  /** The version in force; null when none was ever applied. */
  async configured(): Promise<{ epoch: number; version: number } | null> {
    const address = this.#state.config?.address;
    return address === undefined ? null : { epoch: address.epoch, version: address.version };
  }

  /**
   * Forgets everything for good. With `tombstone` a single row stays, so that whatever the record says later (a restore from
   * a backup), every key stays refused here; without it nothing stays, for a shard that no key was ever made for.
   */
  async purge(tombstone: boolean): Promise<void> {
    await this.ctx.blockConcurrencyWhile(async () => {
      const { storage } = this.ctx;
      this.#state = { ...createState(), closed: true };
      await storage.deleteAlarm();
      await storage.deleteAll();
      if (tombstone) {
        openLedger(storage.sql);
        writeClosed(storage.sql);
        await storage.sync();
      }
    });
  }

  /** Leases part of the workspace's limits to another shard; on disk before the answer. */
  async lend(ask: LeaseAsk): Promise<LeaseAnswer> {
    const answer = lendOnDisk(this.ctx.storage.sql, this.#state, ask, Date.now());
    this.#writeBehind();
    return answer;
  }

  /** Runs what is due. */
  override async alarm(): Promise<void> {
    const end = (): void => {
      expire(this.#state, Date.now());
      this.#flush();
    };
    const { sql } = this.ctx.storage;
    let [isUsageDue, areBudgetsDue] = [false, false];
    const tasks = {
      expire_tickets: end,
      tell_siblings: (): void => this.#siblings.tellNews(),
      tell_budgets: (): void => {
        areBudgetsDue = true;
      },
      age_log: (): void => ageBooks(sql, Date.now()),
      tell_usage: (): void => {
        expectTelling(sql, Date.now());
        isUsageDue = true;
      },
    };
    await runDue(this.ctx.storage, tasks, Date.now());
    if (isUsageDue) {
      await this.#tellUsage();
    }
    await (areBudgetsDue ? this.#tellBudgets() : undefined);
  }

  /** Decides about a new call, with a probe from the first shard where it would be one. */
  async #decide(asked: ProbeAsk | null, decide: (now: number) => Admission): Promise<Admission> {
    const leased = async (): Promise<Admission> => await this.#leasing.decide(decide);
    return await (asked === null ? leased() : this.#siblings.decideWithProbe(asked, leased));
  }

  /** Starts the timer if memory is ahead of the disk. A pending timer keeps the object in memory until it has run. */
  #writeBehind(): void {
    this.#siblings.tellNews();
    if (this.#timer !== null || this.#state.closed || !(isDirty(this.#state) || hasUntoldUses(this.#state))) {
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.ctx.waitUntil(this.#flushAndArm());
    }, writeBehindMs);
  }

  async #flushAndArm(): Promise<void> {
    if (this.#state.closed) {
      return;
    }
    try {
      this.#flush();
      await armAlarm(this.ctx.storage);
    } catch (error) {
      log("error", "router_flush_failed", { error: describeError(error) });
      this.#writeBehind();
    }
    await tellUses(this.env.DB, this.#state);
    await this.#tellBudgets();
  }

  /** Tells the record of budgets that are nearly spent; what it cannot take now falls due again. */
  async #tellBudgets(): Promise<void> {
    if (this.#state.meters.notices.size === 0) {
      return;
    }
    if (!(await tellBudgets(openDatabase(this.env.DB), this.#state, Date.now()))) {
      setDue(this.ctx.storage.sql, "tell_budgets", Date.now() + retryBudgetsMs);
      await armAlarm(this.ctx.storage);
    }
    this.#writeBehind();
  }

  /** Answers whether the record has all usage; without a configuration there is none. */
  async #tellUsage(): Promise<boolean> {
    const workspaceId = this.#state.config?.rows.workspace_id;
    if (workspaceId === undefined) {
      return true;
    }
    const { storage } = this.ctx;
    const hasAll = await tellBooks({
      sql: storage.sql,
      db: openDatabase(this.env.DB),
      teller: { workspaceId, shard: this.#state.spread.own ?? this.ctx.id.toString() },
      isClosed: () => this.#state.closed,
    });
    await armAlarm(storage);
    return hasAll;
  }

  #flush(): void {
    sweepMeters(this.#state.meters, Date.now());
    const forgetWritten = this.ctx.storage.transactionSync(() => {
      writeChanges(this.ctx.storage.sql, this.#state);
      const { open, next_deadline_at: deadline } = this.#state.tickets;
      if (open.size > 0) {
        setDue(this.ctx.storage.sql, "expire_tickets", deadline);
      }
      return writeBooks(this.ctx.storage.sql, this.#state.log, Date.now());
    });
    markClean(this.#state);
    forgetWritten();
  }
}
