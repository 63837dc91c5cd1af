/** The Merkle tree over a workspace's audit log: how far it is, and its hashes in tiles. Neither holds anything a person wrote, and both outlive the workspace. */
import { sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";

/** What is wrong with a log. `rolled_back`: the Ledger knows of more, or of other rows, and nothing is signed until that is so no more; `row_lost`, `row_changed`, `row_slipped_in`: a sealed row is not what it was; `tree_changed`: its hashes are not. */
export const treeFaults = ["rolled_back", "tree_changed", "row_lost", "row_changed", "row_slipped_in"] as const;
export type TreeFault = (typeof treeFaults)[number];

/** One row a workspace, made by a trigger with its first audit row. */
export const auditTrees = sqliteTable(
  "audit_trees",
  {
    workspaceId: text("workspace_id").primaryKey(),
    /** The newest audit row, by a trigger. */
    newestSeq: integer("newest_seq").notNull(),
    /** Rows in the tree. Triggers hold that this and what follows never falls. */
    size: integer("size").notNull().default(0),
    /** The last row in the tree. */
    sealedSeq: integer("sealed_seq").notNull().default(0),
    /** Size of the last checkpoint that the Ledger has. */
    signedSize: integer("signed_size").notNull().default(0),
    /** When it grew, or could not, last; epoch milliseconds. */
    sealedAt: integer("sealed_at").notNull().default(0),
    /** Leaves whose rows are gone, a whole number of tiles, up to which row, and the signed note that says so. */
    prunedSize: integer("pruned_size").notNull().default(0),
    prunedSeq: integer("pruned_seq").notNull().default(0),
    prunedNote: text("pruned_note"),
    /** The leaf from which sealed rows are compared with the tree next. */
    comparedTo: integer("compared_to").notNull().default(0),
    /** When rows were compared, old ones pruned and mail looked after last. */
    caredAt: integer("cared_at").notNull().default(0),
    fault: text("fault", { enum: treeFaults }),
    faultSeq: integer("fault_seq"),
    faultAt: integer("fault_at"),
    /** When a checkpoint was last mailed. */
    mailedAt: integer("mailed_at").notNull().default(0),
    /** When a checkpoint was last posted to webhooks, and of what size. */
    postedAt: integer("posted_at").notNull().default(0),
    postedSize: integer("posted_size").notNull().default(0),
  },
  (table) => [
    index("audit_trees_open")
      .on(table.sealedAt)
      .where(sql`fault IS NULL AND (sealed_seq < newest_seq OR signed_size < size)`),
    index("audit_trees_cared").on(table.caredAt),
  ],
);

/** 256 hashes side by side, as in C2SP tlog-tiles: of leaves at level 0, of whole tiles of the level below at others. The last tile of a level may be shorter. */
export const auditTiles = sqliteTable(
  "audit_tiles",
  {
    workspaceId: text("workspace_id").notNull(),
    level: integer("level").notNull(),
    tile: integer("tile").notNull(),
    /** Base64. */
    hashes: text("hashes").notNull(),
    /** Level 0: the rows in order, as JSON. */
    seqs: text("seqs"),
    /** Level 0: the first of them. */
    firstSeq: integer("first_seq"),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.level, table.tile] }),
    index("audit_tiles_by_seq")
      .on(table.workspaceId, table.firstSeq)
      .where(sql`level = 0`),
  ],
);

const hash = z.string().describe("SHA-256 in base64.");

/** The newest signed tree head. */
export const AuditCheckpoint = z
  .object({
    origin: z.string(),
    size: z.number().int().describe("How many rows it covers, in order of `seq`."),
    root: hash,
    note: z.string().describe("The C2SP checkpoint: a signed note to keep elsewhere."),
    public_key: z.string().describe("The verifier key, `name+id+base64`, as signed notes have it."),
    signed_at: z.iso.datetime(),
    pending: z.number().int().min(0).describe("Rows that are not in the tree yet."),
    pruned: z
      .object({ size: z.number().int(), note: z.string() })
      .nullable()
      .describe("Rows gone by the retention setting, with the signed note of the tree of just those."),
    fault: z
      .object({ kind: z.enum(treeFaults), seq: z.number().int().nullable(), found_at: z.iso.datetime() })
      .nullable()
      .describe("What was found to be not as it was sealed; null when all is well."),
  })
  .openapi("AuditCheckpoint");
export type AuditCheckpoint = z.infer<typeof AuditCheckpoint>;

/** A proof. Hashes in the order of RFC 9162, sections 2.1.3 and 2.1.4. */
export const AuditProof = z
  .object({
    kind: z.enum(["inclusion", "consistency"]),
    size: z.number().int().describe("Of the tree that it leads to."),
    from: z.number().int().optional().describe("Consistency: of the tree that it begins with."),
    index: z.number().int().optional().describe("Inclusion: the leaf, from 0."),
    seq: z.number().int().optional().describe("Inclusion: the row."),
    leaf: hash.optional().describe("Inclusion: the row's leaf hash."),
    root: hash,
    hashes: z.array(hash),
  })
  .openapi("AuditProof");
export type AuditProof = z.infer<typeof AuditProof>;

const size = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** What a proof is asked by. */
export const ProofQuery = z.object({
  seq: size.optional().describe("Inclusion of this row."),
  index: size.optional().describe("Inclusion of this leaf, from 0."),
  size: size.optional().describe("The tree it is to be in; the newest checkpoint's when left out."),
  from: size.optional().describe("Consistency: the older tree's size."),
  to: size.optional().describe("Consistency: the younger tree's size; the newest checkpoint's when left out."),
});
export type ProofQuery = z.infer<typeof ProofQuery>;

/** The key that signs checkpoints and exports. */
export const CheckpointKey = z
  .object({ algorithm: z.literal("Ed25519"), public_key: z.string().describe("32 bytes in base64.") })
  .openapi("CheckpointKey");
