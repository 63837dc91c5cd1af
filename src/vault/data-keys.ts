/** Workspace data keys: made, kept wrapped, and open in memory only as non-extractable subkeys for at most a minute. */
import { and, eq } from "drizzle-orm";
import { randomBytes } from "../base/bytes.js";
import { hideSql, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import { deriveMacKey, deriveSealingKey, takeRoot } from "./derive.js";
import { unwrapDataKey, wrapDataKey, type DataKeyName } from "./keyring.js";
import { dataKeys } from "./model.js";

/** An opened data key. Its raw bytes are gone; neither subkey can be exported. */
export interface DataKey {
  readonly id: string;
  readonly workspaceId: string;
  /** AES-256-GCM, for `sealSecret` and `openSecret`. */
  readonly sealing: CryptoKey;
  /** HMAC-SHA-256, for `fingerprintSecret`. */
  readonly fingerprinting: CryptoKey;
}

/** A data key as rows and snapshots hold it. */
export interface WrappedDataKey {
  readonly id: string;
  readonly workspaceId: string;
  readonly wrapped: string;
}

/** A row of `data_keys` to insert. */
export type NewDataKeyRow = typeof dataKeys.$inferInsert;

/** How long an opened data key is kept in an isolate, from its opening, however often it is used. */
export const openForMs = 60_000;
const openAtMost = 1_000;

/**
 * Makes a workspace's data key, wrapped under an entry of the ring (`sealingEntry`): the row to insert (`insertDataKey`), and the
 * key itself for sealing in the same batch. `nowMs` is epoch milliseconds. Throws `keyring_entry_missing`.
 */
export async function newDataKey(
  keyring: Keyring,
  entry: string,
  workspaceId: string,
  nowMs: number,
): Promise<{ readonly row: NewDataKeyRow; readonly key: DataKey }> {
  const name: DataKeyName = { workspaceId, dataKeyId: newId("dataKey") };
  const raw = randomBytes(32);
  try {
    const wrapped = await wrapDataKey(keyring, entry, name, raw);
    const row = {
      id: name.dataKeyId,
      workspaceId,
      keyringId: entry,
      wrapped,
      state: "active",
      createdAt: nowMs,
    } as const;
    return { row, key: await openRaw(name, raw) };
  } finally {
    raw.fill(0);
  }
}

/** The statement that keeps a new data key; goes into the batch that makes its workspace. */
export function insertDataKey(db: Database, row: NewDataKeyRow): Statement {
  return db.insert(dataKeys).values(row);
}

/** The workspace's data key for sealing. Throws `AppError` `undecryptable` when it has none or it cannot be opened, `keyring_entry_missing` as `openDataKey`. */
export async function loadActiveDataKey(db: Database, keyring: Keyring, workspaceId: string): Promise<DataKey> {
  const isActive = and(eq(dataKeys.workspaceId, workspaceId), eq(dataKeys.state, "active"));
  const [active] = await hideSql(db.select().from(dataKeys).where(isActive).limit(1).all());
  return await openRow(keyring, active);
}

/** One data key of the workspace by id, also a retired one, for opening. Throws as `loadActiveDataKey`. */
export async function loadDataKey(
  db: Database,
  keyring: Keyring,
  workspaceId: string,
  dataKeyId: string,
): Promise<DataKey> {
  const isThis = and(eq(dataKeys.workspaceId, workspaceId), eq(dataKeys.id, dataKeyId));
  const [row] = await hideSql(db.select().from(dataKeys).where(isThis).limit(1).all());
  return await openRow(keyring, row);
}

/**
 * Opens a wrapped data key, from a row or a snapshot; a repeat within `openForMs` costs nothing. Throws `AppError`
 * `undecryptable`, or `keyring_entry_missing` when this deployment lacks the entry that wraps it: then the wrapping may
 * be an older copy, so read the row anew (`loadDataKey`) before giving up.
 */
export async function openDataKey(
  keyring: Keyring,
  wrapped: WrappedDataKey,
  nowMs: number = Date.now(),
): Promise<DataKey> {
  const opened = openedUnder(keyring);
  // All that unwrapping authenticates is part of the name, so no other row can be answered from here.
  const name = JSON.stringify([wrapped.workspaceId, wrapped.id, wrapped.wrapped]);
  const known = opened.get(name);
  if (known !== undefined && nowMs >= known.openedAt && nowMs < known.openedAt + openForMs) {
    return known.key;
  }
  const dataKeyName = { workspaceId: wrapped.workspaceId, dataKeyId: wrapped.id };
  const raw = await unwrapDataKey(keyring, dataKeyName, wrapped.wrapped);
  const key = await openRaw(dataKeyName, raw);
  opened.delete(name);
  opened.set(name, { key, openedAt: nowMs });
  closeOld(opened, nowMs);
  return key;
}

interface OpenedKey {
  readonly key: DataKey;
  readonly openedAt: number;
}

const openedByRing = new WeakMap<Keyring, Map<string, OpenedKey>>();

function openedUnder(keyring: Keyring): Map<string, OpenedKey> {
  const opened = openedByRing.get(keyring) ?? new Map<string, OpenedKey>();
  openedByRing.set(keyring, opened);
  return opened;
}

/** Maps keep insertion order and entries are re-inserted on opening, so the oldest come first. */
function closeOld(opened: Map<string, OpenedKey>, nowMs: number): void {
  for (const [name, { openedAt }] of opened) {
    if (opened.size <= openAtMost && nowMs < openedAt + openForMs) {
      return;
    }
    opened.delete(name);
  }
}

async function openRow(keyring: Keyring, row: WrappedDataKey | undefined): Promise<DataKey> {
  if (row === undefined) {
    throw new AppError("undecryptable", { cause: new Error("no such data key") });
  }
  return await openDataKey(keyring, row);
}

async function openRaw(name: DataKeyName, raw: Uint8Array<ArrayBuffer>): Promise<DataKey> {
  const root = await takeRoot(raw);
  const [sealing, fingerprinting] = await Promise.all([
    deriveSealingKey(root, "seal"),
    deriveMacKey(root, "fingerprint"),
  ]);
  return { id: name.dataKeyId, workspaceId: name.workspaceId, sealing, fingerprinting };
}
