/** A letter as an Internet message (RFC 5322, RFC 2045 to 2047): pure ASCII with CRLF, both forms of the text, nothing that a name could add. */
import { utf8 } from "../base/bytes.js";
import type { Mailbox } from "../base/mail-settings.js";
import type { Letter } from "./letter.js";

/** RFC 2045 §6.7 and RFC 2047 §2: no encoded line is longer. */
const lineLength = 76;
/** What stands in one encoded word: with 12 characters of frame and 52 of base64 it fits behind the longest name here, `Subject: `. */
const wordBytes = 39;

/**
 * Writes the whole message. Everything but the date follows from the letter and its id, so a second copy has the same
 * `Message-ID` and mail programs show one. `at` is the time of sending.
 */
export function writeMessage(letter: Letter, from: Mailbox, letterId: string, at: number): string {
  // A quoted-printable text never holds "=_" (RFC 2045 §6.7), so no part can end early.
  const boundary = `=_${letterId}`;
  const headers = [
    `From: ${writeMailbox(from)}`,
    `To: <${letter.to}>`,
    `Subject: ${writeWords(letter.subject, lineLength - "Subject: ".length)}`,
    `Date: ${new Date(at).toUTCString().replace("GMT", "+0000")}`,
    `Message-ID: <${letterId}@${from.address.split("@").at(-1) ?? "localhost"}>`,
    "MIME-Version: 1.0",
    // RFC 3834 §5: out-of-office programs must not answer. Exchange wants it said in its own words.
    "Auto-Submitted: auto-generated",
    "X-Auto-Response-Suppress: All",
    `Content-Type: multipart/alternative;\r\n boundary="${boundary}"`,
  ];
  // The plainest first: readers show the last form that they know (RFC 2046 §5.1.4).
  const parts = [writePart(boundary, "text/plain", letter.text), writePart(boundary, "text/html", letter.html)];
  return `${headers.join("\r\n")}\r\n\r\n${parts.join("")}--${boundary}--\r\n`;
}

/** Whether an address can stand in a message and in SMTP's commands as it is. Others, such as `grün@example.com`, need extensions that few servers have. */
export function isPlainAddress(address: string): boolean {
  return address.length <= 254 && /^[!-~]+@[!-~]+$/.test(address) && !/[<>()[\]\\,;:"]/.test(address);
}

function writePart(boundary: string, type: string, text: string): string {
  const headers = [`Content-Type: ${type}; charset=utf-8`, "Content-Transfer-Encoding: quoted-printable"];
  return `--${boundary}\r\n${headers.join("\r\n")}\r\n\r\n${writeQuotedPrintable(text)}\r\n`;
}

/** The address stands on a line of its own, so that no name makes the line too long. */
function writeMailbox({ name, address }: Mailbox): string {
  const isPlain = /^[ -~]{1,60}$/.test(name) && !/["\\]|=\?/.test(name);
  return name === "" ? address : `${isPlain ? `"${name}"` : writeWords(name, 0)}\r\n <${address}>`;
}

/** Text for a header: as it is when it is plain and has at most `room` characters, else as encoded words, one a line. */
function writeWords(text: string, room: number): string {
  if (text.length <= room && /^[!-~](?:[ -~]*[!-~])?$/.test(text) && !text.includes("=?")) {
    return text;
  }
  const words: string[] = [];
  let word: number[] = [];
  // By code point: a word must not end inside one (RFC 2047 §5).
  for (const character of text) {
    const bytes = utf8(character);
    if (word.length + bytes.length > wordBytes) {
      words.push(writeWord(word));
      word = [];
    }
    word.push(...bytes);
  }
  return [...words, writeWord(word)].join("\r\n ");
}

function writeWord(bytes: readonly number[]): string {
  return `=?UTF-8?B?${btoa(String.fromCharCode(...bytes))}?=`;
}

/** RFC 2045 §6.7. Line ends of any kind become CRLF. */
function writeQuotedPrintable(text: string): string {
  return text
    .split(/\r\n|\r|\n/)
    .map((line) => foldQuoted(quoteBytes(utf8(line))))
    .join("\r\n");
}

/** A blank at a line's end is quoted too: servers on the way cut it off. */
function quoteBytes(line: Uint8Array): string[] {
  return Array.from(line, (byte, index) => {
    const isBlank = (byte === 0x20 || byte === 0x09) && index < line.length - 1;
    const isPlain = byte >= 0x21 && byte <= 0x7e && byte !== 0x3d;
    return isBlank || isPlain ? String.fromCharCode(byte) : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  });
}

/** Breaks a line softly where it grows too long, never inside a quoted byte. */
function foldQuoted(pieces: readonly string[]): string {
  let folded = "";
  let length = 0;
  for (const piece of pieces) {
    if (length + piece.length >= lineLength) {
      folded += "=\r\n";
      length = 0;
    }
    folded += piece;
    length += piece.length;
  }
  return folded;
}
