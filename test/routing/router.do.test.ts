import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import type { Ticket } from "../../src/routing/model.js";
import { routerFor } from "../../src/routing/router-for.js";
import { deep } from "../support/deep.js";
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

let workspaces = 0;

/** A workspace of the test's own, and a way to a fresh stub: one that saw its object die stays broken. */
function makeWorkspace(): () => ReturnType<typeof routerFor> {
  workspaces += 1;
  const name = `ws-${workspaces}`;
  return () => routerFor(env, name, "auto");
}

/** Long enough for the write behind; the pending timer holds the object in memory meanwhile. */
function flushed(): Promise<void> {
  return sleep(1_150);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

type End = "eviction" | "kill";

async function end(how: End, router: ReturnType<typeof routerFor>): Promise<void> {
  await (how === "eviction" ? evictDurableObject(router) : abortAllDurableObjects());
}

const pair = [makeInstance("a", 3), makeInstance("b", 1)];

describe("the Router's memory", () => {
  it("takes a configuration of ten million characters, and has it after an eviction", async ({ expect }) => {
    const router = makeWorkspace();
    const models = ["chat", ...Array.from({ length: 99 }, (_, index) => `${"m".repeat(250)}${index}`)];
    const keys = Array.from({ length: 400 }, (_, index) => makeKey(`k${index}`, { models }));
    await router().apply(address(1), makeRows([makePool("chat", pair)], keys));
    await evictDurableObject(router());
    expect(ticketOf(await router().admit(makeRequest({ key_digest: "digest-k399" }))).config.version).toBe(1);
    await router().apply(address(2), makeRows([makePool("chat", pair)], keys.slice(0, 399)));
    await evictDurableObject(router());
    expect(refusalOf(await router().admit(makeRequest({ key_digest: "digest-k399" }))).code).toBe("key_unknown");
  });

  it.for<End>(["eviction", "kill"])(
    "loses no lag, window, cool-down, tombstone or open ticket by %s after the stated second",
    async (how, { expect }) => {
      const router = makeWorkspace();
      const keys = [makeKey("k", { rpm: 100, concurrent: 9, tpm: 1e6 }), makeKey("dead", { revoked: true })];
      const rows = makeRows([makePool("chat", pair), makePool("hot", [makeInstance("c"), makeInstance("d")])], keys);
      await router().apply(address(1), rows);
      const order: string[] = [];
      for (let call = 0; call < 2; call += 1) {
        const ticket = ticketOf(await router().admit(makeRequest()));
        order.push(ticket.instance.id);
        await router().settle([makeOutcome(ticket)]);
      }
      const estimate = { input_tokens: 10, output_tokens: 90, choices: 1 };
      const open = makeRequest({ endpoint: "chat/completions", estimate });
      const opened = ticketOf(await router().admit(open));
      order.push(opened.instance.id);
      const hot = ticketOf(await router().admit(makeRequest({ model: "hot", endpoint: "chat/completions" })));
      const moved = ticketOf(await router().next(hot, makeFailure("rate_limit", { retry_after_ms: 50_000 })));
      expect([opened.endpoint, moved.endpoint, opened.token_rate?.limit]).toEqual([open.endpoint, open.endpoint, 1e6]);
      await flushed();
      const before = [await router().state("pool-chat"), await router().state("pool-hot")];
      await end(how, router());

      expect([await router().state("pool-chat"), await router().state("pool-hot")]).toEqual(before);
      expect(before[1]?.map((instance) => [instance.status, instance.in_flight])).toEqual([
        ["cooling", 0],
        ["ready", 1],
      ]);
      expect(await router().configured()).toEqual({ epoch: 0, version: 1 });
      expect(await router().admit(open)).toEqual(opened);
      expect(ticketOf(await router().next(hot, makeFailure("rate_limit")))).toEqual(moved);
      expect(refusalOf(await router().admit(makeRequest({ key_digest: "digest-dead" }))).code).toBe("key_revoked");
      for (let call = 0; call < 5; call += 1) {
        const ticket = ticketOf(await router().admit(makeRequest()));
        expect(ticket.rate?.remaining).toBe(95 - call);
        order.push(ticket.instance.id);
      }
      expect(order.join("")).toBe(order.slice(0, 4).join("").repeat(2));
      expect(order.filter((id) => id === "a").length).toBe(6);
    },
  );

  it("loses at most the last second when it is killed at once, and nothing of an applied version", async ({
    expect,
  }) => {
    const router = makeWorkspace();
    await router().apply(address(1), makeRows([makePool("chat", pair)]));
    for (let call = 0; call < 4; call += 1) {
      await router().admit(makeRequest());
    }
    await flushed();
    for (let call = 0; call < 4; call += 1) {
      await router().admit(makeRequest());
    }
    await router().apply(address(2), makeRows([makePool("chat", pair)], [makeKey("k", { revoked: true })]));
    await abortAllDurableObjects();
    const picks = (await router().state("pool-chat")).map((instance) => instance.picks);
    expect(picks.reduce((sum, one) => sum + one, 0)).toBeGreaterThanOrEqual(4);
    expect(await router().configured()).toEqual({ epoch: 0, version: 2 });
    expect(refusalOf(await router().admit(makeRequest())).code).toBe("key_revoked");
    await router().apply(address(3), makeRows([makePool("chat", pair)]));
    expect(refusalOf(await router().admit(makeRequest())).code).toBe("key_revoked");
    await evictDurableObject(router());
    expect(refusalOf(await router().admit(makeRequest())).code).toBe("key_revoked");
  });

  it("keeps a running probe's lease and a refused credential over its own death", async ({ expect }) => {
    const router = makeWorkspace();
    await router().apply(address(1), makeRows([makePool("chat", [makeInstance("a"), makeInstance("b")])]));
    const hit = ticketOf(await router().admit(makeRequest()));
    await router().next(hit, makeFailure("rate_limit", { retry_after_ms: 1_000 }));
    await sleep(1_050);
    const probe = ticketOf(await router().admit(makeRequest()));
    expect(probe).toMatchObject({ probe: true, instance: { id: "a" } });
    const other = ticketOf(await router().admit(makeRequest()));
    await router().next(other, makeFailure("credential", { status: 401 }));
    await flushed();
    await abortAllDurableObjects();
    expect((await router().state("pool-chat")).map((instance) => instance.status)).toEqual(["probing", "out"]);
    expect(refusalOf(await router().admit(makeRequest())).retry_after_ms).toBeGreaterThan(15_000);
    await router().committed(probe);
    const rows = makeRows([makePool("chat", [makeInstance("a"), makeInstance("b")])]);
    const credentials = rows.credentials.map((row) => ({ ...row, validated_at_ms: Date.now() }));
    await router().apply(address(2), { ...rows, credentials });
    expect((await router().state("pool-chat")).map((instance) => instance.status)).toEqual(["ready", "ready"]);
  });

  it("passes over a window, a lane, a request that it cannot read, and keeps the others", async ({ expect }) => {
    const router = makeWorkspace();
    const keys = ["k", "odd", "far", "text", "back"].map((id) => makeKey(id, { rpm: 10 }));
    await router().apply(address(1), makeRows([makePool("chat", pair)], keys));
    for (const key of keys) {
      await router().admit(makeRequest({ key_digest: key.digest }));
    }
    await flushed();
    await runInDurableObject(router(), (_, { storage }) => {
      const damage = (id: string, slots: ArrayBuffer | string): void => {
        storage.sql.exec("UPDATE windows SET slots = ? WHERE key_id = ?", slots, id);
      };
      damage("odd", new Uint8Array([1, 2, 3]).buffer);
      damage("far", new Uint32Array([4_000_000_000, 9]).buffer);
      damage("text", "[]");
      damage("back", new Uint32Array([50, 9, 0, 9]).buffer);
      storage.sql.exec("UPDATE lanes SET lanes = '[['");
      storage.sql.exec("UPDATE requests SET body = '{' WHERE body LIKE '%\"key_id\":\"odd\"%'");
    });
    await evictDurableObject(router());
    const left: (number | undefined)[] = [];
    for (const key of keys) {
      left.push(ticketOf(await router().admit(makeRequest({ key_digest: key.digest }))).rate?.remaining);
    }
    expect(left).toEqual([8, 9, 9, 9, 9]);
    expect((await router().state("pool-chat")).reduce((sum, { in_flight: count }) => sum + count, 0)).toBe(9);
  });

  it(
    "loses nothing over a quiet time in which the platform lets the object go",
    { timeout: 120_000 },
    async ({ expect }) => {
      const router = makeWorkspace();
      const pools = [makePool("chat", pair), makePool("hot", [makeInstance("c"), makeInstance("d")])];
      await router().apply(address(1), makeRows(pools, [makeKey("k", { rpm: 100, concurrent: 3 })]));
      const first = ticketOf(await router().admit(makeRequest()));
      await router().settle([makeOutcome(first)]);
      const open = makeRequest();
      const opened = ticketOf(await router().admit(open));
      const hot = ticketOf(await router().admit(makeRequest({ model: "hot" })));
      await router().next(hot, makeFailure("rate_limit", { retry_after_ms: 300_000 }));
      const admittedAt = Date.now();
      const before = [await router().state("pool-chat"), await router().state("pool-hot")];
      await runInDurableObject(router(), (instance) => void Reflect.set(instance, "isSame", true));
      await sleep(deep(13_000, 60_000));
      const isSame = await runInDurableObject(router(), (instance) => Reflect.get(instance, "isSame") === true);
      expect(isSame).toBe(false);
      expect([await router().state("pool-chat"), await router().state("pool-hot")]).toEqual(before);
      expect(before[1]?.map((instance) => instance.status)).toEqual(["cooling", "ready"]);
      expect(await router().admit(open)).toEqual(opened);
      const third = ticketOf(await router().admit(makeRequest()));
      // The window slides on while the object is away.
      expect(third.rate?.remaining).toBe(Date.now() - admittedAt < 60_000 ? 96 : 99);
      expect(refusalOf(await router().admit(makeRequest())).code).toBe("concurrency_limited");
      await router().settle([makeOutcome(third)]);
      const fourth = ticketOf(await router().admit(makeRequest()));
      const ids = [first, opened, third, fourth].map((ticket) => ticket.instance.id);
      expect(ids.filter((id) => id === "a").length).toBe(3);
    },
  );

  it("writes nothing while it admits and settles; a call that ends within the second never reaches the disk", async ({
    expect,
  }) => {
    const router = makeWorkspace();
    await router().apply(address(1), makeRows([makePool("chat", pair)]));
    const ticket = ticketOf(await router().admit(makeRequest()));
    const later = ticketOf(await router().admit(makeRequest()));
    const last = ticketOf(await router().admit(makeRequest()));
    await router().settle([makeOutcome(ticket)]);
    const count = (): Promise<unknown> =>
      runInDurableObject(router(), (_, { storage }) =>
        storage.sql
          .exec("SELECT (SELECT count(*) FROM requests) AS requests, (SELECT count(*) FROM lanes) AS lanes")
          .one(),
      );
    expect(await count()).toEqual({ requests: 0, lanes: 0 });
    await flushed();
    expect(await count()).toEqual({ requests: 2, lanes: 1 });
    await router().settle([makeOutcome(later)]);
    await flushed();
    expect(await count()).toEqual({ requests: 1, lanes: 1 });
    await evictDurableObject(router());
    await router().settle([makeOutcome(last)]);
    await flushed();
    expect(await count()).toEqual({ requests: 0, lanes: 1 });
  });
});

describe("apply", () => {
  it("accepts only a higher version and answers what is in force", async ({ expect }) => {
    const router = makeWorkspace();
    expect(await router().configured()).toBeNull();
    expect(refusalOf(await router().admit(makeRequest())).code).toBe("not_configured");
    expect(await router().apply(address(5, 1), makeRows([makePool("chat", pair)]))).toEqual({ epoch: 1, version: 5 });
    const other = makeRows([makePool("other", pair)]);
    expect(await router().apply(address(5, 1), other)).toEqual({ epoch: 1, version: 5 });
    expect(await router().apply(address(4, 1), other)).toEqual({ epoch: 1, version: 5 });
    expect(await router().apply(address(900, 0), other)).toEqual({ epoch: 1, version: 5 });
    expect(ticketOf(await router().admit(makeRequest())).config).toEqual(address(5, 1));
    expect(await router().apply(address(6, 1), other)).toEqual({ epoch: 1, version: 6 });
    expect(refusalOf(await router().admit(makeRequest())).code).toBe("model_not_found");
  });

  it("ends at the highest of many versions that arrive in any order", async ({ expect }) => {
    const router = makeWorkspace();
    const versions = Array.from({ length: 40 }, (_, index) => ((index * 23) % 40) + 1);
    await Promise.all(
      versions.map((version) => router().apply(address(version), makeRows([makePool(`v${version}`, pair)]))),
    );
    expect(await router().configured()).toEqual({ epoch: 0, version: 40 });
    expect(ticketOf(await router().admit(makeRequest({ model: "v40" }))).config.version).toBe(40);
  });

  it("puts thousands of keys on disk, writes only the rows that changed, and finds them all again", async ({
    expect,
  }) => {
    const router = makeWorkspace();
    const keys = Array.from({ length: 3_000 }, (_, index) => makeKey(`key-${index}`));
    await router().apply(address(1), makeRows([makePool("chat", pair)], keys));
    const changed = keys.map((key, index) => (index === 7 ? makeKey(key.id, { rpm: 1 }) : key)).slice(0, 2_990);
    await router().apply(address(2), makeRows([makePool("chat", pair)], changed));
    await evictDurableObject(router());
    expect(ticketOf(await router().admit(makeRequest({ key_digest: "digest-key-2989" }))).rate).toBeNull();
    expect(ticketOf(await router().admit(makeRequest({ key_digest: "digest-key-7" }))).rate?.limit).toBe(1);
    expect(refusalOf(await router().admit(makeRequest({ key_digest: "digest-key-2995" }))).code).toBe("key_unknown");
  });

  it("asks for the configuration again when its own copy cannot be read, and takes it", async ({ expect }) => {
    const router = makeWorkspace();
    const rows = makeRows([makePool("chat", pair)]);
    await router().apply(address(3), rows);
    await runInDurableObject(router(), (_, { storage }) => {
      storage.sql.exec("UPDATE config_rows SET row = '{\"id\": 1' WHERE kind = 'pool'");
    });
    await evictDurableObject(router());
    expect(refusalOf(await router().admit(makeRequest())).code).toBe("not_configured");
    await router().apply(address(3), rows);
    expect(ticketOf(await router().admit(makeRequest())).attempt).toBe(1);
  });
});

describe("under load", () => {
  it("sends none of 100 parallel calls to an instance that said 429 until it is due, then exactly one probe", async ({
    expect,
  }) => {
    const router = makeWorkspace();
    await router().apply(address(1), makeRows([makePool("chat", pair)]));
    const burst = async (): Promise<Ticket[]> => {
      const stub = router();
      const answers = await Promise.all(Array.from({ length: 100 }, () => stub.admit(makeRequest())));
      return answers.map(ticketOf);
    };
    const hit = ticketOf(await router().admit(makeRequest()));
    expect(hit.instance.id).toBe("a");
    await router().next(hit, makeFailure("rate_limit", { status: 429, retry_after_ms: 2_000 }));
    expect((await burst()).filter((ticket) => ticket.instance.id === "a")).toEqual([]);
    await sleep(2_050);
    const probes = (await burst()).filter((ticket) => ticket.instance.id === "a");
    expect(probes.map((ticket) => ticket.probe)).toEqual([true]);
  });

  it("admits no more than the window holds however many call at once", async ({ expect }) => {
    const router = makeWorkspace();
    await router().apply(address(1), makeRows([makePool("chat", pair)], [makeKey("k", { rpm: 30 })]));
    const stub = router();
    const answers = await Promise.all(Array.from({ length: 100 }, () => stub.admit(makeRequest())));
    expect(answers.filter((answer) => answer.kind === "ticket").length).toBe(30);
  });
});

describe("the alarm", () => {
  it("expires tickets that nobody settled though the object slept, and goes quiet", async ({ expect }) => {
    const router = makeWorkspace();
    await router().apply(address(1), makeRows([makePool("chat", pair)]));
    const ticket = ticketOf(await router().admit(makeRequest()));
    await flushed();
    const look = (): Promise<unknown> =>
      runInDurableObject(router(), async (_, { storage }) => ({
        alarm: await storage.getAlarm(),
        requests: storage.sql.exec("SELECT count(*) AS n FROM requests").one()["n"],
        due: storage.sql
          .exec<{ task: string }>("SELECT task FROM due ORDER BY task")
          .toArray()
          .map(({ task }) => task),
      }));
    expect(await look()).toEqual({ alarm: ticket.deadline_at, requests: 1, due: ["expire_tickets"] });
    expect(await runDurableObjectAlarm(router())).toBe(true);
    expect(await look()).toEqual({ alarm: ticket.deadline_at, requests: 1, due: ["expire_tickets"] });

    const past = Date.now() - 1;
    await runInDurableObject(router(), async (_, { storage }) => {
      storage.sql.exec("UPDATE requests SET body = replace(body, ?, ?)", `${ticket.deadline_at}`, `${past}`);
      storage.sql.exec("UPDATE due SET at = ?", past);
      // Far off, so that the constructor must notice that something is due before it.
      await storage.setAlarm(Date.now() + 3_600_000);
    });
    await evictDurableObject(router());
    expect((await router().state("pool-chat")).length).toBe(2);
    for (let tries = 0; tries < 40 && JSON.stringify(await look()).includes('"requests":1'); tries += 1) {
      await sleep(50);
    }
    // What is left: the lost call's sums are told to the record, and its entry leaves the log in seven days.
    expect(await look()).toMatchObject({ requests: 0, due: ["age_log", "tell_usage"] });
    expect(await runDurableObjectAlarm(router())).toBe(true);
    await runInDurableObject(
      router(),
      (_, { storage }) => void storage.sql.exec("UPDATE due SET at = 1 WHERE task = 'tell_usage'"),
    );
    expect(await runDurableObjectAlarm(router())).toBe(true);
    expect(await look()).toMatchObject({ alarm: expect.any(Number), requests: 0, due: ["age_log"] });
  });

  it("drops a task it does not know and stays armed for the ones it does", async ({ expect }) => {
    const router = makeWorkspace();
    await router().apply(address(1), makeRows([makePool("chat", pair)]));
    const later = Date.now() + 500_000;
    await runInDurableObject(router(), async (_, { storage }) => {
      storage.sql.exec("INSERT INTO due (task, at) VALUES ('of_a_later_release', 1), ('expire_tickets', ?)", later);
      await storage.setAlarm(Date.now() + 3_600_000);
    });
    expect(await runDurableObjectAlarm(router())).toBe(true);
    const armed = await runInDurableObject(router(), (_, { storage }) => storage.getAlarm());
    expect(armed).toBe(later);
  });
});
