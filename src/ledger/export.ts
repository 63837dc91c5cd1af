/**
 * The log's export, read page by page as the client takes it. NDJSON carries what proves it: each row's place and leaf hash, the
 * checkpoint, and at its end a manifest and a signature over all that came before, so that a cut, a change or a gap is seen offline.
 */
import { toAuditEntry } from "../audit/model.js";
import type { AuditFilter } from "../audit/query-schema.js";
import { listOldest, type AuditRow } from "../audit/list.js";
import { toHex, utf8 } from "../base/bytes.js";
import type { Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { requireSettings } from "../base/settings.js";
import { csvHead, toCsv, toLine, toOcsf, type PlacedEntry } from "./export-forms.js";
import { ledgerFor } from "./ledger-for.js";
import type { KeptCheckpoint, LedgerApi } from "./ledger.do.js";
import { originOf, signText, toBase64, verifierKey } from "./note.js";
import { findTree, sealWorkspace, type TreeRow } from "./seal.js";
import { findTilesOf, foldHashes, nodeReader, tileReader, tileWidth } from "./tiles.js";
import { readPeaks, type Hash } from "./tree.js";

/** Forms of an export. */
export const exportFormats = ["ndjson", "csv", "ocsf"] as const;
export type ExportFormat = (typeof exportFormats)[number];

/** What is asked for. */
export interface ExportOrder {
  readonly workspaceId: string;
  readonly format: ExportFormat;
  readonly filter: AuditFilter;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** What a tree and its newest checkpoint were when the export began. */
interface Moment {
  readonly tree: TreeRow | null;
  readonly latest: KeptCheckpoint | null;
}

/** Two queries a page: the platform allows a request a thousand. */
const pageRows = 1_000;
/** Rows sealed for an export, so that it ends with them proved; what is beyond waits for the sealer. */
const rowsToSeal = 1_000;
const blockLevel = 8;

/** The export as bytes, read as fast as they are taken. A failure breaks the stream off and is logged. */
export function streamAuditLog(env: Env, db: Database, order: ExportOrder): ReadableStream<Uint8Array> {
  const pieces = order.format === "ndjson" ? writeProved(env, db, order) : writePlain(env, db, order);
  const source: UnderlyingSource<Uint8Array> = {
    async pull(controller) {
      try {
        const { done, value } = await pieces.next();
        if (done === true) {
          controller.close();
        } else {
          controller.enqueue(value);
        }
      } catch (error) {
        log("error", "audit_export_broken_off", { workspace_id: order.workspaceId, cause: describeError(error) });
        controller.error(error);
      }
    },
    async cancel() {
      await pieces.return();
    },
  };
  // Nothing is read ahead: the row that tells of this export is committed before the first byte is asked for, and stands in it.
  return new ReadableStream(source, { highWaterMark: 0 });
}

type Pieces = AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>;

async function* writePlain(env: Env, db: Database, order: ExportOrder): Pieces {
  const moment = await begin(env, db, order);
  if (order.format === "csv") {
    yield utf8(csvHead);
  }
  const write = order.format === "csv" ? toCsv : toOcsf;
  for await (const page of readPages(db, order, moment)) {
    yield utf8(page.map(write).join(""));
  }
}

async function* writeProved(env: Env, db: Database, order: ExportOrder): Pieces {
  const digest = new crypto.DigestStream("SHA-256");
  const writer = digest.getWriter();
  const { workspaceId } = order;
  const moment = await begin(env, db, order);
  const told = { entries: 0, sealed: 0 };
  const hashed = async (text: string): Promise<Uint8Array<ArrayBuffer>> => {
    const piece = utf8(text);
    await writer.write(piece);
    return piece;
  };
  yield await hashed(toLine(await describeHead(env, db, order, moment)));
  for await (const page of readPages(db, order, moment)) {
    told.entries += page.length;
    told.sealed += page.filter(({ index }) => index !== null).length;
    yield await hashed(page.map((placed) => toLine({ type: "entry", ...placed })).join(""));
  }
  yield await hashed(toLine(await describeEnd(db, order, moment, told)));
  await writer.close();
  const sha256 = toHex(new Uint8Array(await digest.digest));
  const signature = await signText(requireSettings(env), exportStatement(workspaceId, sha256));
  yield utf8(toLine({ type: "signature", sha256, signature }));
}

/** What the last line signs. It begins as no note does. */
function exportStatement(workspaceId: string, sha256: string): string {
  return `gatehouse.audit-export.v1\n${workspaceId}\n${sha256}\n`;
}

/** Has the newest rows sealed, as far as that is quick. An export never fails for it. */
async function begin(env: Env, db: Database, { workspaceId, now }: ExportOrder): Promise<Moment> {
  try {
    await sealWorkspace(env, db, workspaceId, now, rowsToSeal);
  } catch (error) {
    log("info", "sealing_left_to_cron", { workspace_id: workspaceId, cause: describeError(error) });
  }
  const ledger: LedgerApi = ledgerFor(env, workspaceId);
  const [tree, latest] = await Promise.all([findTree(db, workspaceId), ledger.latest()]);
  return { tree, latest };
}

async function describeHead(env: Env, db: Database, order: ExportOrder, { tree }: Moment): Promise<object> {
  const settings = requireSettings(env);
  const origin = originOf(settings, order.workspaceId);
  const pruned = tree?.prunedSize ?? 0;
  const peaks = await readPeaks(pruned, nodeReader(tileReader(db, order.workspaceId)));
  return {
    type: "header",
    format: 1,
    origin,
    workspace_id: order.workspaceId,
    exported_at: new Date(order.now).toISOString(),
    public_key: await verifierKey(settings, origin),
    filters: isFiltered(order.filter) ? order.filter : null,
    pruned:
      tree === null || tree.prunedNote === null
        ? null
        : { size: pruned, seq: tree.prunedSeq, note: tree.prunedNote, peaks: peaks.map(toBase64) },
  };
}

async function describeEnd(
  db: Database,
  { workspaceId, filter }: ExportOrder,
  { tree, latest }: Moment,
  told: { readonly entries: number; readonly sealed: number },
): Promise<object> {
  const first = (tree?.prunedSize ?? 0) / tileWidth;
  const blocks = isFiltered(filter) ? [] : await readBlocks(db, workspaceId, first, latest?.size ?? 0);
  return {
    type: "manifest",
    ...told,
    sealed_seq: tree?.sealedSeq ?? 0,
    checkpoint: latest?.note ?? null,
    blocks: blocks.map(toBase64),
  };
}

/** The hashes of each 256 leaves in turn, the last ones perhaps fewer: they say in which block a change is. */
async function readBlocks(db: Database, workspaceId: string, first: number, size: number): Promise<Hash[]> {
  const readTile = tileReader(db, workspaceId);
  const blocks: Hash[] = [];
  for (let block = first; block < Math.floor(size / tileWidth); block += 1) {
    blocks.push(await nodeReader(readTile)(blockLevel, block));
  }
  const rest = size % tileWidth;
  const last = rest === 0 ? null : await readTile(0, Math.floor(size / tileWidth));
  return last === null ? blocks : [...blocks, await foldHashes(last.hashes.slice(0, rest))];
}

async function* readPages(
  db: Database,
  { workspaceId, filter }: ExportOrder,
  { tree, latest }: Moment,
): AsyncGenerator<readonly PlacedEntry[], void, void> {
  const size = latest?.size ?? 0;
  // Where the next row is due; of a filtered export nobody knows.
  let due = isFiltered(filter) ? null : (tree?.prunedSize ?? 0);
  let after = 0;
  for (let isDone = false; !isDone;) {
    const rows: AuditRow[] = await listOldest(db, workspaceId, filter, after, pageRows);
    const places = await placesOf(
      db,
      workspaceId,
      rows.map(({ seq }) => seq),
    );
    const page = rows.map((row) => ({ ...placeOf(places, row.seq, size), entry: toAuditEntry(row) }));
    const first = page[0]?.index ?? null;
    if (due !== null && first !== null && first > due) {
      await refuseIfPruned(db, workspaceId, due);
    }
    due = due === null ? null : (page.findLast(({ index }) => index !== null)?.index ?? due - 1) + 1;
    after = rows.at(-1)?.seq ?? after;
    isDone = rows.length < pageRows;
    if (page.length > 0) {
      yield page;
    }
  }
}

/** Rows that went by the retention setting meanwhile would look like rows that somebody dropped: the export breaks off instead. */
async function refuseIfPruned(db: Database, workspaceId: string, due: number): Promise<void> {
  if (((await findTree(db, workspaceId))?.prunedSize ?? 0) > due) {
    throw new Error("rows were pruned while they were exported");
  }
}

interface Place {
  readonly index: number;
  readonly leaf: string;
}

/** The places of rows by their seq, as far as they have any. */
async function placesOf(db: Database, workspaceId: string, seqs: readonly number[]): Promise<Map<number, Place>> {
  const wanted = new Set(seqs);
  const places = new Map<number, Place>();
  for (const tile of await findTilesOf(db, workspaceId, seqs)) {
    for (const [at, seq] of tile.seqs.entries()) {
      const hash = tile.hashes[at];
      if (hash !== undefined && wanted.has(seq)) {
        places.set(seq, { index: tile.tile * tileWidth + at, leaf: toBase64(hash) });
      }
    }
  }
  return places;
}

/** Only what the checkpoint covers has a place: the rest can't be proved yet. */
function placeOf(places: ReadonlyMap<number, Place>, seq: number, size: number): Pick<PlacedEntry, "index" | "leaf"> {
  const place = places.get(seq);
  return place === undefined || place.index >= size ? { index: null, leaf: null } : place;
}

function isFiltered(filter: AuditFilter): boolean {
  return Object.values(filter).some((value) => value !== undefined);
}
