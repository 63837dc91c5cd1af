/** Opens what a ticket names: the instance as its version has it, with its secret. Isolate memory, then KV, then the record; any of them may be cold, none is ever wrong. */
import { waitUntil } from "cloudflare:workers";
import { openDatabase } from "../base/database.js";
import { AppError } from "../base/errors.js";
import type { Keyring } from "../base/keyring.js";
import { log } from "../base/log.js";
import type { Secret } from "../base/secret.js";
import { requireSettings } from "../base/settings.js";
import { newFlights, type Share } from "../base/flight.js";
import { credentialBinding } from "../connections/credentials.js";
import { loadDataKey, openDataKey, type DataKey, type WrappedDataKey } from "../vault/data-keys.js";
import { openReadSecret, type ReadSecret, readSecret } from "../vault/seal.js";
import { readConfig, type Config } from "./build.js";
import { readImplicitInstance } from "./implicit.js";
import { newMemory, type Memory } from "./memory.js";
import type { ConfigAddress, ConfigSnapshot, SnapshotCredential } from "./model.js";
import { fileSnapshot, findSnapshot, snapshotKey } from "./store.js";

/** An instance ready to be called. Let the secret go with the call. */
export interface OpenInstance {
  readonly provider_name: string;
  readonly base_url: string;
  /** The credential's other plain fields. */
  readonly options: Readonly<Record<string, string>>;
  /** The only origin the secret may be sent to. */
  readonly origin: string;
  readonly model: string;
  readonly credential_id: string;
  /** Null for a credential without a key. */
  readonly api_key: Secret | null;
}

/** A credential, and its secret as it was read at the first call: every call opens it, none reads it again. */
interface KeptCredential {
  readonly row: SnapshotCredential;
  secret: ReadSecret | null;
}

/** A snapshot indexed for the hot path. */
interface View {
  readonly instances: ReadonlyMap<string, ConfigSnapshot["instances"][number]>;
  readonly credentials: ReadonlyMap<string, KeptCredential>;
  readonly dataKeys: ReadonlyMap<string, ConfigSnapshot["data_keys"][number]>;
}

/** What an isolate remembers of snapshots, and which it is reading right now. */
export interface SnapshotMemory {
  readonly views: Memory<View>;
  readonly share: Share<View | null>;
}

/** A memory of 256 snapshots or 16 Mi characters of them, whichever is less. */
export function newSnapshotMemory(): SnapshotMemory {
  return { views: newMemory(256, 16 * 1024 * 1024), share: newFlights() };
}

const isolateMemory = newSnapshotMemory();

/**
 * An instance of a version, in a pool or of a model that is called by its name. Null when it can't be served: not in that version, or that version is in no cache any more and
 * the record's newest has the instance, its credential or its workspace no longer; then try the next one. Where the newest
 * stands in, `model` and `credential_id` are the newest's. Throws `undecryptable` and `keyring_entry_missing` as the vault
 * does, and `internal` when the record can't be read.
 */
export async function openInstance(
  env: Env,
  workspaceId: string,
  address: ConfigAddress,
  instanceId: string,
  memory: SnapshotMemory = isolateMemory,
): Promise<OpenInstance | null> {
  const key = snapshotKey(workspaceId, address);
  const view = memory.views.find(key) ?? (await memory.share(key, () => loadView(env, workspaceId, address, memory)));
  const instance = view?.instances.get(instanceId) ?? readImplicitInstance(instanceId) ?? undefined;
  const kept = instance === undefined ? undefined : view?.credentials.get(instance.credential_id);
  if (view === null || instance === undefined || kept === undefined) {
    return null;
  }
  const credential = kept.row;
  const secret = await openCredential(env, workspaceId, kept, view.dataKeys.get(credential.data_key_id));
  return {
    provider_name: credential.provider_name,
    base_url: credential.base_url,
    options: credential.options,
    origin: credential.origin,
    model: instance.model,
    credential_id: credential.id,
    api_key: secret.reveal() === "" ? null : secret,
  };
}

async function loadView(
  env: Env,
  workspaceId: string,
  address: ConfigAddress,
  memory: SnapshotMemory,
): Promise<View | null> {
  const key = snapshotKey(workspaceId, address);
  const filed = await findSnapshot(env.CONFIG, workspaceId, address);
  if (filed !== null) {
    return remember(memory, key, filed);
  }
  const config = await readNewest(env, workspaceId);
  if (config === null) {
    return null;
  }
  const newest = snapshotKey(workspaceId, config.address);
  log("info", "snapshot_from_record", {
    workspace_id: workspaceId,
    asked: address.version,
    version: config.address.version,
  });
  if (newest === key) {
    waitUntil(fileSnapshot(env.CONFIG, workspaceId, address, config.text));
    return remember(memory, key, config);
  }
  if (isBefore(config.address, address)) {
    log("error", "snapshot_ahead_of_record", {
      workspace_id: workspaceId,
      asked: address.version,
      version: config.address.version,
    });
    return null;
  }
  remember(memory, newest, config);
  // Stands in for good: tickets of that version are on their way out, and each of them would read the record again.
  return remember(memory, key, config);
}

/** The record's newest; null for a workspace that is deleted or was never there. */
async function readNewest(env: Env, workspaceId: string): Promise<Config | null> {
  try {
    const config = await readConfig(openDatabase(env.DB), workspaceId);
    return config.rows.active ? config : null;
  } catch (error) {
    if (error instanceof AppError && error.code === "not_found") {
      return null;
    }
    throw error;
  }
}

function remember(memory: SnapshotMemory, key: string, from: Pick<Config, "snapshot" | "text">): View {
  const { instances, credentials, data_keys } = from.snapshot;
  const view: View = {
    instances: new Map(instances.map((row) => [row.id, row])),
    credentials: new Map(credentials.map((row) => [row.id, { row, secret: null }])),
    dataKeys: new Map(data_keys.map((row) => [row.id, row])),
  };
  memory.views.keep(key, view, from.text.length);
  return view;
}

async function openCredential(
  env: Env,
  workspaceId: string,
  kept: KeptCredential,
  wrapped: ConfigSnapshot["data_keys"][number] | undefined,
): Promise<Secret> {
  if (wrapped === undefined) {
    throw new AppError("undecryptable", { cause: new Error("the snapshot lacks the credential's data key") });
  }
  kept.secret ??= readCredential(workspaceId, kept.row, wrapped.id);
  const { keyring } = requireSettings(env);
  const dataKey = await openSnapshotKey(env, keyring, { ...wrapped, workspaceId });
  return await openReadSecret(dataKey, kept.secret);
}

function readCredential(workspaceId: string, credential: SnapshotCredential, dataKeyId: string): ReadSecret {
  if (URL.parse(credential.base_url)?.origin !== credential.origin) {
    // The seal binds the origin, not the address that is called: the two must be one.
    throw new AppError("undecryptable", { cause: new Error("the base URL leads to another origin than the seal") });
  }
  const place = { workspaceId, id: credential.id, secretVersion: credential.secret_version, origin: credential.origin };
  return readSecret({ id: dataKeyId, workspaceId }, credentialBinding(place), credential.sealed);
}

/** A snapshot may hold an older wrapping than the row: when this deployment lacks that keyring entry, the row may name one that it has. */
async function openSnapshotKey(env: Env, keyring: Keyring, wrapped: WrappedDataKey): Promise<DataKey> {
  try {
    return await openDataKey(keyring, wrapped);
  } catch (error) {
    if (error instanceof AppError && error.code === "keyring_entry_missing") {
      return await loadDataKey(openDatabase(env.DB), keyring, wrapped.workspaceId, wrapped.id);
    }
    throw error;
  }
}

function isBefore(a: ConfigAddress, b: ConfigAddress): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.version < b.version);
}
