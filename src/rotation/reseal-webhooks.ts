/** Seals webhooks' signing secrets anew under the active data key. */
import { and, eq } from "drizzle-orm";
import type { Database, Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { log } from "../base/log.js";
import type { Secret } from "../base/secret.js";
import type { DataKey } from "../vault/data-keys.js";
import { sealSecret } from "../vault/seal.js";
import { planDisable } from "../webhooks/disable.js";
import { webhooks, webhookSecrets, type WebhookRow, type WebhookSecretRow } from "../webhooks/model.js";
import { openWebhookSecret, secretBinding } from "../webhooks/secrets.js";
import type { OpenKeys } from "./reseal.js";

/** A secret with its webhook. */
export interface WebhookSecret {
  readonly secret: WebhookSecretRow;
  readonly webhook: WebhookRow;
}

/** What is read to seal anew. */
export const webhookSecretColumns = { secret: webhookSecrets, webhook: webhooks };

/** The statements for one secret, which change it only if it is as it was read. One that does not open is dropped; where it is the present one, its webhook goes out with it. */
export async function planResealWebhook(
  db: Database,
  keys: OpenKeys,
  { secret, webhook }: WebhookSecret,
  at: number,
): Promise<Statement[]> {
  const old = keys.retired.get(secret.dataKeyId);
  if (old === undefined) {
    return [];
  }
  const isAsRead = and(eq(webhookSecrets.id, secret.id), eq(webhookSecrets.sealed, secret.sealed));
  const opened = await open(old, secret);
  if (opened === null) {
    log("error", "webhook_secret_undecryptable", { workspace_id: secret.workspaceId, webhook_id: secret.webhookId });
    const ends = secret.until === null ? planDisable(db, webhook, "undecryptable", at) : [];
    return [db.delete(webhookSecrets).where(isAsRead), ...ends];
  }
  const sealed = await sealSecret(keys.active, secretBinding(secret), opened);
  return [db.update(webhookSecrets).set({ sealed, dataKeyId: keys.active.id }).where(isAsRead)];
}

async function open(key: DataKey, secret: WebhookSecretRow): Promise<Secret | null> {
  try {
    return await openWebhookSecret(key, secret);
  } catch (error) {
    if (error instanceof AppError && error.code === "undecryptable") {
      return null;
    }
    throw error;
  }
}
