/** The tree's hashes in the record, 256 to a row: an append writes a handful of rows and a proof reads one or two a level. */
import { and, desc, eq, lte, sql } from "drizzle-orm";
import { hideSql, type Database, type Statement } from "../base/database.js";
import { auditTiles } from "./model.js";
import { toBase64 } from "./note.js";
import { hashPair, type Hash, type ReadNode } from "./tree.js";

/** Hashes to a tile: eight levels of the tree. */
export const tileWidth = 256;
const levelsPerTile = 8;
const hashBytes = 32;

/** One tile. `seqs` is empty above level 0. */
export interface Tile {
  readonly level: number;
  readonly tile: number;
  readonly hashes: Hash[];
  readonly seqs: number[];
}

/** Reads a tile, or null where none is. */
export type ReadTile = (level: number, tile: number) => Promise<Tile | null>;

/** A leaf to be appended. */
export interface Leaf {
  readonly seq: number;
  readonly hash: Hash;
}

/** Reads a workspace's tiles, each once. */
export function tileReader(db: Database, workspaceId: string): ReadTile {
  const known = new Map<string, Tile | null>();
  return async (level, tile) => {
    const name = `${level}/${tile}`;
    const kept = known.get(name);
    if (kept !== undefined) {
      return kept;
    }
    const isThis = and(eq(auditTiles.workspaceId, workspaceId), eq(auditTiles.level, level), eq(auditTiles.tile, tile));
    const [row] = await hideSql(db.select().from(auditTiles).where(isThis).all());
    const found = row === undefined ? null : toTile(row);
    known.set(name, found);
    return found;
  };
}

/** Reads the nodes of a tree out of its tiles. Throws `TypeError` for one that is in none. */
export function nodeReader(readTile: ReadTile): ReadNode {
  return async (level, index) => {
    const width = 2 ** (level % levelsPerTile);
    const first = index * width;
    const tile = await readTile(Math.floor(level / levelsPerTile), Math.floor(first / tileWidth));
    const from = first % tileWidth;
    const hashes = tile?.hashes.slice(from, from + width) ?? [];
    if (hashes.length !== width) {
      throw new TypeError("a node of the tree is in no tile");
    }
    return await foldHashes(hashes);
  };
}

/** The tiles that leaves change, when they come after `size` others. Throws `TypeError` when the last tiles are not as long as that says. */
export async function growTiles(size: number, leaves: readonly Leaf[], readTile: ReadTile): Promise<Tile[]> {
  const grown = new Map<string, Tile>();
  const push = async (level: number, at: number, hash: Hash, seq: number | null): Promise<void> => {
    const number = Math.floor(at / tileWidth);
    const name = `${level}/${number}`;
    const tile = grown.get(name) ?? (await openTile(readTile, level, number, at % tileWidth));
    grown.set(name, tile);
    tile.hashes.push(hash);
    if (seq !== null) {
      tile.seqs.push(seq);
    }
    if (tile.hashes.length === tileWidth) {
      await push(level + 1, number, await foldHashes(tile.hashes), null);
    }
  };
  for (const [at, { hash, seq }] of leaves.entries()) {
    await push(0, size + at, hash, seq);
  }
  return [...grown.values()];
}

/** Plans the writing of tiles, each over its shorter form. */
export function planTiles(db: Database, workspaceId: string, tiles: readonly Tile[]): Statement[] {
  return tiles.map(({ level, tile, hashes, seqs }) => {
    const bytes = new Uint8Array(hashes.length * hashBytes);
    hashes.forEach((hash, at) => bytes.set(hash, at * hashBytes));
    const data = {
      hashes: toBase64(bytes),
      seqs: level === 0 ? JSON.stringify(seqs) : null,
      firstSeq: seqs[0] ?? null,
    };
    return db
      .insert(auditTiles)
      .values({ workspaceId, level, tile, ...data })
      .onConflictDoUpdate({ target: [auditTiles.workspaceId, auditTiles.level, auditTiles.tile], set: data });
  });
}

/** The tile that a row's leaf is in if it is in any: the last that begins at or before it. */
export async function findTileOf(db: Database, workspaceId: string, seq: number): Promise<Tile | null> {
  const isBefore = and(eq(auditTiles.workspaceId, workspaceId), sql`level = 0`, lte(auditTiles.firstSeq, seq));
  const query = db.select().from(auditTiles).where(isBefore).orderBy(desc(auditTiles.firstSeq)).limit(1);
  const [row] = await hideSql(query.all());
  return row === undefined ? null : toTile(row);
}

/** The tiles that rows' leaves are in if they are in any, each once, in one query. */
export async function findTilesOf(db: Database, workspaceId: string, seqs: readonly number[]): Promise<Tile[]> {
  const list = JSON.stringify(seqs);
  const ofEach = sql`(SELECT (SELECT t.tile FROM audit_tiles AS t WHERE t.workspace_id = ${workspaceId} AND t.level = 0 AND t.first_seq <= e.value
    ORDER BY t.first_seq DESC LIMIT 1) FROM json_each(${list}) AS e)`;
  const isOne = and(eq(auditTiles.workspaceId, workspaceId), sql`level = 0`, sql`${auditTiles.tile} IN ${ofEach}`);
  return (await hideSql(db.select().from(auditTiles).where(isOne).all())).map(toTile);
}

/** The root over hashes from left to right. */
export async function foldHashes(hashes: readonly Hash[]): Promise<Hash> {
  const [first, second] = hashes;
  if (first === undefined) {
    throw new TypeError("no hashes to fold");
  }
  if (second === undefined) {
    return first;
  }
  let width = 1;
  while (width * 2 < hashes.length) {
    width *= 2;
  }
  return await hashPair(await foldHashes(hashes.slice(0, width)), await foldHashes(hashes.slice(width)));
}

async function openTile(readTile: ReadTile, level: number, tile: number, length: number): Promise<Tile> {
  const found = length === 0 ? { level, tile, hashes: [], seqs: [] } : await readTile(level, tile);
  if (found === null || found.hashes.length !== length) {
    throw new TypeError("the last tile is not as long as the tree says");
  }
  return { ...found, hashes: [...found.hashes], seqs: [...found.seqs] };
}

function toTile({ level, tile, hashes, seqs }: typeof auditTiles.$inferSelect): Tile {
  const bytes = Uint8Array.fromBase64(hashes);
  const split = Array.from({ length: bytes.byteLength / hashBytes }, (_, at) =>
    bytes.slice(at * hashBytes, (at + 1) * hashBytes),
  );
  return { level, tile, hashes: split, seqs: seqs === null ? [] : toSeqs(JSON.parse(seqs)) };
}

function toSeqs(value: unknown): number[] {
  if (!Array.isArray(value) || !value.every((seq): seq is number => typeof seq === "number")) {
    throw new TypeError("a tile's rows are no list of numbers");
  }
  return value;
}
