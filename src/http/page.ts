/** Lists: `limit`, an opaque `cursor`, and `{data, next_cursor}`. A cursor names the last row seen, so rows that come and go shift nothing, and the list it is of. */
import { z } from "@hono/zod-openapi";
import { fromBase64Url, fromUtf8, sha256Hex, toBase64Url, utf8 } from "../base/bytes.js";
import { AppError } from "../base/errors.js";

/** Where a list goes on: after the row with this time and id. */
export interface Position {
  readonly time: number;
  readonly id: string;
}

const PositionTuple = z.tuple([z.number(), z.string().max(200)]);

/** The query of every list. */
export const PageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(50).describe("Rows a page, 1 to 200."),
  cursor: z
    .string()
    .max(400)
    .optional()
    .describe("The `next_cursor` of the page before, which goes with that page's filters."),
});

/** A page of rows of one schema. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({ data: z.array(item), next_cursor: z.string().nullable().describe("Null on the last page.") });
}

/** The position a cursor names, or null for the first page. Throws `validation_failed` for anything this service did not make. */
export function readCursor(cursor: string | undefined): Position | null {
  if (cursor === undefined) {
    return null;
  }
  const bytes = fromBase64Url(cursor);
  const parsed = bytes === null ? undefined : PositionTuple.safeParse(tryJson(bytes)).data;
  if (parsed === undefined) {
    throw invalidCursor("Use the next_cursor of a page, unchanged.");
  }
  return { time: parsed[0], id: parsed[1] };
}

/** A page of rows that are cut already; `hasMore`: others come after them. */
export function pageWith<Row, Item>(
  rows: readonly Row[],
  hasMore: boolean,
  position: (row: Row) => Position,
  map: (row: Row) => Item,
): { data: Item[]; next_cursor: string | null } {
  const last = hasMore ? rows.at(-1) : undefined;
  return { data: rows.map(map), next_cursor: last === undefined ? null : writeCursor(position(last)) };
}

/** Cuts rows fetched with `limit + 1` to a page. */
export function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  position: (row: Row) => Position,
  map: (row: Row) => Item,
): { data: Item[]; next_cursor: string | null } {
  return pageWith(rows.slice(0, limit), rows.length > limit, position, map);
}

/** The cursor of a position. */
export function writeCursor(position: Position): string {
  return toBase64Url(utf8(JSON.stringify([position.time, position.id])));
}

/** Whether a list with this query goes on by cursor. */
export function takesCursor(query: z.ZodType | undefined): boolean {
  return query instanceof z.ZodObject && "cursor" in query.shape;
}

/** A query with its cursor as the list made it. Throws `validation_failed` for a damaged one, one of another list, or of this one under other filters. */
export async function unbindCursor(search: URLSearchParams, list: readonly unknown[]): Promise<URLSearchParams> {
  const [cursor = "", mark] = search.get("cursor")?.split(".", 2) ?? [];
  // The release before marked none.
  if (mark === undefined) {
    return search;
  }
  if (mark !== (await markOf(cursor, search, list))) {
    throw invalidCursor(
      "This is no cursor of this list under these filters. Use the next_cursor of a page, unchanged.",
    );
  }
  const bare = new URLSearchParams(search);
  bare.set("cursor", cursor);
  return bare;
}

/** An answer's body with its `next_cursor` marked as that of `list` (whatever names it) under the filters of `search`. */
export async function bindCursor(body: unknown, search: URLSearchParams, list: readonly unknown[]): Promise<unknown> {
  if (typeof body !== "object" || body === null || !("next_cursor" in body) || typeof body.next_cursor !== "string") {
    return body;
  }
  return { ...body, next_cursor: `${body.next_cursor}.${await markOf(body.next_cursor, search, list)}` };
}

async function markOf(cursor: string, search: URLSearchParams, list: readonly unknown[]): Promise<string> {
  const filters = [...search].filter(([name]) => name !== "cursor" && name !== "limit");
  const said = JSON.stringify([cursor, list, filters.map((one) => one.join("=")).toSorted()]);
  return (await sha256Hex(said)).slice(0, 10);
}

function invalidCursor(detail: string): AppError {
  return new AppError("validation_failed", { errors: [{ in: "query", pointer: "/cursor", detail }] });
}

function tryJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch {
    return undefined;
  }
}
