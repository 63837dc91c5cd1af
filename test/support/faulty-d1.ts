/** A D1 that fails at one point of a piece of work, so that a test can try every point in turn. */
import { env } from "cloudflare:workers";
import { deep } from "./deep.js";

/** Where it fails: before a call to D1, at one statement of it (the whole batch rolls back), or after it was committed and before it says so. */
export interface Fault {
  /** Counted from 0, batches and single queries alike; `change` is the first batch of several statements that writes. */
  readonly call: number | "change";
  /** For `change`, a number is the statement's place as a share of the batch, 0 to just under 1. */
  readonly at: "before" | "after" | number;
  /** Whether every later call fails too, like a Worker that was cut off there. */
  readonly isLast?: boolean;
  /** Happens there in place of a failure. */
  readonly meanwhile?: () => Promise<void>;
}

/** One call to D1: a batch or a single query. */
export interface D1Call {
  readonly statements: number;
  readonly writes: boolean;
}

/** The real D1 behind a counter of calls; `hasFailed` says whether the fault was met. */
export function faultyD1(fault: Fault | null = null): {
  readonly d1: D1Database;
  readonly calls: readonly D1Call[];
  readonly hasFailed: () => boolean;
} {
  const calls: D1Call[] = [];
  const writing = new WeakSet<object>();
  const real = new WeakMap<object, D1PreparedStatement>();
  let failed = false;

  async function run<T>(call: D1Call, work: (failAt: number | null) => Promise<T>): Promise<T> {
    const isChange = call.writes && call.statements > 1;
    const isHere = fault !== null && (fault.call === "change" ? isChange && !failed : calls.length === fault.call);
    const isCutOff = failed && fault?.isLast === true;
    calls.push(call);
    failed ||= isHere;
    if (isHere && fault.meanwhile !== undefined) {
      await fault.meanwhile();
      return await work(null);
    }
    if (isCutOff || (isHere && fault.at === "before")) {
      throw new Error("D1_ERROR: Network connection lost.");
    }
    const result = await work(isHere && typeof fault.at === "number" ? placeOf(fault, fault.at, call) : null);
    if (isHere) {
      throw new Error("D1_ERROR: Network connection lost.");
    }
    return result;
  }

  function wrap(statement: D1PreparedStatement, writes: boolean): D1PreparedStatement {
    const wrapped = new Proxy(statement, {
      get(target, name) {
        if (name === "bind") {
          return (...values: unknown[]) => wrap(target.bind(...values), writes);
        }
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== "function") {
          return method;
        }
        return (...args: unknown[]) =>
          run({ statements: 1, writes }, async (failAt) => {
            if (failAt !== null) {
              throw new Error("D1_ERROR: this statement failed.");
            }
            return (await Reflect.apply(method, target, args)) as unknown;
          });
      },
    });
    real.set(wrapped, statement);
    if (writes) {
      writing.add(wrapped);
    }
    return wrapped;
  }

  const d1 = {
    prepare: (query: string) => wrap(env.DB.prepare(query), !/^\s*select/i.test(query)),
    batch: (statements: readonly D1PreparedStatement[]) =>
      run({ statements: statements.length, writes: statements.some((one) => writing.has(one)) }, (failAt) => {
        const all = statements.map((statement) => real.get(statement) ?? statement);
        const failing = env.DB.prepare("INSERT INTO guards (code) VALUES ('internal')");
        return env.DB.batch(failAt === null ? all : all.toSpliced(failAt, 0, failing));
      }),
  };
  return { d1: d1 as unknown as D1Database, calls, hasFailed: () => failed };
}

function placeOf({ call }: Fault, at: number, { statements }: D1Call): number {
  return call === "change" ? Math.floor(at * statements) : at;
}

/**
 * Every fault that a piece of work with these calls can meet: each statement that may write fails, each read fails, and the work is
 * cut off after each write. Run deep, every call is also refused, and its answer lost, while the work goes on.
 */
export function everyFault(calls: readonly D1Call[]): Fault[] {
  const isDeep = deep(0, 1) === 1;
  return calls.flatMap(({ statements, writes }, call): Fault[] => [
    ...(writes ? Array.from({ length: statements }, (_, at) => ({ call, at })) : [{ call, at: "before" } as const]),
    ...(writes ? [{ call, at: "after", isLast: true } as const] : []),
    ...(isDeep
      ? ([
          { call, at: "before" },
          { call, at: "before", isLast: true },
          { call, at: "after" },
        ] as const)
      : []),
  ]);
}
