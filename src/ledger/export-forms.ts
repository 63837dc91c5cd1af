/** The forms of an exported row: a line of our own, of CSV, or an OCSF event. */
import type { AuditEntry } from "../audit/model.js";

/** A row with its place in the tree, null while it has none. */
export interface PlacedEntry {
  readonly index: number | null;
  /** Base64. */
  readonly leaf: string | null;
  readonly entry: AuditEntry;
}

/** One JSON value on a line. */
export function toLine(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

const columns: readonly (readonly [string, (placed: PlacedEntry) => unknown])[] = [
  ["seq", ({ entry }) => entry.seq],
  ["id", ({ entry }) => entry.id],
  ["time", ({ entry }) => entry.time],
  ["actor_type", ({ entry }) => entry.actor.type],
  ["actor_id", ({ entry }) => entry.actor.id],
  ["actor_name", ({ entry }) => entry.actor.name],
  ["action", ({ entry }) => entry.action],
  ["outcome", ({ entry }) => entry.outcome],
  ["targets", ({ entry }) => JSON.stringify(entry.targets)],
  ["before", ({ entry }) => (entry.before === null ? null : JSON.stringify(entry.before))],
  ["after", ({ entry }) => (entry.after === null ? null : JSON.stringify(entry.after))],
  ["request_id", ({ entry }) => entry.request_id],
  ["ip", ({ entry }) => entry.ip],
  ["index", ({ index }) => index],
  ["leaf", ({ leaf }) => leaf],
];

/** The head line of CSV (RFC 4180). */
export const csvHead = `${columns.map(([name]) => name).join(",")}\r\n`;

/** A row of CSV. */
export function toCsv(placed: PlacedEntry): string {
  return `${columns.map(([, read]) => toCell(read(placed))).join(",")}\r\n`;
}

/** What a spreadsheet would run as a formula gets an apostrophe before it. */
function toCell(value: unknown): string {
  const text = typeof value === "string" ? value : value === null ? "" : String(Number(value));
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const ocsfVersion = "1.3.0";
const activities: readonly (readonly [RegExp, number])[] = [
  [/(?:created|added|invited|made|started|joined|accepted|offered)$/, 1],
  [/(?:read|exported)$/, 2],
  [/(?:deleted|removed|revoked|purged|pruned)$/, 4],
];

/** An event of OCSF 1.3.0, class API Activity (6003). What it has no field for stands under `unmapped`. */
export function toOcsf({ entry, index, leaf }: PlacedEntry): string {
  const activity = activities.find(([pattern]) => pattern.test(entry.action))?.[1] ?? 3;
  const isDone = entry.outcome === "success";
  return toLine({
    class_uid: 6003,
    category_uid: 6,
    activity_id: activity,
    type_uid: 600_300 + activity,
    time: Date.parse(entry.time),
    severity_id: isDone ? 1 : 2,
    status_id: isDone ? 1 : 2,
    status_detail: entry.outcome,
    metadata: {
      version: ocsfVersion,
      product: { name: "Gatehouse", vendor_name: "Gatehouse" },
      uid: entry.id,
      sequence: entry.seq,
      event_code: entry.action,
    },
    actor: { user: { uid: entry.actor.id, name: entry.actor.name, type: entry.actor.type } },
    api: { operation: entry.action, request: { uid: entry.request_id } },
    src_endpoint: entry.ip === null ? { name: "gatehouse" } : { ip: entry.ip },
    resources: entry.targets.map(({ type, id }) => ({ type, uid: id })),
    unmapped: { before: entry.before, after: entry.after, index, leaf },
  });
}
