/** A secret in memory: any way of printing it gives `[redacted]`; only `reveal` gives the value. */

const redacted = "[redacted]";

/** Wraps a secret text. String, JSON, template and inspect forms are all `[redacted]`. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The plaintext. Call it only in the frame that uses it, and let the result go. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return redacted;
  }

  toJSON(): string {
    return redacted;
  }

  [Symbol.toPrimitive](): string {
    return redacted;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return redacted;
  }
}

/** A fixed-width mask to store beside the ciphertext: at most 4 leading and 4 trailing characters, never over a third of the secret. */
export function maskSecret(value: string): string {
  const shown = Math.min(4, Math.floor(value.length / 6));
  return `${value.slice(0, shown)}••••••••${shown === 0 ? "" : value.slice(-shown)}`;
}

/** Replaces every occurrence of the given secrets in a text, for error bodies that an upstream may echo. Secrets under 6 characters are left out: they would match anything. */
export function redactSecrets(text: string, secrets: readonly Secret[]): string {
  let clean = text;
  for (const secret of secrets) {
    const value = secret.reveal();
    if (value.length >= 6) {
      clean = clean.replaceAll(value, redacted).replaceAll(encodeURIComponent(value), redacted);
    }
  }
  return clean;
}
