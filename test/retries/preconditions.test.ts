/** `If-Match` on every write that takes it, and cursors and limits on every list. */
import { beforeAll, describe, it } from "vitest";
import { endpoints } from "../../src/app.js";
import { deep, seed } from "../support/deep.js";
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../../src/base/bytes.js";
import { takesCursor } from "../../src/http/page.js";
import { dumpRecord } from "../support/dump.js";
import { listCases, type OpenList, type Row } from "../support/list-cases.js";
import { sendQuietly } from "../support/quiet.js";
import type { WriteRequest } from "../support/request-case.js";
import { writeCases } from "../support/requests.js";
import { seedWorkspace, type SeededWorkspace } from "../support/seed.js";

let team: SeededWorkspace;

beforeAll(async () => {
  team = await seedWorkspace();
});

const isDeep = deep(0, 1) === 1;
/** In CI the seed picks one in `every`, beginning with the `from`th. */
const picked = <T>(all: readonly T[], every: number, from = 0): readonly T[] =>
  all.filter((_, index) => isDeep || ((seed() >>> 0) + index + from) % every === 0);

let deals = 0;

/** Each in turn, `size` at a time in CI, from where the seed says. */
function dealt<T>(all: readonly T[], size: number): readonly T[] {
  deals += 1;
  const from = ((seed() >>> 0) + deals * size) % all.length;
  return isDeep ? all : [...all, ...all].slice(from, from + size);
}

const conditional = endpoints
  .filter(({ spec }) => spec.method !== "get" && spec.etag === true)
  .map(({ spec }) => `${spec.method} ${spec.path}`);

const stale = [
  '"999999"',
  'W/"999999"',
  '"nonsense"',
  "nonsense",
  "",
  '"999999.x"',
  '"999998", W/"999999","a,b"',
  '"999999", *',
  ',"999999", "999998',
];

describe("If-Match", () => {
  it.for(picked(conditional, 5))(
    "%s: stale tags and what is none changes nothing, `*` and a list with the current tag go through",
    async (operation, { expect }) => {
      const one = writeCases[operation];
      if (one === undefined) {
        throw new Error(`no case for ${operation}`);
      }
      const prepare = async () => await one.prepare(one.alone === true ? await seedWorkspace() : team);
      const method = (operation.split(" ")[0] ?? "").toUpperCase();
      const sendTo = (to: WriteRequest, tag: string) =>
        sendQuietly({ ...to, method, headers: { ...to.headers, "if-match": tag } });
      const request = await prepare();
      const send = (tag: string) => sendTo(request, tag);
      const before = await dumpRecord();
      for (const tag of dealt(stale, 3)) {
        const answer = await send(tag);
        expect([tag, answer.status, answer.body?.code]).toEqual([tag, 412, "precondition_failed"]);
      }
      const many = await send(Array.from({ length: 11 }, (_, at) => `"${at + 999_990}"`).join());
      expect([many.status, many.body?.code]).toEqual([400, "invalid_header"]);
      expect(await dumpRecord()).toBe(before);
      // Deep, the second is about another thing of the kind: the first may be gone.
      for (const [at, tagOf] of dealt([() => "*", listWithCurrent], 1).entries()) {
        const to = at === 0 ? request : await prepare();
        const through = await sendTo(to, await tagOf(to));
        expect(through.status, through.text).toBeLessThan(300);
      }
    },
  );
});

/** Ten tags with the current one among them: that of the thing itself where it can be read, and what a young thing's can be. */
async function listWithCurrent({ path, token }: WriteRequest): Promise<string> {
  const read = await sendQuietly({ method: "GET", path, ...(token === undefined ? {} : { token }) });
  const current = read.status === 200 ? read.headers.get("etag") : null;
  return current === null
    ? '"999999", "0","1", W/"2" ,"3","4","5.x","6",,"7","8"'
    : `"999999", "999998.x", ,"a,b", "", ${current}, "0"`;
}

const lists = endpoints
  .filter(({ spec }) => spec.method === "get" && takesCursor(spec.query))
  .map(({ spec }) => spec.path);

async function opened(path: string) {
  const one = listCases[path];
  if (one === undefined) {
    throw new Error(`no case for ${path}`);
  }
  const list = await one.open();
  const send = (query: string) => {
    const sent = [one.query, query].filter(Boolean).join("&");
    return sendQuietly({ method: "GET", path: `${list.path}?${sent}`, token: list.token });
  };
  const read = async (query: string): Promise<{ rows: Row[]; next: string | null }> => {
    const { body } = await send(query);
    return { rows: body.data, next: body.next_cursor };
  };
  const nameOf = one.nameOf ?? (({ id }: Row) => String(id));
  return { one, list, send, read, nameOf };
}

async function addRows(list: OpenList, count: number): Promise<void> {
  for (let made = 0; made < count; made += 1) {
    await list.add();
  }
}

const hostile = [
  "",
  "x",
  "%00",
  "%F0%9F%92%A9",
  "null",
  "W10",
  "e30",
  "WzFd.",
  "WzEsMl0.0",
  "WyJhIiwiYiJd",
  ".",
  "WzksIicgT1IgMT0xIC0tIl0.0000000000",
  "..%2F..%2F",
  "a".repeat(5_000),
];

/** The cursor with its place moved and all else in order. */
function moved(cursor: string): string {
  const [place = "", mark = ""] = cursor.split(".");
  const read = JSON.parse(fromUtf8(fromBase64Url(place) ?? new Uint8Array())) as readonly [number, ...string[]];
  const next = utf8(JSON.stringify(read.with(0, read[0] + 1)));
  return `${toBase64Url(next)}.${mark}`;
}

/** The cursor damaged in each of its parts, one character at a time. */
function damaged(cursor: string): string[] {
  const flip = (at: number) => cursor.slice(0, at) + (cursor[at] === "0" ? "1" : "0") + cursor.slice(at + 1);
  const dot = cursor.indexOf(".");
  const places = [0, Math.trunc(dot / 2), dot - 1, dot + 1, cursor.length - 1];
  return [...places.map(flip), cursor.slice(0, -1), `${cursor}0`, cursor.slice(1), cursor.toUpperCase()];
}

/** Run deep, each list is tried in both ways; in CI a third in each, as the seed says. */
describe("lists", () => {
  let foreign: { readonly path: string; readonly cursor: string } | null = null;

  it("have a case each", ({ expect }) => {
    expect(Object.keys(listCases).toSorted()).toEqual(lists.toSorted());
    expect(lists.length).toBeGreaterThan(12);
  });

  it.for(picked(lists, 3))(
    "%s: refuses a limit out of bounds and any cursor but its own, under its own filters",
    async (path, { expect }) => {
      const { one, list, send, read } = await opened(path);
      await addRows(list, 3);
      for (const limit of dealt(["0", "201", "1.5", "x", ""], 1)) {
        const { status, body } = await send(`limit=${limit}`);
        expect([limit, status, body.errors?.[0].pointer]).toEqual([limit, 422, "/limit"]);
      }
      const { rows, next } = await read("limit=1");
      if (next === null) {
        throw new Error("a page too few");
      }
      expect((await read(`limit=200&cursor=${next}`)).rows.length).toBeGreaterThanOrEqual(2);
      const refused = [...dealt(hostile, 2), ...dealt(damaged(next), 2), moved(next)];
      const [openOther = null] = dealt([opened, null], 1);
      if (openOther !== null) {
        const other = await openOther(path);
        await addRows(other.list, 2);
        const theirs = (await other.read("limit=1")).next ?? "";
        expect(theirs).not.toBe("");
        refused.push(theirs);
      }

      if (foreign !== null) {
        refused.push(foreign.cursor);
      }
      foreign = { path, cursor: next };
      for (const cursor of refused) {
        const { status, body } = await send(`limit=1&cursor=${cursor}`);
        expect([cursor, status, body.code, body.errors?.[0].pointer]).toEqual([
          cursor,
          422,
          "validation_failed",
          "/cursor",
        ]);
      }
      if (one.filter !== undefined) {
        const filtered = await read(`limit=1&${one.filter}`);
        expect(filtered.rows).toHaveLength(1);
        const onward = await send(`limit=2&${one.filter}&cursor=${filtered.next}`);
        expect([onward.status, onward.body.data.length]).toEqual([200, 2]);
        for (const query of [`cursor=${filtered.next}`, `${one.filter}&cursor=${next}`]) {
          expect([query, (await send(query)).status]).toEqual([query, 422]);
        }
      }
      // The release before marked no cursor with its list.
      const bare = await read(`limit=1&cursor=${next.split(".")[0]}`);
      expect([rows.length, bare.rows]).toEqual([1, (await read(`limit=1&cursor=${next}`)).rows]);
    },
  );

  it.for(picked(lists, 3, 1))(
    "%s: while rows come and go none is told twice and none that stays is missed",
    async (path, { expect }) => {
      const { one, list, read, nameOf } = await opened(path);
      await addRows(list, deep(5, 12));
      const full = (await read("limit=200")).rows;
      const ended = new Set<string>();
      const end = async (row: Row | undefined) => {
        if (row !== undefined && list.remove !== undefined && one.isFixed?.(row) !== true) {
          await list.remove(row);
          ended.add(nameOf(row));
        }
      };
      const told: Row[] = [];
      let page = await read("limit=2");
      told.push(...page.rows);
      // The row that the cursor stands on, and one that is still to come.
      await end(page.rows.at(-1));
      await end(full.at(-2));
      for (let pages = 0; page.next !== null && pages < 60; pages += 1) {
        await addRows(list, pages < deep(2, 6) ? 1 : 0);
        page = await read(`limit=2&cursor=${page.next}`);
        told.push(...page.rows);
      }
      expect(page.next).toBeNull();
      const names = told.map(nameOf);
      expect(new Set(names).size).toBe(names.length);
      const known = new Set(full.map(nameOf));
      const stayed = (name: string) => known.has(name) && !ended.has(name);
      expect(names.filter(stayed)).toEqual(full.map(nameOf).filter(stayed));
      expect(names.filter(stayed).length).toBeGreaterThanOrEqual(deep(3, 10));
    },
  );
});
