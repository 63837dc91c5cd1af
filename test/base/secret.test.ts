/** A secret is printed by nothing, and found in whatever shape it comes back. */
import { format, inspect } from "node:util";
import * as fc from "fast-check";
import { describe, it, vi } from "vitest";
import { maskSecret, redactSecrets, Secret } from "../../src/base/secret.js";
import { deep, seed } from "../support/deep.js";

const value = "sk-canary/+==&<'\"\\ü-0123456789";

describe("a Secret", () => {
  it("prints as [redacted] in every way that text is made of it", ({ expect }) => {
    const secret = new Secret(value);
    // oxlint-disable-next-line typescript/restrict-template-expressions -- the mistake that is to do no harm
    const template = `refused: ${secret}`;
    const error = new Error(template, { cause: secret });
    const prints = [
      String(secret),
      template,
      "refused: ".concat(secret as unknown as string),
      secret.toString(),
      String([secret]),
      secret.toLocaleString(),
      JSON.stringify(secret),
      JSON.stringify({ deep: [{ secret }] }),
      inspect(secret),
      inspect({ deep: { deep: { deep: { secret } } } }, { depth: null, showHidden: true }),
      inspect(error, { showHidden: true }),
      error.message,
      error.stack ?? "",
    ];
    for (const print of prints) {
      expect(print).toContain("[redacted]");
      expect(print).not.toContain("canary");
    }
  });

  it("is not seen by console.log, by walking it, or by copying it", ({ expect }) => {
    const secret = new Secret(value);
    const lines: string[] = [];
    const write = vi.spyOn(console, "log").mockImplementation((...args: unknown[]) => {
      lines.push(format(...args));
    });
    console.log("key", secret, { secret });
    write.mockRestore();
    expect(lines).toEqual(["key [redacted] { secret: [redacted] }"]);
    expect([Object.keys(secret), Reflect.ownKeys(secret), Object.assign({}, secret)]).toEqual([[], [], {}]);
    expect(JSON.stringify(structuredClone(secret)) ?? "").not.toContain("canary");
  });

  it("gives its value to reveal alone", ({ expect }) => {
    expect(new Secret(value).reveal()).toBe(value);
  });
});

describe("a mask", () => {
  it("shows at most a third of the secret, eight characters at most, and always eight dots", ({ expect }) => {
    const property = fc.property(fc.string({ maxLength: 200 }), (text) => {
      const [head = "", tail = ""] = maskSecret(text).split("••••••••");
      expect(text.startsWith(head) && text.endsWith(tail)).toBe(true);
      expect(head.length + tail.length).toBeLessThanOrEqual(Math.min(8, text.length / 3));
    });
    fc.assert(property, { numRuns: deep(200, 10_000), seed: seed() });
    expect(maskSecret("sk-proj-abcdefghijklmnopqrstuvwx")).toBe("sk-p••••••••uvwx");
  });
});

describe("redaction", () => {
  // Letters for case, and what each encoding must escape.
  const units = Array.from("abcXYZ019-_+/= &<>'\"\\\tüß漢");
  const echoes: Readonly<Record<string, (text: string) => string>> = {
    plain: (text) => text,
    "lower case": (text) => text.toLowerCase(),
    "upper case": (text) => text.toUpperCase(),
    JSON: json,
    "JSON in JSON": (text) => json(json(text)),
    "JSON with escaped slashes": (text) => json(text).replaceAll("/", "\\/"),
    "JSON as Go writes it": (text) =>
      json(text).replaceAll("&", "\\u0026").replaceAll("<", "\\u003c").replaceAll(">", "\\u003e"),
    "JSON in ASCII": (text) =>
      json(text).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
    URL: encodeURIComponent,
    "URL in lower case": (text) => encodeURIComponent(text).replace(/%../g, (hex) => hex.toLowerCase()),
    form: (text) => encodeURIComponent(text).replaceAll("%20", "+"),
    HTML: (text) =>
      text
        .replaceAll("&", "&amp;")
        .replaceAll("<", "&lt;")
        .replaceAll(">", "&gt;")
        .replaceAll('"', "&quot;")
        .replaceAll("'", "&#39;"),
    hexadecimal: (text) =>
      Array.from(new TextEncoder().encode(text), (byte) => byte.toString(16).padStart(2, "0")).join(""),
    base64,
    base64url: base64Url,
    "Basic authorization": (text) => `Basic ${base64(`user:${text}`)}`,
    "Basic authorization, password first": (text) => `Basic ${base64(`u:${text}:x`)}`,
    "a header in base64url": (text) => base64Url(`Bearer ${text}\n`),
  };

  for (const [form, echo] of Object.entries(echoes)) {
    it(`takes a secret out of a text that echoes it as ${form}`, ({ expect }) => {
      const anySecret = fc
        .tuple(fc.string({ minLength: 9, maxLength: 80, unit: fc.constantFrom(...units) }))
        .map(([text]) => `sk-${text}`);
      const property = fc.property(anySecret, (text) => {
        // Case folding of ß changes the length: such an echo is no longer the secret.
        fc.pre(text.toUpperCase().length === text.length);
        const clean = redactSecrets(`{"error":"bad key ${echo(text)}."}`, [new Secret(text)]);
        expect(clean).toContain("[redacted]");
        expect(holdsRunOf(clean, echo, text), `${text} in ${clean}`).toBe(false);
        expect(clean.startsWith('{"error":"bad key ') && clean.endsWith('."}')).toBe(true);
      });
      fc.assert(property, { numRuns: deep(60, 5_000), seed: seed() });
    });
  }

  it("takes out the longer of two secrets whole when one begins the other", ({ expect }) => {
    const secrets = [new Secret("sk-abcdefgh"), new Secret("sk-abcdefgh-ijklmnop")];
    expect(redactSecrets("x sk-abcdefgh-ijklmnop y sk-abcdefgh z", secrets)).toBe("x [redacted] y [redacted] z");
  });

  it("takes out the part of a secret before the place where the text was cut", ({ expect }) => {
    const secret = "sk-proj-abcdefghijklmnopqrstuvwxyz";
    for (let kept = 12; kept <= secret.length; kept += 1) {
      expect(redactSecrets(`key: ${secret.slice(0, kept)}`, [new Secret(secret)])).toBe("key: [redacted]");
    }
  });

  it("takes nothing else: other text stays to the letter, and so do a key's usual first characters", ({ expect }) => {
    const secret = new Secret("sk-proj-abcdefghijklmnopqrstuvwxyz");
    const text = "Incorrect API key provided: sk-proj-****wxyz. Keys begin with sk-proj-";
    expect(redactSecrets(text, [secret])).toBe(text);
    expect(redactSecrets(text, [])).toBe(text);
    expect(redactSecrets("a short one matches all", [new Secret("a"), new Secret("")])).toBe("a short one matches all");
  });

  it("reads the secret as text, not as a pattern", ({ expect }) => {
    expect(redactSecrets("x (a+)+[b]$^|. y", [new Secret("(a+)+[b]$^|.")])).toBe("x [redacted] y");
    expect(redactSecrets("aaaaaaaaaaaa", [new Secret("......")])).toBe("aaaaaaaaaaaa");
  });
});

function json(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function base64(text: string): string {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
}

function base64Url(text: string): string {
  return base64(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Whether 9 characters in a row of the echo are still there, but for those that stand around any secret. */
function holdsRunOf(clean: string, echo: (text: string) => string, secret: string): boolean {
  const around = echo("~".repeat(new TextEncoder().encode(secret).length));
  const whole = echo(secret);
  const runs = Array.from({ length: Math.max(0, whole.length - 8) }, (_, at) => whole.slice(at, at + 9));
  return runs.some((run) => clean.includes(run) && !around.includes(run));
}
