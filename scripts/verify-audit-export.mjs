/**
 * What verify-audit checks: that no row of an export was changed, dropped, inserted, reordered or cut off since it was sealed. It shares no
 * code with the service on purpose: docs/audit.md is what both go by.
 */
import { verify } from "node:crypto";
import {
  canonicalJson,
  countOf,
  Growing,
  openNote,
  placesOf,
  readHash,
  readKey,
  sha256,
  tidy,
  withoutEmptyEnd,
  zero,
} from "./verify-audit-tree.mjs";

const width = 256;

/** @typedef {{ line?: number, seq?: number, kind: string, detail: string }} Finding */
/** @typedef {import("./verify-audit-tree.mjs").Head} Head */

/** @param {string} line @returns {Record<string, any> | null} */
function parse(line) {
  try {
    const value = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : null;
  } catch {
    return null;
  }
}

/**
 * Says what is wrong with an export.
 * @param {Uint8Array} given the export
 * @param {{ key?: string | undefined, checkpoints?: readonly string[] }} options
 * @returns {{ ok: boolean, proved: boolean, findings: Finding[], warnings: string[], rows: number, size: number | null, root: string | null }}
 */
export function verifyExport(given, options = {}) {
  const bytes = withoutEmptyEnd(Buffer.from(given));
  const lines = bytes.toString("utf8").split("\n");
  /** @type {Finding[]} */
  const findings = [];
  /** @type {string[]} */
  const warnings = [];
  if (bytes.length < given.length) {
    warnings.push("Empty lines after the last one were left out: they are no part of the export.");
  }
  /** @param {string} kind @param {string} detail @param {number} [line] @param {number} [seq] */
  const find = (kind, detail, line, seq) =>
    void findings.push({
      kind,
      detail,
      ...(line === undefined ? {} : { line }),
      ...(seq === undefined ? {} : { seq }),
    });
  const end = () => ({ ok: findings.length === 0, proved: false, findings, warnings, rows: 0, size: null, root: null });
  const header = parse(lines[0] ?? "");
  if (header?.["type"] !== "header" || header["format"] !== 1) {
    find(
      "header",
      "The first line is no header: it was changed or cut off, or the export is not one with format=ndjson.",
      1,
    );
    return end();
  }
  if (options.key === undefined) {
    warnings.push(
      "No --key given: the key inside the export is believed. Compare it with the one that you noted down.",
    );
  }
  const key = readKey(options.key ?? String(header["public_key"]));
  const isWhole = checkEnd(bytes, lines, header, key, find);
  const manifest = parse(lines.at(-3) ?? "");
  const body = readBody(lines, header, find);
  const head = manifest?.["type"] === "manifest" && isWhole !== "cut" ? manifest : null;
  return judge({ header, manifest: head, body, key, options, find, findings, warnings });
}

/**
 * The last line signs every byte before it.
 * @param {Buffer} bytes @param {string[]} lines @param {Record<string, any>} header @param {ReturnType<typeof readKey>} key
 * @param {(kind: string, detail: string, line?: number) => void} find
 * @returns {"whole" | "changed" | "cut"}
 */
function checkEnd(bytes, lines, header, key, find) {
  const last = lines.at(-2) ?? "";
  const told = lines.at(-1) === "" ? parse(last) : null;
  if (told?.["type"] !== "signature") {
    find(
      "truncated",
      `The export ends after line ${lines.length - (lines.at(-1) === "" ? 1 : 0)} without its signature: it was cut off there.`,
    );
    return "cut";
  }
  const signed = bytes.subarray(0, bytes.length - Buffer.byteLength(last) - 1);
  const digest = sha256(signed).toString("hex");
  const statement = `gatehouse.audit-export.v1\n${header["workspace_id"]}\n${told["sha256"]}\n`;
  const signature = Buffer.from(String(told["signature"]), "base64");
  const isSigned = signature.length === 64 && verify(null, Buffer.from(statement), key.key, signature);
  const isExact =
    JSON.stringify({ type: "signature", sha256: told["sha256"], signature: signature.toString("base64") }) === last;
  if (!isSigned || !isExact) {
    find("signature", "The last line is not what the service signed.", lines.length - 1);
  }
  if (digest !== told["sha256"]) {
    find("bytes", "The bytes before the last line are not the ones that were signed.");
  }
  return isSigned && isExact && digest === told["sha256"] ? "whole" : "changed";
}

/** @typedef {{ line: number, seq: number, index: number | null, told: ReturnType<typeof readHash>, leaf: ReturnType<typeof sha256> }} Row */

/**
 * The rows as they stand, each with the leaf hash that it has and the one that it says it has.
 * @param {string[]} lines @param {Record<string, any>} header
 * @param {(kind: string, detail: string, line?: number, seq?: number) => void} find
 */
function readBody(lines, header, find) {
  /** @type {Row[]} */
  const rows = [];
  const isEnded = lines.at(-1) === "" && parse(lines.at(-2) ?? "")?.["type"] === "signature";
  const last = isEnded ? lines.length - 3 : lines.length - (lines.at(-1) === "" ? 1 : 0);
  for (let at = 1; at < last; at += 1) {
    const value = parse(lines[at] ?? "");
    const entry = value?.["entry"];
    if (value?.["type"] === "manifest") {
      continue;
    }
    if (value?.["type"] !== "entry" || typeof entry !== "object" || entry === null || typeof entry.seq !== "number") {
      find("unreadable", "This line is no row.", at + 1);
      continue;
    }
    const leaf = sha256(zero, canonicalJson({ ...entry, workspace_id: header["workspace_id"] }));
    const index = Number.isSafeInteger(value["index"]) ? value["index"] : null;
    rows.push({ line: at + 1, seq: entry.seq, index, told: readHash(value["leaf"]), leaf });
  }
  return rows;
}

/**
 * @param {{ header: Record<string, any>, manifest: Record<string, any> | null, body: Row[], key: ReturnType<typeof readKey>,
 *   options: { checkpoints?: readonly string[] }, find: (kind: string, detail: string, line?: number, seq?: number) => void,
 *   findings: Finding[], warnings: string[] }} given
 */
function judge({ header, manifest, body, key, options, find, findings, warnings }) {
  const kept = (options.checkpoints ?? []).map((note, at) => openNote(tidy(note), key, `Checkpoint ${at + 1}`));
  const start = readPruned(header, key, find);
  const isFiltered = header["filters"] !== null;
  const sealed = findPlaces(body, start.size, isFiltered, manifest, find);
  for (const row of sealed) {
    if (row.told !== null && !row.told.equals(row.leaf)) {
      find("changed", "The row is not what was sealed.", row.line, row.seq);
    }
  }
  const note = manifest?.["checkpoint"];
  /** @type {Head | null} */
  let head = null;
  try {
    head = note === null || note === undefined ? null : openNote(note, key, "The manifest's checkpoint");
  } catch (error) {
    find("checkpoint", error instanceof Error ? error.message : "The checkpoint cannot be read.");
  }
  if (head !== null && head.origin !== header["origin"]) {
    find("checkpoint", `The checkpoint is of ${head.origin}, the export of ${header["origin"]}.`);
  }
  if (manifest !== null && manifest["entries"] !== body.length) {
    find("count", `The manifest counts ${countOf(manifest["entries"], "row")}, the export has ${body.length}.`);
  }
  const stray = sealed.find(({ index }) => index !== null && index >= (head?.size ?? 0));
  if (manifest !== null && stray !== undefined) {
    find(
      "inserted",
      `The checkpoint covers ${countOf(head?.size ?? 0, "row")}, not the row's place.`,
      stray.line,
      stray.seq,
    );
  }
  const unsealed = body.length - sealed.length;
  if (unsealed > 0) {
    warnings.push(
      `${countOf(unsealed, "row")} at the end not sealed yet: the export's own signature alone speaks for that.`,
    );
  }
  if (isFiltered) {
    warnings.push(
      "The export is filtered: rows that are missing can't be seen, and no root speaks for those that are here.",
    );
  } else {
    checkRoots({ start, sealed, head, kept, manifest, origin: header["origin"], find });
  }
  const proved = !isFiltered && head !== null && sealed.length > 0;
  const root = head === null ? null : head.root.toString("base64");
  return { ok: findings.length === 0, proved, findings, warnings, rows: body.length, size: head?.size ?? null, root };
}

/**
 * What is gone by the retention setting, as a signed note says it.
 * @param {Record<string, any>} header @param {ReturnType<typeof readKey>} key @param {(kind: string, detail: string) => void} find
 */
function readPruned(header, key, find) {
  const tree = new Growing();
  const pruned = header["pruned"];
  if (pruned === null || typeof pruned !== "object") {
    return tree;
  }
  try {
    const head = openNote(pruned.note, key, "The statement of what was pruned");
    let rest = head.size;
    for (const text of Array.isArray(pruned.peaks) ? pruned.peaks : []) {
      const hash = readHash(text);
      const size = 2 ** Math.floor(Math.log2(rest));
      if (hash === null || rest <= 0) {
        break;
      }
      tree.add(hash, size);
      rest -= size;
    }
    const isSaid = head.extensions.some((line) => line.startsWith("pruned "));
    if (
      rest !== 0 ||
      !tree.root().equals(head.root) ||
      head.size !== pruned.size ||
      !isSaid ||
      head.origin !== header["origin"]
    ) {
      find("pruned", "What the header says of pruned rows is not what was signed.");
    }
  } catch (error) {
    find("pruned", error instanceof Error ? error.message : "The statement of pruned rows cannot be read.");
  }
  return tree;
}

/**
 * The rows that say they have a place, in the order of the file; gaps, twins and strangers are found here.
 * @param {Row[]} body @param {number} first @param {boolean} isFiltered @param {Record<string, any> | null} manifest
 * @param {(kind: string, detail: string, line?: number, seq?: number) => void} find
 */
function findPlaces(body, first, isFiltered, manifest, find) {
  const sealed = body.filter(({ index, told }) => index !== null && told !== null);
  const lastSealed = sealed.at(-1);
  let expected = first;
  let seq = -1;
  for (const row of body) {
    const isSealed = row.index !== null && row.told !== null;
    if (!isSealed && (row.index !== null || row.told !== null)) {
      find("inserted", "The row has half a place in the tree.", row.line, row.seq);
    } else if (
      !isSealed &&
      ((lastSealed !== undefined && row.line < lastSealed.line) ||
        (row.seq <= (manifest?.["sealed_seq"] ?? -1) && row.seq < (lastSealed?.seq ?? -1)))
    ) {
      find("inserted", "The row stands among sealed ones and was never sealed.", row.line, row.seq);
    }
    if (isSealed && row.index !== null) {
      if (!isFiltered && row.index > expected) {
        find(
          "dropped",
          `${countOf(row.index - expected, "row")} missing before this one: ${placesOf(expected, row.index - 1)}.`,
          row.line,
          row.seq,
        );
      } else if (row.index < expected) {
        find(
          "reordered",
          `The row has place ${row.index}, where place ${expected} is due: it was moved or put in twice.`,
          row.line,
          row.seq,
        );
      }
      expected = row.index + 1;
    }
    if (row.seq <= seq) {
      find("reordered", `The row's seq does not follow ${seq}.`, row.line, row.seq);
    }
    seq = row.seq;
  }
  return sealed;
}

/**
 * @param {{ start: Growing, sealed: Row[], head: Head | null, kept: Head[], manifest: Record<string, any> | null, origin: string,
 *   find: (kind: string, detail: string, line?: number, seq?: number) => void }} given
 */
function checkRoots({ start, sealed, head, kept, manifest, origin, find }) {
  const from = start.size;
  const size = head?.size ?? 0;
  if (head !== null && from + sealed.length < size) {
    find("truncated", `The checkpoint covers ${countOf(size, "row")}; the export ends after ${from + sealed.length}.`);
  }
  const known = new Set(kept);
  /** @type {Buffer[]} */
  const blocks = [];
  const tree = start;
  const meet = () => {
    // Two kept checkpoints of one size may disagree: each is compared.
    for (const older of kept.filter((note) => note.size === tree.size)) {
      if (!older.root.equals(tree.root())) {
        find("history", `The first ${countOf(tree.size, "row")} are not what the kept checkpoint covers.`);
      }
      known.delete(older);
    }
  };
  meet();
  let block = new Growing();
  for (const { leaf } of sealed.slice(0, Math.max(0, size - from))) {
    tree.add(leaf);
    block.add(leaf);
    if (tree.size % width === 0) {
      blocks.push(block.root());
      block = new Growing();
    }
    meet();
  }
  if (block.size > 0) {
    blocks.push(block.root());
  }
  tellUnmet({ known, kept, from, origin, find });
  if (head !== null && !tree.root().equals(head.root)) {
    find("root", "The rows do not make the root that was signed.");
    nameBlocks(blocks, manifest, from, sealed, find);
  } else if (head !== null && manifest !== null) {
    const told = Array.isArray(manifest["blocks"]) ? manifest["blocks"] : [];
    if (told.length !== blocks.length || blocks.some((hash, at) => hash.toString("base64") !== told[at])) {
      find("manifest", "The manifest's list of blocks is not what the rows make.");
    }
  }
}

/**
 * Kept checkpoints that nothing could be compared with.
 * @param {{ known: Set<Head>, kept: Head[], from: number, origin: string, find: (kind: string, detail: string) => void }} given
 */
function tellUnmet({ known, kept, from, origin, find }) {
  for (const older of known) {
    const why =
      older.size < from
        ? "it is older than the rows that are left; ask for a consistency proof"
        : "the export ends before";
    find("history", `The kept checkpoint of ${countOf(older.size, "row")} cannot be compared: ${why}.`);
  }
  for (const older of kept.filter((note) => note.origin !== origin)) {
    find("history", `The kept checkpoint is of ${older.origin}.`);
  }
}

/** @param {Buffer[]} blocks @param {Record<string, any> | null} manifest @param {number} first @param {Row[]} sealed
 * @param {(kind: string, detail: string, line?: number, seq?: number) => void} find */
function nameBlocks(blocks, manifest, first, sealed, find) {
  const told = Array.isArray(manifest?.["blocks"]) ? manifest["blocks"] : [];
  const at = told.findIndex((text, place) => blocks[place]?.toString("base64") !== text);
  if (at === -1) {
    return;
  }
  const rows = sealed.slice(at * width, (at + 1) * width);
  find(
    "block",
    `The first difference is among ${placesOf(first + at * width, first + at * width + width - 1)}` +
      (rows.length === 0
        ? "."
        : ` (lines ${rows[0]?.line} to ${rows.at(-1)?.line}, seq ${rows[0]?.seq} to ${rows.at(-1)?.seq}).`),
  );
}
