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

/**
 * Replaces secrets in a text that an upstream may have echoed them into, whatever their case: as they are, escaped for
 * JSON (also twice), URLs, forms and HTML, in hexadecimal, and in base64, also inside a longer base64 text. Where the
 * text was cut inside a secret, the part before the cut goes too. Secrets under 6 characters are left out: they would
 * match anything.
 */
export function redactSecrets(text: string, secrets: readonly Secret[]): string {
  const values = secrets.map((secret) => secret.reveal()).filter((value) => value.length >= shortest);
  // The longest first: else a secret that begins another one would leave the other's end standing.
  const forms = [...new Set(values.flatMap(echoesOf))].toSorted((a, b) => b.length - a.length);
  if (forms.length === 0) {
    return text;
  }
  const clean = text.replace(new RegExp(forms.map(escapePattern).join("|"), "gi"), redacted);
  const cut = Math.max(...forms.map((form) => cutLength(clean, form)));
  return cut === 0 ? clean : `${clean.slice(0, -cut)}${redacted}`;
}

const shortest = 6;
/** Shorter ends are left: a sentence may well end in `sk-proj-`. */
const shortestCut = 12;

/** The forms under which a secret is known to come back. */
function echoesOf(value: string): readonly string[] {
  const bytes = new TextEncoder().encode(value);
  const json = JSON.stringify(value).slice(1, -1);
  const url = encodeURIComponent(value.toWellFormed());
  const html = value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
  const texts = [
    value,
    json,
    json.replaceAll("/", "\\/"),
    JSON.stringify(json).slice(1, -1),
    json.replace(/[<>&]/g, escapeUnit),
    json.replace(/[^ -~]/g, escapeUnit),
    url,
    url.replaceAll("%20", "+"),
    html,
    html.replaceAll("'", "&#39;"),
    html.replaceAll("'", "&#x27;"),
    Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(""),
    ...[0, 1, 2].flatMap((offset) => base64At(offset, bytes)),
  ];
  return texts.filter((form) => form.length >= shortest);
}

/** JSON's long form of one UTF-16 unit: some writers use it for markup (Go) or for all that is not ASCII (Python). */
function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The base64 characters, in both alphabets, that these bytes alone decide when they stand at this offset (mod 3) of a longer text. */
function base64At(offset: number, bytes: Uint8Array): readonly string[] {
  const shifted =
    String.fromCharCode(...new Uint8Array(offset)) + Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const plain = btoa(shifted).slice(Math.ceil((offset * 8) / 6), Math.floor((shifted.length * 8) / 6));
  return [plain, plain.replaceAll("+", "-").replaceAll("/", "_")];
}

/** How many characters at the text's end are the beginning of a form that was cut off, or 0. */
function cutLength(text: string, form: string): number {
  const tail = text.slice(-(form.length - 1)).toLowerCase();
  const whole = form.toLowerCase();
  for (let start = 0; tail.length - start >= shortestCut; start += 1) {
    if (whole.startsWith(tail.slice(start))) {
      return tail.length - start;
    }
  }
  return 0;
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
