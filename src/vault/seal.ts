/** Seals a secret to one place and one purpose: workspace, table, row, field, its own version, and the origin it may be sent to. Anywhere else it does not open. */
import { fromUtf8, utf8 } from "../base/bytes.js";
import { AppError } from "../base/errors.js";
import { Secret } from "../base/secret.js";
import type { DataKey } from "./data-keys.js";
import { envelopeKeyId, openEnvelope, type ReadEnvelope, readEnvelope, sealEnvelope } from "./envelope.js";

/** Where a sealed secret belongs. All of it is authenticated; none of it stands in the sealed text. */
export interface SealBinding {
  readonly workspaceId: string;
  readonly table: string;
  readonly row: string;
  readonly field: string;
  /** The secret's own version, a positive integer that only sealing moves. */
  readonly secretVersion: number;
  /** The origin the secret may be sent to, as `URL.origin` writes it; empty when it is sent nowhere. */
  readonly origin: string;
}

/** Seals a secret under its workspace's data key. Throws `TypeError` on a binding that is no place, `validation_failed` on text that is not Unicode. */
export async function sealSecret(dataKey: DataKey, binding: SealBinding, plain: Secret): Promise<string> {
  if (!isPlace(binding) || binding.workspaceId !== dataKey.workspaceId) {
    throw new TypeError("a secret is sealed to a full place in its data key's own workspace");
  }
  const text = plain.reveal();
  if (!text.isWellFormed()) {
    throw new AppError("validation_failed", { detail: "A secret holds half a Unicode character. Enter it again." });
  }
  const bytes = utf8(text);
  try {
    return await sealEnvelope(dataKey.sealing, dataKey.id, boundParts(binding), bytes);
  } finally {
    bytes.fill(0);
  }
}

/** A sealed secret that was read together with its place; opens without another look at either. Nothing in it is secret. */
export interface ReadSecret {
  readonly workspaceId: string;
  readonly envelope: ReadEnvelope;
}

/** Reads a sealed secret for its place and the data key it was sealed under. Throws `AppError` `undecryptable` when the text is none, or names another key. */
export function readSecret(
  dataKey: Pick<DataKey, "id" | "workspaceId">,
  binding: SealBinding,
  sealed: string,
): ReadSecret {
  const { workspaceId } = binding;
  if (!isPlace(binding) || workspaceId !== dataKey.workspaceId) {
    throw new AppError("undecryptable");
  }
  return { workspaceId, envelope: readEnvelope(dataKey.id, boundParts(binding), sealed) };
}

/** Opens what `readSecret` read. Throws `AppError` `undecryptable` when it was sealed with another key, or for another place. */
export async function openReadSecret(dataKey: DataKey, read: ReadSecret): Promise<Secret> {
  if (read.workspaceId !== dataKey.workspaceId || read.envelope.keyId !== dataKey.id) {
    throw new AppError("undecryptable");
  }
  const bytes = await openEnvelope(dataKey.sealing, read.envelope);
  try {
    return new Secret(fromUtf8(bytes));
  } finally {
    bytes.fill(0);
  }
}

/** Opens a sealed secret. Throws `AppError` `undecryptable` when text, data key or any part of the binding is not the one it was sealed with. */
export async function openSecret(dataKey: DataKey, binding: SealBinding, sealed: string): Promise<Secret> {
  return await openReadSecret(dataKey, readSecret(dataKey, binding, sealed));
}

/** The id of the data key a sealed secret names, or null when the text is no sealed secret. */
export function sealedUnder(sealed: string): string | null {
  return envelopeKeyId(sealed);
}

function isPlace(binding: SealBinding): boolean {
  const words = [binding.workspaceId, binding.table, binding.row, binding.field];
  const isVersion = Number.isSafeInteger(binding.secretVersion) && binding.secretVersion > 0;
  return isVersion && words.every((word) => word !== "" && word.isWellFormed()) && binding.origin.isWellFormed();
}

function boundParts(binding: SealBinding): readonly string[] {
  const { workspaceId, table, row, field, secretVersion, origin } = binding;
  return ["secret", workspaceId, table, row, field, String(secretVersion), origin];
}
