import * as fc from "fast-check";
import { describe, it } from "vitest";
import { admitTool, logToolRefused } from "../../src/routing/admit-tool.js";
import { expire } from "../../src/routing/charges.js";
import { admit as decide, logRefused, next } from "../../src/routing/decide.js";
import { installConfig } from "../../src/routing/install.js";
import type { AdmitRequest, Admission, Failure, FailureClass, Outcome, Ticket } from "../../src/routing/model.js";
import { costOf } from "../../src/routing/price.js";
import { abandon, settle } from "../../src/routing/report.js";
import type { LogEntry } from "../../src/routing/request-log-entry.js";
import { mergeAnswers, type LogAnswer } from "../../src/routing/request-log-pages.js";
import { dropBatch, hasEntries, logTool, takeBatch } from "../../src/routing/request-log.js";
import { createState, type RouterState } from "../../src/routing/state.js";
import { addEntry, createSums, type UsageDelta } from "../../src/routing/usage-sums.js";
import { usageSums, type UsageSum } from "../../src/usage/model.js";
import { deep, seed } from "../support/deep.js";
import {
  address,
  entriesOf,
  makeFailure,
  makeInstance,
  makeKey,
  makeOutcome,
  makePool,
  makeRequest,
  makeRows,
  ticketOf,
} from "./fixture.js";

const start = 1_700_000_000_000;
const hour = 3_600_000;
const prices = { input: 1_000_000, output: 3_000_000 };

function makeState(count: number, keys = [makeKey("k"), makeKey("slow", { rpm: 3 })]): RouterState {
  const state = createState();
  const instances = Array.from({ length: count }, (_, at) => makeInstance(`i${at}`, 1, { prices }));
  installConfig(state, address(1), makeRows([makePool("chat", instances, { max_attempts: 6 })], keys), start);
  return state;
}

interface Books {
  readonly calls: LogEntry[];
  readonly refusals: LogEntry[];
  readonly deltas: UsageDelta[];
}

/** Admits as the object does: a refusal is logged when it stands. */
function admit(state: RouterState, request: AdmitRequest, now: number): Admission {
  const answer = decide(state, request, now);
  logRefused(state, request, answer, now);
  return answer;
}

/** Writes out everything as the object does, with corrections of what is in the books already. */
function writeAll(state: RouterState, now: number, books: Books = { calls: [], refusals: [], deltas: [] }): Books {
  while (hasEntries(state.log)) {
    const batch = takeBatch(state.log, now);
    books.calls.push(...entriesOf(batch.calls));
    books.refusals.push(...entriesOf(batch.refusals));
    books.deltas.push(...Array.from(batch.sums.values(), (delta) => ({ ...delta })));
    const corrections = createSums();
    for (const { after, before } of batch.late) {
      const place = books.calls.findIndex(({ id }) => id === after.id);
      books.calls[place] = after;
      addEntry(corrections, before, -1);
      addEntry(corrections, after, 1);
    }
    books.deltas.push(...corrections.values());
    const isMoved = batch.calls.length + batch.refusals.length + batch.late.length + batch.sums.size > 0;
    dropBatch(state.log, batch);
    if (!isMoved) {
      break;
    }
  }
  return books;
}

function total(deltas: readonly UsageDelta[], name: UsageSum): number {
  return deltas.reduce((sum, delta) => sum + delta[name], 0);
}

describe("the trace of a call", () => {
  const classes: readonly FailureClass[] = ["rate_limit", "transient", "overloaded", "quota", "credential"];

  it.for([0, 1, 2, 3, 4, 5])(
    "tells who failed, how, and who was left out, when %i of 6 are dead",
    (dead, { expect }) => {
      const state = makeState(6);
      const request = makeRequest({ endpoint: "chat/completions", stream: true });
      const tickets = [ticketOf(admit(state, request, start))];
      for (let at = 0; at < dead; at += 1) {
        const failure = makeFailure(classes[at] ?? "transient", { status: 500 + at, code: `code_${at}` });
        tickets.push(ticketOf(next(state, tickets[at] as Ticket, failure, start + 10 * (at + 1))));
      }
      const last = tickets[dead] as Ticket;
      const usage = { prompt_tokens: 100, completion_tokens: 7, cached_tokens: 40 };
      const outcome: Outcome = { ...makeOutcome(last), usage, status: 200, duration_ms: 47, route_ms: 4 };
      settle(state, [outcome, outcome], start + 100);
      settle(state, [outcome], start + 200);
      const { calls, deltas } = writeAll(state, start + 300);

      expect(calls.length).toBe(1);
      expect(calls[0]).toMatchObject({
        id: request.request_id,
        key_id: "k",
        model: "chat",
        pool_id: "pool-chat",
        endpoint: "chat/completions",
        stream: true,
        result: "ok",
        status: 200,
        code: null,
        at: start,
        ended_at: start + 100,
        instance: { id: last.instance.id },
        usage: { prompt_tokens: 100, completion_tokens: 7, cached_tokens: 40, cache_write_tokens: 0 },
        cost_micro_usd: costOf(usage, prices),
        estimated: false,
      });
      const [entry] = calls;
      expect(
        entry?.attempts.map(({ failure, instance, took_ms }) => [instance.id, failure?.class ?? null, took_ms]),
      ).toEqual(
        // The one that answered took what the gateway says, whenever its end was told.
        tickets.map(({ instance }, index) =>
          index < dead ? [instance.id, classes[index], 10] : [instance.id, null, 43],
        ),
      );
      // At each pick: the ones tried before are out, and nobody else is.
      for (const [index, pick] of entry?.picks.entries() ?? []) {
        const [pool] = pick.pools;
        const tried = tickets.slice(0, index).map(({ instance }) => instance.id);
        expect(pick).toMatchObject({ attempt: index + 1, cause: "strategy", instance_id: tickets[index]?.instance.id });
        expect(pool?.excluded.map(({ id }) => id).toSorted()).toEqual(tried.toSorted());
        expect(pool?.excluded.every(({ reason }) => reason === "tried" || reason === "credential")).toBe(true);
        expect(pool?.candidates.length).toBe(6 - index);
      }
      expect(total(deltas, "requests")).toBe(1);
      expect(total(deltas, "failed_attempts")).toBe(dead);
      const failed = deltas.filter((delta) => delta.failed_attempts > 0).map(({ instance_id: id }) => id);
      expect(failed.toSorted()).toEqual(
        tickets
          .slice(0, dead)
          .map(({ instance }) => instance.id)
          .toSorted(),
      );
    },
  );

  it("says at a refusal what each instance lacked, and at a later call whom it passes over and until when", ({
    expect,
  }) => {
    const state = makeState(2);
    const first = ticketOf(admit(state, makeRequest(), start));
    const failure = makeFailure("rate_limit", { retry_after_ms: 30_000 });
    const second = ticketOf(next(state, first, failure, start + 1));
    settle(state, [makeOutcome(second)], start + 2);
    settle(state, [makeOutcome(ticketOf(admit(state, makeRequest(), start + 3)))], start + 4);
    const third = ticketOf(admit(state, makeRequest(), start + 5));
    expect(next(state, third, failure, start + 6).kind).toBe("refused");
    settle(state, [{ ...makeOutcome(third, "failed", failure), status: 429 }], start + 7);
    expect(admit(state, makeRequest({ request_id: "refused" }), start + 8).kind).toBe("refused");
    const { calls, refusals } = writeAll(state, start + 9);
    expect(calls.map(({ attempts, result }) => [result, attempts.length])).toEqual([
      ["ok", 2],
      ["ok", 1],
      ["failed", 1],
    ]);
    expect(calls[1]?.picks[0]?.pools[0]?.excluded).toEqual([
      { id: first.instance.id, alias: first.instance.alias, reason: "rate_limit", until: start + 1 + 30_000 },
    ]);
    expect(refusals).toMatchObject([
      {
        id: "refused",
        result: "refused",
        status: 503,
        code: "pool_exhausted",
        key_id: "k",
        attempts: [],
        instance: null,
      },
    ]);
    expect(refusals[0]?.picks[0]?.pools[0]?.excluded.map(({ reason }) => reason)).toEqual(["rate_limit", "rate_limit"]);
  });

  it("tells nothing of a refusal that did not stand, as before a lease", ({ expect }) => {
    const state = makeState(1);
    const asked = makeRequest({ model: "none" });
    const answer = decide(state, asked, start);
    expect([answer.kind, hasEntries(state.log)]).toEqual(["refused", false]);
    logRefused(state, asked, answer, start);
    expect(writeAll(state, start).refusals.length).toBe(1);
  });

  it("ends a call that nobody settles as lost, and one that next refused half a minute later", ({ expect }) => {
    const state = makeState(1);
    const lost = ticketOf(admit(state, makeRequest(), start));
    expire(state, lost.deadline_at);
    const other = ticketOf(admit(state, makeRequest(), lost.deadline_at));
    next(state, other, makeFailure("transient"), lost.deadline_at + 1);
    expect(writeAll(state, lost.deadline_at + 2).calls.map(({ result }) => result)).toEqual(["lost"]);
    const late = writeAll(state, lost.deadline_at + 40_000);
    expect(late.calls).toMatchObject([
      { id: other.request_id, result: "lost", attempts: [{ failure: { class: "transient" } }] },
    ]);
    expect(total(late.deltas, "errors")).toBe(1);
  });

  it("tells nothing of a call that was taken back, nor of keys it does not know", ({ expect }) => {
    const state = makeState(2);
    const taken = makeRequest();
    admit(state, taken, start);
    abandon(state, taken.request_id, start + 1);
    admit(state, makeRequest({ key_digest: "nobody" }), start + 2);
    expect(writeAll(state, start + 3)).toEqual({ calls: [], refusals: [], deltas: [] });
  });
});

describe("a lost call that is settled after all", () => {
  it.for([
    ["before it is on disk", false, false],
    ["after it", true, false],
    ["and failed", true, true],
  ] as const)(
    "%s: its entry, the sums and the charge say what it came to, once",
    ([, isFlushed, isFailed], { expect }) => {
      const state = makeState(2);
      const estimate = { input_tokens: 50, output_tokens: 100, choices: 1 };
      const ticket = ticketOf(admit(state, makeRequest({ estimate, endpoint: "chat/completions" }), start));
      const books: Books = { calls: [], refusals: [], deltas: [] };
      expire(state, ticket.deadline_at);
      const spent = (): number => state.meters.scopes.get("k")?.spend.day.spent ?? 0;
      expect(spent()).toBe(ticket.hold?.cost);
      if (isFlushed) {
        expect(writeAll(state, ticket.deadline_at, books).calls).toMatchObject([{ result: "lost" }]);
        expect(total(books.deltas, "cost_micro_usd")).toBe(spent());
      }
      const usage = { prompt_tokens: 10, completion_tokens: 2 };
      const failure = isFailed ? makeFailure("transient") : null;
      const outcome: Outcome = { ...makeOutcome(ticket, isFailed ? "failed" : "ok", failure), usage, status: 200 };
      settle(state, [outcome], ticket.deadline_at + 5);
      settle(state, [outcome], ticket.deadline_at + 9);
      writeAll(state, ticket.deadline_at + 10, books);
      settle(state, [outcome], ticket.deadline_at + 20);
      writeAll(state, ticket.deadline_at + 30, books);
      expect(spent()).toBe(costOf(usage, prices));
      expect(books.calls).toMatchObject([
        { result: outcome.result, usage, cost_micro_usd: spent(), ended_at: ticket.deadline_at, estimated: false },
      ]);
      expect(books.calls[0]?.picks.length).toBe(1);
      const sums = usageSums.map((name) => [name, total(books.deltas, name)] as const).filter(([, sum]) => sum !== 0);
      expect(Object.fromEntries(sums)).toEqual({
        requests: 1,
        prompt_tokens: 10,
        completion_tokens: 2,
        cost_micro_usd: spent(),
        duration_ms: 10,
        ...(isFailed ? { errors: 1, failed_attempts: 1 } : {}),
      });
    },
  );
});

describe("an entry", () => {
  it("stays small whatever the pools, and says how many it does not name", ({ expect }) => {
    const state = createState();
    const alias = "x".repeat(60);
    const pools = ["chat", "one", "two"].map((name) => {
      const instances = Array.from({ length: 100 }, (_, at) => makeInstance(`ins_${name}_${at}`, 1, { alias }));
      return { ...makePool(name, instances, { max_attempts: 10 }), fallbacks: name === "chat" ? ["one", "two"] : [] };
    });
    installConfig(state, address(1), makeRows(pools), start);
    let ticket = ticketOf(admit(state, makeRequest(), start));
    for (let attempt = 1; attempt < 10; attempt += 1) {
      ticket = ticketOf(next(state, ticket, makeFailure("transient"), start + attempt));
    }
    settle(state, [makeOutcome(ticket)], start + 20);
    const { calls } = takeBatch(state.log, start + 20);
    expect(calls[0]?.text.length).toBeLessThan(30_000);
    const [entry] = entriesOf(calls);
    expect(entry?.attempts.length).toBe(10);
    expect(entry?.picks.map(({ pools: [pool] }) => pool?.more)).toEqual([0, 72, ...Array(8).fill(100)]);
  });
});

describe("the sums", () => {
  it("are what the log says and what the calls did, whatever comes twice, late or never", ({ expect }) => {
    const step = fc.record({
      deed: fc.constantFrom(
        "admit",
        "fail",
        "ok",
        "departed",
        "failed",
        "repeat",
        "abandon",
        "refused",
        "flush",
        "late",
      ),
      at: fc.nat(20),
      ms: fc.integer({ min: 0, max: hour / 4 }),
      tokens: fc.nat(1_000),
    });
    const property = fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const state = makeState(3);
      const books: Books = { calls: [], refusals: [], deltas: [] };
      const open: Ticket[] = [];
      const settled: Outcome[] = [];
      const lost: Ticket[] = [];
      const did = { requests: 0, refusals: 0, tokens: 0, cost: 0, departures: 0 };
      let now = start;
      const end = (outcome: Outcome): void => {
        settle(state, [outcome], now);
        settled.push(outcome);
        did.requests += 1;
        did.tokens += outcome.usage?.prompt_tokens ?? 0;
        did.cost += outcome.usage === null ? 0 : costOf(outcome.usage, prices);
        did.departures += outcome.result === "departed" ? 1 : 0;
      };
      for (const { at, deed, ms, tokens } of steps) {
        const place = open.length === 0 ? 0 : at % open.length;
        const ticket = open[place];
        if (deed === "admit" || deed === "refused") {
          const answer = admit(state, makeRequest(deed === "refused" ? { model: "none" } : {}), now);
          did.refusals += answer.kind === "refused" ? 1 : 0;
          open.push(...(answer.kind === "ticket" ? [answer] : []));
        } else if (deed === "late") {
          const [gone] = lost.splice(0, 1);
          if (gone !== undefined) {
            end({ ...makeOutcome(gone), usage: { prompt_tokens: tokens, completion_tokens: 1 } });
            did.requests -= 1;
          }
        } else if (deed === "repeat") {
          settle(state, settled.slice(-3), now);
        } else if (deed === "flush") {
          now += ms;
          did.requests += expire(state, now).length;
          const living = open.filter((one) => now < one.deadline_at);
          lost.push(...open.filter((one) => now >= one.deadline_at));
          open.splice(0, open.length, ...living);
          writeAll(state, now, books);
        } else if (ticket !== undefined && deed === "fail") {
          const answer = next(state, ticket, makeFailure("transient"), now);
          if (answer.kind === "ticket") {
            open[place] = answer;
          } else {
            open.splice(place, 1);
            end({ ...makeOutcome(ticket, "failed", makeFailure("transient")), first_byte_ms: null });
          }
        } else if (ticket !== undefined && deed === "abandon") {
          open.splice(place, 1);
          abandon(state, ticket.request_id, now);
        } else if (ticket !== undefined && (deed === "ok" || deed === "departed" || deed === "failed")) {
          open.splice(place, 1);
          const failure: Failure | null = deed === "failed" ? makeFailure("transient") : null;
          end({ ...makeOutcome(ticket, deed, failure), usage: { prompt_tokens: tokens, completion_tokens: 1 } });
        }
        now += 1;
      }
      writeAll(state, now, books);
      const all = [...books.calls, ...books.refusals];
      expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
      expect(total(books.deltas, "requests")).toBe(did.requests);
      expect(books.calls.length).toBe(did.requests);
      expect(total(books.deltas, "refusals")).toBe(did.refusals);
      expect(books.refusals.length).toBe(did.refusals);
      expect(total(books.deltas, "prompt_tokens")).toBe(did.tokens);
      expect(total(books.deltas, "departures")).toBe(did.departures);
      expect(total(books.deltas, "cost_micro_usd")).toBe(did.cost);
      const logged = books.calls.reduce((sum, { cost_micro_usd: cost }) => sum + (cost ?? 0), 0);
      expect(total(books.deltas, "cost_micro_usd")).toBe(logged);
      expect(books.deltas.every((delta) => delta.hour % hour === 0)).toBe(true);
    });
    fc.assert(property, { numRuns: deep(60, 2_000), seed: seed() });
  });

  it("count refusals and tools that get no entry of their own, and each tool once", ({ expect }) => {
    const state = makeState(1);
    for (let call = 0; call < 250; call += 1) {
      admit(state, makeRequest({ key_digest: "digest-slow", model: "chat" }), start);
    }
    const use = {
      request_id: "r",
      key_id: "k",
      member_id: "m",
      provider: "p",
      tool: "t",
      result: "ok",
      status: 200,
      code: null,
      duration_ms: 5,
    } as const;
    for (const id of ["one", "two", "one"]) {
      logTool(state.log, { ...use, call_id: id }, start);
    }
    const { calls, deltas, refusals } = writeAll(state, start);
    expect(refusals.length).toBe(100);
    expect(refusals[0]).toMatchObject({ code: "rate_limited", status: 429, pool_id: "pool-chat" });
    expect(total(deltas, "refusals")).toBe(247);
    expect(calls).toMatchObject([{ kind: "tool", endpoint: "tool", model: "p/t", member_id: null }, {}]);
    const tools = deltas.filter(({ endpoint }) => endpoint === "tool");
    expect(tools).toMatchObject([{ provider_name: "p", model: "p/t", key_id: "k", requests: 2, duration_ms: 10 }]);
    for (let call = 0; call < 150; call += 1) {
      const asked = {
        key_digest: "digest-k",
        scope: "tools:invoke",
        tool: `p/t${call}`,
        request_id: `t${call}`,
      } as const;
      const answer = admitTool(state, asked, start);
      expect(answer).toMatchObject({ kind: "refused", code: "scope_missing" });
      logToolRefused(state, asked, answer, start);
      logTool(
        state.log,
        { ...use, call_id: `no-${call}`, tool: `no-${call}`, result: "refused", code: "not_found" },
        start,
      );
    }
    const later = writeAll(state, start);
    expect(later.refusals.length).toBe(100);
    expect(later.refusals.slice(0, 2)).toMatchObject([
      {
        kind: "tool",
        id: "t0",
        result: "refused",
        endpoint: "tool",
        model: "p/t0",
        code: "scope_missing",
        status: 403,
      },
      { kind: "tool", result: "refused", endpoint: "tool", model: "p/no-0", code: "not_found" },
    ]);
    // Whatever words are sent: one row, no name of theirs in it.
    expect(later.deltas).toMatchObject([
      { endpoint: "tool", model: "", provider_name: "", requests: 0, refusals: 300 },
    ]);
  });

  it("hold every name that a sum has", ({ expect }) => {
    const state = makeState(1);
    settle(state, [makeOutcome(ticketOf(admit(state, makeRequest(), start)))], start);
    const { deltas } = writeAll(state, start);
    expect(usageSums.every((name) => Number.isSafeInteger(deltas[0]?.[name]))).toBe(true);
  });

  it("hold no more in memory and in one flush than they may, and lose no call of it", ({ expect }) => {
    const state = makeState(3);
    const calls = deep(4_000, 30_000);
    const ended: Ticket[] = [];
    for (let call = 0; call < calls; call += 1) {
      ended.push(ticketOf(admit(state, makeRequest({ endpoint: "chat/completions" }), start)));
      settle(state, [makeOutcome(ended[call] as Ticket)], start);
    }
    // Bounded whatever the pace: what does not fit is summed, and one flush writes out no more than its share.
    expect(state.log.waiting.length).toBeLessThan(20);
    expect(state.log.chars).toBeLessThan(16_100_000);
    const batch = takeBatch(state.log, start);
    expect(batch.calls.length).toBe(12);
    expect(batch.calls.every(({ text }) => text.length <= 300_000)).toBe(true);
    expect(takeBatch(state.log, start)).toEqual(batch);
    expect(total(writeAll(state, start).deltas, "requests")).toBe(calls);
  });
});

describe("one list of several shards", () => {
  it("leaves nothing out and shows nothing twice, however short each of them stops", ({ expect }) => {
    const entry = fc.record({ at: fc.nat(12), shard: fc.nat(2) });
    const property = fc.property(
      fc.array(entry, { maxLength: 40 }),
      fc.integer({ min: 1, max: 9 }),
      (entries, limit) => {
        const all = entries.map(({ at, shard }, index) => ({
          shard,
          ended_at: at,
          id: `req-${String(index).padStart(3, "0")}`,
        }));
        const sorted = all.toSorted((a, b) => b.ended_at - a.ended_at || (a.id < b.id ? 1 : -1));
        const shown: string[] = [];
        let after: LogAnswer["known_to"] = null;
        for (let page = 0; page < 200; page += 1) {
          const answers = [0, 1, 2].map((shard): LogAnswer => {
            const left = sorted.filter(
              (one) =>
                one.shard === shard &&
                (after === null || one.ended_at < after.time || (one.ended_at === after.time && one.id < after.id)),
            );
            const told = left.slice(0, limit + shard);
            const last = told.at(-1);
            const knownTo =
              told.length < left.length && last !== undefined ? { time: last.ended_at, id: last.id } : null;
            return { entries: told as unknown as readonly LogEntry[], known_to: knownTo };
          });
          const merged = mergeAnswers(answers, limit);
          shown.push(...merged.entries.map(({ id }) => id));
          after = merged.known_to;
          if (after === null) {
            break;
          }
        }
        expect(shown).toEqual(sorted.map(({ id }) => id));
      },
    );
    fc.assert(property, { numRuns: deep(60, 2_000), seed: seed() });
  });
});
