import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { admit, next } from "../../src/routing/decide.js";
import { installConfig, isNewer } from "../../src/routing/install.js";
import type { AdmitRequest, Admission } from "../../src/routing/model.js";
import { settle } from "../../src/routing/report.js";
import { routerFor } from "../../src/routing/router-for.js";
import { createState, type LiveInstance, type RouterState } from "../../src/routing/state.js";
import { listModels, surveyInstances } from "../../src/routing/survey.js";
import {
  implicitInstanceId,
  implicitPoolId,
  readImplicitInstance,
  readImplicitPool,
} from "../../src/snapshot/implicit.js";
import type { RouterCatalogue, RouterPool, RouterProvider, RouterRows } from "../../src/snapshot/model.js";
import { deep, seed } from "../support/deep.js";
import {
  address,
  makeFailure,
  makeInstance,
  makeKey,
  makeOutcome,
  makePool,
  makeRequest,
  makeRows,
  refusalOf,
  ticketOf,
} from "./fixture.js";

const start = 1_790_000_000_000;
const edition = 4;

function makeProvider(
  id: string,
  credentials: readonly string[],
  models: readonly string[] = ["gpt-x"],
): RouterProvider {
  return { id, models: [...models], credentials: [...credentials], held: [] };
}

/** Rows with these providers, every credential of them usable, beside the pools. */
function rowsOf(
  providers: readonly RouterProvider[],
  pools: RouterPool[] = [],
  more: Partial<RouterCatalogue> = {},
): RouterRows {
  const rows = makeRows(pools);
  const ids = new Set([...rows.credentials.map(({ id }) => id), ...providers.flatMap((one) => one.credentials)]);
  return {
    ...rows,
    credentials: Array.from(ids, (id) => ({ id, usable: true, validated_at_ms: null })),
    catalogue: { edition, providers: [...providers], defaults: [], ...more },
  };
}

function makeState(rows: RouterRows): RouterState {
  const state = createState();
  installConfig(state, address(1), rows, start);
  return state;
}

function ask(state: RouterState, model = "gpt-x", more: Partial<AdmitRequest> = {}): Admission {
  return admit(state, makeRequest({ model, catalogue: edition, ...more }), start);
}

function lanesOf(state: RouterState): LiveInstance[] {
  return Array.from(state.config?.instances.values() ?? []);
}

const three = makeProvider("openai", ["cred-a", "cred-b", "cred-c"]);

describe("a model called by its own name", () => {
  it("is a pool of its provider's credentials, shared out evenly at every prefix", ({ expect }) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 150 }), (credentials, calls) => {
        const ids = Array.from({ length: credentials }, (_, index) => `cred-${index}`);
        const state = makeState(rowsOf([makeProvider("openai", ids)]));
        const picks = new Map(ids.map((id) => [id, 0]));
        for (let call = 1; call <= calls; call += 1) {
          const { credential_id: id } = ticketOf(ask(state)).instance;
          picks.set(id, (picks.get(id) ?? 0) + 1);
          for (const count of picks.values()) {
            expect(Math.abs(count - call / credentials)).toBeLessThan(1);
          }
        }
      }),
      { numRuns: deep(40, 1000), seed: seed() },
    );
  });

  it("keeps its shares through any change of its provider's credentials", ({ expect }) => {
    const all = ["cred-a", "cred-b", "cred-c", "cred-d", "cred-e"];
    const step = fc.record({ present: fc.subarray(all, { minLength: 1 }), calls: fc.integer({ min: 0, max: 12 }) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
        const state = makeState(rowsOf([three]));
        for (const [index, { calls, present }] of steps.entries()) {
          installConfig(state, address(index + 2), rowsOf([makeProvider("openai", present)]), start);
          for (let call = 0; call < calls; call += 1) {
            expect(present).toContain(ticketOf(ask(state)).instance.credential_id);
          }
          const lags = lanesOf(state).map((lane) => lane.lag);
          expect(lags.reduce((sum, lag) => sum + lag, 0)).toBeCloseTo(0, 9);
          expect(Math.max(0, ...lags.map(Math.abs))).toBeLessThan(3);
        }
      }),
      { numRuns: deep(60, 2000), seed: seed() },
    );
  });

  it("carries counts, lags and cool-downs from one version to the next", ({ expect }) => {
    const state = makeState(rowsOf([three]));
    const first = ticketOf(ask(state));
    expect(next(state, first, makeFailure("rate_limit", { retry_after_ms: 50_000 }), start).kind).toBe("ticket");
    const before = surveyInstances(state, first.pool_id, start);
    installConfig(state, address(2), rowsOf([three]), start);
    expect(surveyInstances(state, first.pool_id, start)).toEqual(before);
    expect(before.map(({ status, picks }) => [status, picks])).toEqual([
      ["cooling", 1],
      ["ready", 1],
      ["ready", 0],
    ]);
    expect(before.map(({ alias }) => alias)).toEqual([
      "openai-gpt-x-cred-a",
      "openai-gpt-x-cred-b",
      "openai-gpt-x-cred-c",
    ]);
  });

  it("gives way to a pool of that name, while calls under way still find their next credential", ({ expect }) => {
    const state = makeState(rowsOf([three]));
    const running = ticketOf(ask(state));
    const cooled = ticketOf(ask(state));
    next(state, cooled, makeFailure("rate_limit", { retry_after_ms: 50_000 }), start);
    const hot = makeInstance("hot", 1, { model: "gpt-x", credential_id: cooled.instance.credential_id });
    const cold = makeInstance("cold", 1, { model: "gpt-x" });
    installConfig(state, address(2), rowsOf([three], [makePool("gpt-x", [hot, cold])]), start);

    const taken = ticketOf(ask(state));
    expect([taken.pool_id, taken.instance.id]).toEqual(["pool-gpt-x", "cold"]);
    const moved = ticketOf(next(state, running, makeFailure("transient"), start));
    expect([moved.pool_id, moved.attempt]).toEqual([running.pool_id, 2]);
    settle(state, [makeOutcome(moved), makeOutcome(taken)], start);
    expect(lanesOf(state).reduce((sum, lane) => sum + lane.lag, 0)).toBeCloseTo(0, 9);

    installConfig(state, address(3), rowsOf([three]), start);
    expect(ticketOf(ask(state)).pool_id).toBe(running.pool_id);
  });

  it("ends with its last credential, its provider or the model itself", ({ expect }) => {
    const state = makeState(rowsOf([three]));
    const running = ticketOf(ask(state));
    const ends = [
      rowsOf([]),
      rowsOf([makeProvider("openai", [])]),
      rowsOf([makeProvider("openai", ["cred-a"], ["gpt-y"])]),
    ];
    for (const [index, rows] of ends.entries()) {
      installConfig(state, address(2 * index + 2), rows, start);
      expect(refusalOf(ask(state)).code).toBe("model_not_found");
      installConfig(state, address(2 * index + 3), rowsOf([three]), start);
      expect(ask(state).kind).toBe("ticket");
    }
    installConfig(state, address(9), rowsOf([]), start);
    expect(refusalOf(next(state, running, makeFailure("transient"), start)).code).toBe("attempts_exhausted");
    expect([state.config?.instances.size, state.dirty_pools.has(running.pool_id)]).toEqual([0, true]);
  });

  it("is held to the credentials that have it", ({ expect }) => {
    const held = { ...three, models: ["gpt-x", "gpt-y"], held: [{ model: "gpt-x", places: [1, 7] }] };
    const state = makeState(rowsOf([held]));
    const used = new Set(Array.from({ length: 6 }, () => ticketOf(ask(state)).instance.credential_id));
    expect([...used]).toEqual(["cred-b"]);
    expect(ticketOf(ask(state, "gpt-y")).instance.model).toBe("gpt-y");
  });

  it("costs what its provider's list says, and is priced, capped or neither as that knows", ({ expect }) => {
    const models = ["gpt-x", "gpt-y", "gpt-z"];
    const prices = [[2_000_000, 8_000_000, 500_000], null, [1, 2]];
    const told = { ...three, models, prices, max_outputs: [{ model: "gpt-y", tokens: 50 }] };
    const state = makeState(rowsOf([told]));
    const estimate = { input_tokens: 10, output_tokens: 10, choices: 1 };
    const tickets = models.map((model) => ticketOf(ask(state, model, { estimate })));
    expect(tickets.map(({ price }) => price)).toEqual([
      { input: 2_000_000, output: 8_000_000, cached: 500_000 },
      undefined,
      { input: 1, output: 2 },
    ]);
    expect(tickets.map(({ hold }) => hold?.cost)).toEqual([100, 0, 1]);
    expect(lanesOf(state).find(({ row }) => row.model === "gpt-y")?.row.max_output).toBe(50);
  });

  it("is refused where two providers have it, and says which", ({ expect }) => {
    const state = makeState(rowsOf([three, makeProvider("azure_openai", ["cred-z"], ["gpt-x", "own"])]));
    expect(refusalOf(ask(state))).toMatchObject({ code: "model_not_found", providers: ["openai", "azure_openai"] });
    expect(ticketOf(ask(state, "own")).instance.credential_id).toBe("cred-z");
    const pools = [makePool("gpt-x", [makeInstance("a")])];
    installConfig(state, address(2), rowsOf([three, makeProvider("azure_openai", ["cred-z"])], pools), start);
    expect(ticketOf(ask(state)).instance.id).toBe("a");
  });

  it("is out where its credentials are, not unknown", ({ expect }) => {
    const rows = rowsOf([makeProvider("openai", ["cred-a"])]);
    const state = makeState({ ...rows, credentials: [{ id: "cred-a", usable: false, validated_at_ms: null }] });
    expect(refusalOf(ask(state))).toMatchObject({ code: "pool_exhausted", retry_after_ms: null });
  });

  it("obeys a key's list of models by the name that is asked for", ({ expect }) => {
    const defaults = [{ type: "llm", provider_name: "openai", model: "gpt-x" }];
    const rows = rowsOf([{ ...three, models: ["gpt-x", "gpt-y"] }], [], { defaults });
    const keys = [makeKey("k", { models: ["gpt-y"] }), makeKey("d", { models: ["default"] })];
    const state = makeState({ ...rows, keys });
    const codes = (digest: string) =>
      ["gpt-x", "gpt-y", "default"].map((model) => {
        const answer = ask(state, model, { key_digest: digest });
        return answer.kind === "ticket" ? answer.instance.model : answer.code;
      });
    expect(codes("digest-k")).toEqual(["model_not_allowed", "gpt-y", "model_not_allowed"]);
    expect(codes("digest-d")).toEqual(["model_not_allowed", "model_not_allowed", "gpt-x"]);
    const list = (digest: string) =>
      listModels(state, { key_digest: digest, scope: "models:invoke", catalogue: edition }, start);
    expect(list("digest-k")).toMatchObject({ names: [], provided: [{ provider: "openai", names: ["gpt-y"] }] });
    expect(list("digest-d")).toMatchObject({ names: [], provided: [{ provider: "gatehouse", names: ["default"] }] });
  });

  it("lists what can be called, each name once", ({ expect }) => {
    const pools = [makePool("chat", [makeInstance("a")]), makePool("gpt-y", [makeInstance("b")])];
    const providers = [
      { ...three, models: ["gpt-x", "gpt-y", "both"] },
      makeProvider("other", ["cred-z"], ["both", "own"]),
    ];
    const state = makeState(rowsOf(providers, pools, { defaults: [{ type: "llm", pool_id: "pool-chat" }] }));
    const request = { key_digest: "digest-k", scope: "models:invoke", catalogue: edition };
    expect(listModels(state, request, start)).toEqual({
      kind: "models",
      names: ["chat", "gpt-y"],
      provided: [
        { provider: "gatehouse", names: ["default"] },
        { provider: "openai", names: ["gpt-x"] },
        { provider: "other", names: ["own"] },
      ],
    });
  });
});

describe("the name `default`", () => {
  it("leads to the workspace's choice, but a pool of that name comes first", ({ expect }) => {
    const chat = makePool("chat", [makeInstance("a")]);
    const two = [three, makeProvider("azure_openai", ["cred-z"])];
    const byModel = [{ type: "llm", provider_name: "azure_openai", model: "gpt-x" }];
    const state = makeState(rowsOf(two, [chat], { defaults: byModel }));
    expect(ticketOf(ask(state, "default")).instance).toMatchObject({ provider_name: "azure_openai", model: "gpt-x" });
    expect(refusalOf(ask(state, "default", { type: "embedding" })).code).toBe("model_not_found");
    installConfig(state, address(2), rowsOf(two, [chat], { defaults: [{ type: "llm", pool_id: "pool-chat" }] }), start);
    expect(ticketOf(ask(state, "default")).pool_id).toBe("pool-chat");
    const own = makePool("default", [makeInstance("b")]);
    installConfig(state, address(3), rowsOf(two, [chat, own], { defaults: byModel }), start);
    expect(ticketOf(ask(state, "default")).pool_id).toBe("pool-default");
    for (const defaults of [
      [],
      [{ type: "llm", pool_id: "pool-gone" }],
      [{ ...byModel[0], type: "llm", model: "gone" }],
    ]) {
      const state2 = makeState(rowsOf(two, [chat], { defaults: defaults as RouterCatalogue["defaults"] }));
      expect(refusalOf(ask(state2, "default")).code).toBe("model_not_found");
    }
  });
});

describe("two releases beside each other", () => {
  it("a gateway that cannot open such an instance is not given one", ({ expect }) => {
    const state = makeState(rowsOf([three]));
    expect(refusalOf(admit(state, makeRequest({ model: "gpt-x" }), start)).code).toBe("model_not_found");
    expect(ask(state).kind).toBe("ticket");
  });

  it("a Router that was told no catalogue, or an older one, asks for it, and takes it for the version it has", ({
    expect,
  }) => {
    const { catalogue: _, ...old } = rowsOf([three]);
    const state = makeState(old);
    expect(refusalOf(ask(state)).code).toBe("not_configured");
    const list = { key_digest: "digest-k", scope: "models:invoke", catalogue: edition };
    expect(listModels(state, list, start)).toMatchObject({ code: "not_configured" });
    expect(refusalOf(admit(state, makeRequest({ model: "gpt-x" }), start)).code).toBe("model_not_found");
    expect([isNewer(state, address(1), old), isNewer(state, address(1), rowsOf([three]))]).toEqual([false, true]);
    installConfig(state, address(1), rowsOf([three]), start);
    expect(ask(state).kind).toBe("ticket");
    expect(isNewer(state, address(1), rowsOf([three]))).toBe(false);

    expect(refusalOf(ask(state, "of-the-next-release")).code).toBe("model_not_found");
    expect(refusalOf(ask(state, "of-the-next-release", { catalogue: edition + 1 })).code).toBe("not_configured");
    const more = rowsOf([makeProvider("openai", ["cred-a"], ["of-the-next-release"])], [], { edition: edition + 1 });
    expect([isNewer(state, address(1), more), isNewer(state, address(0), more)]).toEqual([true, false]);
    installConfig(state, address(1), more, start);
    expect(ask(state, "of-the-next-release", { catalogue: edition + 1 }).kind).toBe("ticket");
    expect(isNewer(state, address(1), rowsOf([three]))).toBe(false);
  });
});

describe("the ids of what no row stands for", () => {
  it("name what they are made of, and no other id reads as one", ({ expect }) => {
    const model = fc.string({ minLength: 1, unit: fc.constantFrom("a", "/", ":", "model:", "@", ".", "%") });
    fc.assert(
      fc.property(model, (name) => {
        const pool = { provider_name: "cloudflare_workers_ai", model: name };
        const instance = { credential_id: "cred_01h455vb4pex5vsknk084sn02q", model: name };
        expect(readImplicitPool(implicitPoolId(pool))).toEqual(pool);
        expect(readImplicitInstance(implicitInstanceId(instance))).toEqual(instance);
      }),
      { numRuns: 50, seed: seed() },
    );
    for (const id of ["pool_01h455vb4pex5vsknk084sn02q", "inst_01h455vb4pex5vsknk084sn02q", "model:", "model:/x", ""]) {
      expect([readImplicitPool(id), readImplicitInstance(id)]).toEqual([null, null]);
    }
  });
});

/** A way to a fresh stub: one that saw its object die stays broken. */
function routerOf(workspaceId: string): () => ReturnType<typeof routerFor> {
  return () => routerFor(env, workspaceId, "auto");
}

const requestFor = (model = "gpt-x") => makeRequest({ model, catalogue: edition });

describe("the Router's disk", () => {
  it.for(["eviction", "kill"] as const)("brings lags, counts and open calls back after %s", async (how, { expect }) => {
    const router = routerOf(`ws-implicit-${how}`);
    const defaults = [{ type: "llm", provider_name: "openai", model: "gpt-x" }];
    await router().apply(address(1), rowsOf([three], [makePool("chat", [makeInstance("a")])], { defaults }));
    const order: string[] = [];
    for (let call = 0; call < 2; call += 1) {
      const ticket = ticketOf(await router().admit(requestFor()));
      order.push(ticket.instance.credential_id);
      await router().settle([makeOutcome(ticket)]);
    }
    const open = ticketOf(await router().admit(requestFor()));
    order.push(open.instance.credential_id);
    await new Promise((resolve) => {
      setTimeout(resolve, 1_150);
    });
    const before = await router().state(open.pool_id);
    await (how === "eviction" ? evictDurableObject(router()) : abortAllDurableObjects());
    expect(await router().state(open.pool_id)).toEqual(before);
    expect(before.map(({ picks }) => picks)).toEqual([1, 1, 1]);
    const moved = ticketOf(await router().next(open, makeFailure("rate_limit")));
    expect([moved.attempt, order.slice(0, 2).includes(moved.instance.credential_id)]).toEqual([2, true]);
    expect(ticketOf(await router().admit(requestFor("default"))).pool_id).toBe(open.pool_id);
    await router().apply(address(2), rowsOf([], [makePool("chat", [makeInstance("a")])]));
    expect(refusalOf(await router().admit(requestFor())).code).toBe("model_not_found");
    await runInDurableObject(router(), (_, { storage }) => {
      const left = storage.sql.exec("SELECT pool_id FROM lanes WHERE pool_id LIKE 'model:%'").toArray();
      expect(left).toEqual([]);
    });
  });

  it("takes the failure of a call that a lost second knew, and finds it another credential", async ({ expect }) => {
    const router = routerOf("ws-implicit-lost");
    await router().apply(address(1), rowsOf([three]));
    const lost = ticketOf(await router().admit(requestFor()));
    await abortAllDurableObjects();
    const moved = ticketOf(await router().next(lost, makeFailure("rate_limit")));
    expect([moved.attempt, moved.pool_id]).toEqual([2, lost.pool_id]);
    expect(moved.instance.id).not.toBe(lost.instance.id);
  });

  it("does not take the catalogue of an older version for that of a later one which the release before wrote", async ({
    expect,
  }) => {
    const router = routerOf("ws-implicit-rollback");
    await router().apply(address(1), rowsOf([three]));
    await runInDurableObject(router(), (_, { storage }) => {
      storage.sql.exec("UPDATE config SET version = 2");
    });
    await evictDurableObject(router());
    const request = makeRequest({ model: "gpt-x", catalogue: edition });
    expect(refusalOf(await router().admit(request)).code).toBe("not_configured");
    await router().apply(address(2), rowsOf([three]));
    expect((await router().admit(request)).kind).toBe("ticket");
  });
});
