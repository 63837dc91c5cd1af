/** A workspace's vault on the wire: its data keys, and how far their change is. */
import { z } from "@hono/zod-openapi";
import { rotationStates, type dataKeyRotations, type dataKeys } from "../vault/model.js";

const VaultKey = z.object({
  id: z.string(),
  state: z
    .enum(["active", "retired"])
    .describe("`active` seals and opens; `retired` only opens, until it is destroyed."),
  keyring_id: z.string().describe("The entry of KEYRING that wraps it."),
  created_at: z.iso.datetime(),
});

export const VaultRotation = z
  .object({
    data_key_id: z.string().describe("The key that seals from this change on."),
    state: z
      .enum(rotationStates)
      .describe(
        "`re_encrypting`: secrets are being sealed anew. `waiting`: all are; calls under way may still hold the old key, which is destroyed " +
          "after `waiting_until`. `done`: the old key opens nothing any more.",
      ),
    total: z.number().int().describe("Secrets to seal anew."),
    done: z.number().int(),
    started_at: z.iso.datetime(),
    waiting_until: z.iso.datetime().nullable(),
    finished_at: z.iso.datetime().nullable(),
    last_error: z.string().nullable().describe("What stops it just now. It goes on by itself once that is mended."),
  })
  .openapi("VaultRotation");
export type VaultRotation = z.infer<typeof VaultRotation>;

export const Vault = z
  .object({ keys: z.array(VaultKey), rotation: VaultRotation.nullable().describe("The last change of data key.") })
  .openapi("Vault");
export type Vault = z.infer<typeof Vault>;

export type RotationRow = typeof dataKeyRotations.$inferSelect;
export type DataKeyRow = typeof dataKeys.$inferSelect;

/** The answer's view of a vault. `left`: secrets that still name a retired key. */
export function toVault(keys: readonly DataKeyRow[], row: RotationRow | undefined, left: number): Vault {
  return {
    keys: keys.map(({ id, state, keyringId, createdAt }) => {
      return { id, state, keyring_id: keyringId, created_at: new Date(createdAt).toISOString() };
    }),
    rotation: row === undefined ? null : toRotation(row, left),
  };
}

/** The answer's view of a change of data key. */
export function toRotation(row: RotationRow, left: number): VaultRotation {
  const { state, total, lastError } = row;
  return {
    data_key_id: row.dataKeyId,
    state,
    total,
    // What is deleted meanwhile is done; what comes in under the old key was not counted at the start.
    done: Math.max(0, total - left),
    started_at: new Date(row.startedAt).toISOString(),
    waiting_until: toTime(row.waitingUntil),
    finished_at: toTime(row.finishedAt),
    last_error: lastError,
  };
}

function toTime(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
