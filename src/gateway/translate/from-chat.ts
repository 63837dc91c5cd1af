/** Turns calls of chat into the other wire. */
import { AppError } from "../../base/errors.js";
import type { Translation, TranslationFacts } from "./contract.js";

/** Begins one call. Throws `untranslatable`. */
export function beginFromChat(_body: Uint8Array, _facts: TranslationFacts): Translation {
  throw new AppError("untranslatable");
}
