/** The KV side of snapshots: one immutable value per address. What comes out is what the address names, or nothing; a slow or failing KV costs time, never truth. */
import { sha256Hex } from "../base/bytes.js";
import { describeError, log } from "../base/log.js";
import { within } from "../base/flight.js";
import { ConfigSnapshot, snapshotFormat, type ConfigAddress } from "./model.js";

/** Longer than any ticket lives; a version in use for longer is filed anew when it is missed. */
const keptSeconds = 7 * 24 * 3600;
/** How long a place on the edge may answer from its own copy, a miss included. The value under an address never changes. */
const cachedSeconds = 300;
const patienceMs = 2000;
const deletesPerPass = 100;

/** A snapshot's key in KV. */
export function snapshotKey(workspaceId: string, address: ConfigAddress): string {
  return `config/${snapshotFormat}/${workspaceId}/${address.epoch}.${address.version}.${address.digest}`;
}

/** Files a snapshot's text. Failing or taking over 2 s is logged, not thrown: the record has it all. */
export async function fileSnapshot(
  kv: KVNamespace,
  workspaceId: string,
  address: ConfigAddress,
  text: string,
): Promise<void> {
  try {
    const key = snapshotKey(workspaceId, address);
    await within(patienceMs, kv.put(key, text, { expirationTtl: keptSeconds }));
  } catch (error) {
    log("warn", "snapshot_not_filed", {
      workspace_id: workspaceId,
      version: address.version,
      cause: describeError(error),
    });
  }
}

/** The snapshot filed under an address; null when KV has none, has another text, fails, or takes over 2 s. */
export async function findSnapshot(
  kv: KVNamespace,
  workspaceId: string,
  address: ConfigAddress,
): Promise<{ readonly snapshot: ConfigSnapshot; readonly text: string } | null> {
  try {
    const key = snapshotKey(workspaceId, address);
    const text = await within(patienceMs, kv.get(key, { type: "text", cacheTtl: cachedSeconds }));
    if (text === null) {
      return null;
    }
    if ((await sha256Hex(text)) !== address.digest) {
      throw new TypeError("the text is not the one its address names");
    }
    const snapshot = ConfigSnapshot.parse(JSON.parse(text));
    if (
      snapshot.workspace_id !== workspaceId ||
      snapshot.epoch !== address.epoch ||
      snapshot.version !== address.version
    ) {
      throw new TypeError("the snapshot is another one than its address says");
    }
    return { snapshot, text };
  } catch (error) {
    log("warn", "snapshot_not_read", {
      workspace_id: workspaceId,
      version: address.version,
      cause: describeError(error),
    });
    return null;
  }
}

/** Deletes every snapshot of a workspace, in whatever format this or an earlier release filed it. `before`: only those of lower versions. Throws when KV fails. */
export async function deleteSnapshots(
  kv: KVNamespace,
  workspaceId: string,
  before?: Pick<ConfigAddress, "epoch" | "version">,
): Promise<void> {
  for (let format = 1; format <= snapshotFormat; format += 1) {
    const prefix = `config/${format}/${workspaceId}/`;
    let cursor: string | null = null;
    do {
      const page: KVNamespaceListResult<unknown> = await kv.list({ prefix, limit: deletesPerPass, cursor });
      const old = page.keys.filter(({ name }) => before === undefined || isOlder(name.slice(prefix.length), before));
      await Promise.all(old.map(({ name }) => kv.delete(name)));
      cursor = page.list_complete ? null : page.cursor;
    } while (cursor !== null);
  }
}

/** A name of no form that this release knows counts as old: nobody reads it. */
function isOlder(name: string, than: Pick<ConfigAddress, "epoch" | "version">): boolean {
  const [epoch = Number.NaN, version = Number.NaN] = name.split(".").map(Number);
  return !(epoch > than.epoch || (epoch === than.epoch && version >= than.version));
}
