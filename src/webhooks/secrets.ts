/** A webhook's signing secrets, as Standard Webhooks has them: made, sealed to their row, opened to sign. */
import { fromBase64Url, hmacSha256, randomBytes, utf8 } from "../base/bytes.js";
import { newId } from "../base/ids.js";
import { Secret } from "../base/secret.js";
import type { DataKey } from "../vault/data-keys.js";
import { openSecret, sealSecret, type SealBinding } from "../vault/seal.js";
import type { WebhookSecretRow } from "./model.js";

const prefix = "whsec_";
const secretBytes = 32;

/** Where a signing secret is sealed to. It is sent nowhere, so it has no origin. */
export function secretBinding(row: Pick<WebhookSecretRow, "workspaceId" | "id">): SealBinding {
  const { workspaceId, id } = row;
  return { workspaceId, table: "webhook_secrets", row: id, field: "secret", secretVersion: 1, origin: "" };
}

/** A secret with the row that keeps it. */
export async function makeSecret(
  dataKey: DataKey,
  webhookId: string,
  at: number,
): Promise<{ readonly row: WebhookSecretRow; readonly secret: Secret }> {
  const { workspaceId } = dataKey;
  const id = newId("webhookSecret");
  const secret = new Secret(`${prefix}${btoa(String.fromCharCode(...randomBytes(secretBytes)))}`);
  const sealed = await sealSecret(dataKey, secretBinding({ workspaceId, id }), secret);
  return { row: { id, workspaceId, webhookId, sealed, dataKeyId: dataKey.id, until: null, createdAt: at }, secret };
}

/** Opens a stored secret. Throws `AppError` `undecryptable`. */
export async function openWebhookSecret(dataKey: DataKey, row: WebhookSecretRow): Promise<Secret> {
  return await openSecret(dataKey, secretBinding(row), row.sealed);
}

/** The value of `webhook-signature`: one signature for each secret. `timestamp` is in seconds. */
export async function signMessage(
  secrets: readonly Secret[],
  id: string,
  timestamp: number,
  body: string,
): Promise<string> {
  const signed = utf8(`${id}.${timestamp}.${body}`);
  const signatures = secrets.map(async (secret) => {
    const text = secret.reveal().slice(prefix.length);
    const raw = fromBase64Url(text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")) ?? new Uint8Array();
    const mac = await hmacSha256(raw, signed);
    raw.fill(0);
    return `v1,${btoa(String.fromCharCode(...mac))}`;
  });
  return (await Promise.all(signatures)).join(" ");
}
