/** Stored idempotent answers that hold a secret are kept sealed, each to the claim it answers. They live 24 hours, so no change of KEYRING has to seal them anew. */
import { fromUtf8, utf8 } from "../base/bytes.js";
import { AppError } from "../base/errors.js";
import type { Keyring } from "../base/keyring.js";
import { keyringSubkey } from "./keyring.js";
import { envelopeKeyId, openEnvelope, readEnvelope, sealEnvelope } from "./envelope.js";

/** Seals an answer's text under an entry of the ring (`sealingEntry`). `context` names the claim (principal, method, path, key) and must be the same at opening. */
export async function sealAnswer(keyring: Keyring, entry: string, context: string, text: string): Promise<string> {
  const key = await keyringSubkey(keyring, entry, "answers");
  return await sealEnvelope(key, entry, ["answer", context], utf8(text));
}

/** Opens a stored answer. Throws `AppError` `keyring_entry_missing` (503) when this ring lacks the entry it names, else `undecryptable`. */
export async function openAnswer(keyring: Keyring, context: string, sealed: string): Promise<string> {
  const entry = envelopeKeyId(sealed);
  if (entry === null) {
    throw new AppError("undecryptable");
  }
  const key = await keyringSubkey(keyring, entry, "answers");
  return fromUtf8(await openEnvelope(key, readEnvelope(entry, ["answer", context], sealed)));
}
