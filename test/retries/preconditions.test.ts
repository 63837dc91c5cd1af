/** `If-Match` on every write that takes it, and cursors and limits on every list. */
import { beforeAll, describe, it } from "vitest";
import { endpoints } from "../../src/app.js";
import { deep, seed } from "../support/deep.js";
import { dumpRecord } from "../support/dump.js";
import { sendQuietly } from "../support/quiet.js";
import { fresh, make } from "../support/request-case.js";
import { writeCases } from "../support/requests.js";
import { seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { schemes, toolDocument } from "../support/tool-document.js";

let team: SeededWorkspace;

beforeAll(async () => {
  team = await seedWorkspace();
});

const isDeep = deep(0, 1) === 1;
/** In CI the seed picks a third. */
const picked = <T>(all: readonly T[]): readonly T[] =>
  all.filter((_, index) => isDeep || ((seed() >>> 0) + index) % 3 === 0);

const conditional = endpoints
  .filter(({ spec }) => spec.method !== "get" && spec.etag === true)
  .map(({ spec }) => `${spec.method} ${spec.path}`);

describe("If-Match", () => {
  it.for(picked(conditional))(
    "%s: a stale tag or none of ours changes nothing, `*` goes through",
    async (operation, { expect }) => {
      const one = writeCases[operation];
      if (one === undefined) {
        throw new Error(`no case for ${operation}`);
      }
      const request = await one.prepare(one.alone === true ? await seedWorkspace() : team);
      const method = (operation.split(" ")[0] ?? "").toUpperCase();
      const send = (tag: string) =>
        sendQuietly({ ...request, method, headers: { ...request.headers, "if-match": tag } });
      const before = await dumpRecord();
      for (const tag of ['"999999"', 'W/"999999"', '"nonsense"', "nonsense", '"1", "999999"', "", '"999999.x"']) {
        const answer = await send(tag);
        expect([tag, answer.status, answer.body?.code]).toEqual([tag, 412, "precondition_failed"]);
      }
      expect(await dumpRecord()).toBe(before);
      const through = await send("*");
      expect(through.status, through.text).toBeLessThan(300);
    },
  );
});

interface Parameter {
  readonly name?: string;
  readonly in?: string;
  readonly $ref?: string;
}

async function lists(): Promise<string[]> {
  const { body } = await sendQuietly({ method: "GET", path: "/openapi.json" });
  const paths = body.paths as Record<string, { get?: { parameters?: readonly Parameter[] } }>;
  const isCursor = (one: Parameter) => one.name === "cursor" || one.$ref?.endsWith("/cursor") === true;
  return Object.entries(paths).flatMap(([path, { get }]) => (get?.parameters?.some(isCursor) === true ? [path] : []));
}

async function fill(path: string): Promise<string> {
  const tools = fresh("tools");
  if (path.includes("/tool-providers/{provider}")) {
    const document = toolDocument({ security: schemes.bearer });
    await make(team, "POST", "/tool-providers", { kind: "openapi", name: tools, document });
  }
  const hook = path.includes("/webhooks/{id}")
    ? await make(team, "POST", "/webhooks", { url: "https://hooks.example.com/", events: ["invite.declined"] })
    : null;
  return path
    .replace("{ws}", team.id)
    .replace("/tool-providers/{provider}", `/tool-providers/${tools}`)
    .replace("{provider}", "sandbox")
    .replace("{id}", hook?.id ?? "");
}

const hostile = [
  "",
  "x",
  "%00",
  "%F0%9F%92%A9",
  "null",
  "W10",
  "e30",
  "WzFd",
  "WzEsMl0",
  "WyJhIiwiYiJd",
  "Wy0xZTk5OSwiYSJd",
  "WzksIicgT1IgMT0xIC0tIl0",
  "..%2F..%2F",
  "a".repeat(5_000),
];

describe("lists", () => {
  it("refuse a limit out of bounds and a cursor that is none of theirs, and never fail over one", async ({
    expect,
  }) => {
    const paths = await lists();
    expect(paths.length).toBeGreaterThan(12);
    for (const path of picked(paths)) {
      const filled = await fill(path);
      const get = (query: string) => sendQuietly({ method: "GET", path: `${filled}?${query}`, token: team.token });
      for (const [query, status] of [
        ["limit=1", 200],
        ["limit=200", 200],
        ["limit=0", 422],
        ["limit=201", 422],
        ["limit=1.5", 422],
        ["limit=x", 422],
      ] as const) {
        expect([path, query, (await get(query)).status]).toEqual([path, query, status]);
      }
      for (const cursor of hostile) {
        const { status } = await get(`limit=1&cursor=${cursor}`);
        expect([path, cursor.slice(0, 40), [200, 400, 422].includes(status)]).toEqual([
          path,
          cursor.slice(0, 40),
          true,
        ]);
      }
    }
  });

  it.for([
    { path: "/api-keys", name: "key" },
    { path: "/webhooks", name: "hook" },
  ])(
    "$path: while rows come and go none is told twice and none that stays is missed",
    async ({ path, name }, { expect }) => {
      const at = await seedWorkspace();
      const add = async (): Promise<string> => {
        const key = { name: fresh("key"), scopes: ["models:invoke"] };
        const hook = { url: "https://hooks.example.com/", events: ["invite.declined"] };
        return (await make(at, "POST", path, name === "key" ? key : hook)).id;
      };
      const kept = new Set<string>();
      const doomed: string[] = [];
      for (let count = 0; count < 8; count += 1) {
        const id = await add();
        if (count % 3 === 1) {
          doomed.push(id);
        } else {
          kept.add(id);
        }
      }
      const foreign = await make(at, "GET", `${path}?limit=1`);
      const next = await seedWorkspace();
      expect(await make(next, "GET", `${path}?limit=200&cursor=${foreign.next_cursor}`)).toEqual({
        data: [],
        next_cursor: null,
      });
      const told: string[] = [];
      let cursor: string | null = "";
      while (cursor !== null) {
        const after: string = cursor === "" ? "" : `&cursor=${cursor}`;
        const page = await make(at, "GET", `${path}?limit=1${after}`);
        told.push(...page.data.map(({ id }: { id: string }) => id));
        cursor = page.next_cursor;
        await add();
        const gone = doomed.pop();
        if (gone !== undefined) {
          await make(at, "DELETE", `${path}/${gone}`);
        }
        if (told.length > 100) {
          break;
        }
      }
      expect(new Set(told).size).toBe(told.length);
      expect([...kept].filter((id) => !told.includes(id))).toEqual([]);
      // Whoever follows a cursor comes to an end.
      expect(told.length).toBeLessThan(50);
    },
  );
});
