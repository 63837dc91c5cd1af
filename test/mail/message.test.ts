import * as fc from "fast-check";
import { describe, it } from "vitest";
import { isPlainAddress, writeMessage } from "../../src/mail/message.js";
import { deep, seed } from "../support/deep.js";

const from = { name: "", address: "no-reply@gatehouse.example" };
const at = Date.UTC(2026, 10, 22, 7, 5, 9);

function write(more: { subject?: string; text?: string; html?: string }, sender = from): string {
  return writeMessage({ to: "ada@example.com", subject: "Hi", text: "t", html: "h", ...more }, sender, "mail_1", at);
}

/** Header fields by name, unfolded. */
function headersOf(message: string): Readonly<Record<string, string>> {
  const [head = ""] = message.split("\r\n\r\n");
  return Object.fromEntries(
    head
      .replaceAll("\r\n ", " ")
      .split("\r\n")
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
  );
}

/** Encoded words read as RFC 2047 says, blanks between them left out. */
function decodeWords(value: string): string {
  const joined = value.replace(/\?= (?==\?)/g, "?=");
  return joined.replace(/=\?UTF-8\?B\?([^?]*)\?=/g, (_, base64: string) => fromBytes(atob(base64)));
}

/** The text of the n-th part. A boundary is a line of its own, so a subject that holds its words is none (RFC 2046 §5.1.1). */
function partOf(message: string, n: number): string {
  const part = message.split("\r\n--=_mail_1\r\n")[n] ?? "";
  const body = part.slice(part.indexOf("\r\n\r\n") + 4).replace(/\r\n--=_mail_1--\r\n$/, "");
  return fromBytes(
    body
      .replaceAll("=\r\n", "")
      .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
  );
}

function withCrLf(text: string): string {
  return text.replace(/\r\n|\r|\n/g, "\r\n");
}

function fromBytes(binary: string): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
    Uint8Array.from(binary, (char) => char.charCodeAt(0)),
  );
}

describe("a message", () => {
  it("names sender, receiver, time and itself, and asks no program for an answer", ({ expect }) => {
    expect(headersOf(write({}))).toEqual({
      From: "no-reply@gatehouse.example",
      To: "<ada@example.com>",
      Subject: "Hi",
      Date: "Sun, 22 Nov 2026 07:05:09 +0000",
      "Message-ID": "<mail_1@gatehouse.example>",
      "MIME-Version": "1.0",
      "Auto-Submitted": "auto-generated",
      "X-Auto-Response-Suppress": "All",
      "Content-Type": 'multipart/alternative; boundary="=_mail_1"',
    });
    const plain = headersOf(write({}, { name: "Gate, Inc.", address: "b@x.example" }));
    expect(plain["From"]).toBe('"Gate, Inc." <b@x.example>');
    const named = headersOf(write({}, { name: "Büro, Inc.", address: "b@x.example" }));
    expect(decodeWords(named["From"] ?? "")).toBe("Büro, Inc. <b@x.example>");
  });

  it("holds any text unharmed, in short lines of printable ASCII, and no text adds a header or a part", ({
    expect,
  }) => {
    const pieces = fc.constantFrom(
      "\r\n",
      "\n",
      "\r",
      "=_mail_1",
      "--=_mail_1--",
      ".",
      " ",
      "\t",
      "=",
      "Bcc: a@b.c",
      "🏠",
      "门",
    );
    const text = fc
      .array(fc.oneof(pieces, fc.string({ unit: "grapheme" })), { maxLength: 60 })
      .map((all) => all.join(""));
    const subject = text.filter((one) => one.isWellFormed() && one !== "");
    fc.assert(
      fc.property(subject, subject, subject, (given, plain, html) => {
        const message = write({ subject: given, text: plain, html });
        expect(message.split("\r\n").filter((line) => !/^[\t -~]{0,78}$/.test(line))).toEqual([]);
        expect(message).not.toMatch(/[ \t]\r\n/);
        expect(Object.keys(headersOf(message))).toHaveLength(9);
        expect(decodeWords(headersOf(message)["Subject"] ?? "")).toBe(given);
        expect([partOf(message, 1), partOf(message, 2)]).toEqual([withCrLf(plain), withCrLf(html)]);
      }),
      { numRuns: deep(200, 20_000), seed: seed() },
    );
  });

  it("is the same at every attempt but for its date", ({ expect }) => {
    const again = writeMessage(
      { to: "ada@example.com", subject: "Hi", text: "t", html: "h" },
      from,
      "mail_1",
      at + 1000,
    );
    expect(again.replace("07:05:10", "07:05:09")).toBe(write({}));
  });
});

describe("an address", () => {
  it("is plain when no mail server could misread it", ({ expect }) => {
    for (const address of ["ada@example.com", "a.b+c@x-y.example", "o'neil@example.com"]) {
      expect([address, isPlainAddress(address)]).toEqual([address, true]);
    }
    for (const address of [
      "",
      "ada",
      "a b@x.example",
      "a@x.example>",
      'a"b@x.example',
      "a@x\r\ny",
      "ü@x.example",
      "a,b@x",
    ]) {
      expect([address, isPlainAddress(address)]).toEqual([address, false]);
    }
  });
});
