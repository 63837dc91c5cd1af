/**
 * A workspace's export: NDJSON, one row of one section a line, and a manifest as its last line. Read page by page as the
 * client takes it, so it needs the memory of one page whatever its size; without its manifest it is not whole.
 */
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { toHex, utf8 } from "../base/bytes.js";
import type { Change, Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { exportSections, isLastPage } from "./export-sections.js";

const format = 1;

/** What the manifest says of a section: SHA-256 (hex) of its lines as they stand in the export, each with its line feed. */
interface SectionSummary {
  readonly name: string;
  readonly count: number;
  readonly sha256: string;
}

/** Plans the audit row of an export; it is committed before the first byte is read. */
export function planExport(db: Database, workspaceId: string, actor: Actor): Change<undefined> {
  const told = auditRow(db, actor, {
    workspaceId,
    action: "workspace.exported",
    targets: [{ type: "workspace", id: workspaceId }],
  });
  return { statements: [told], value: undefined };
}

/** The export as bytes, read as fast as they are taken. A failure breaks the stream off and is logged. `now` is epoch milliseconds. */
export function streamExport(db: Database, workspaceId: string, now: number): ReadableStream<Uint8Array> {
  const pieces = writeExport(db, workspaceId, now);
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await pieces.next();
        if (done === true) {
          controller.close();
        } else {
          controller.enqueue(value);
        }
      } catch (error) {
        log("error", "export_broken_off", { workspace_id: workspaceId, cause: describeError(error) });
        controller.error(error);
      }
    },
    async cancel() {
      await pieces.return();
    },
  });
}

async function* writeExport(db: Database, workspaceId: string, now: number): AsyncGenerator<Uint8Array, void, void> {
  const summaries: SectionSummary[] = [];
  for (const section of exportSections(db, workspaceId, now)) {
    const hash = startHash();
    let count = 0;
    let after = "";
    for (let isDone = false; !isDone;) {
      const rows = await section.read(after);
      const piece = utf8(rows.map(({ data }) => toLine({ section: section.name, data })).join(""));
      count += rows.length;
      after = rows.at(-1)?.cursor ?? after;
      isDone = isLastPage(rows);
      if (piece.byteLength > 0) {
        await hash.add(piece);
        yield piece;
      }
    }
    summaries.push({ name: section.name, count, sha256: await hash.end() });
  }
  const exportedAt = new Date(now).toISOString();
  yield utf8(
    toLine({ section: "manifest", format, workspace_id: workspaceId, exported_at: exportedAt, sections: summaries }),
  );
}

function toLine(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

/** SHA-256 of bytes that come piece by piece. */
function startHash(): { add(piece: Uint8Array): Promise<void>; end(): Promise<string> } {
  const digest = new crypto.DigestStream("SHA-256");
  const writer = digest.getWriter();
  return {
    add: (piece) => writer.write(piece),
    async end() {
      await writer.close();
      return toHex(new Uint8Array(await digest.digest));
    },
  };
}
