/** Webhooks in an export: where and of what they are told. Their secrets have no field here. */
import { and, asc, eq, gt } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { webhooks } from "../webhooks/model.js";
import { toWebhook } from "../webhooks/webhook-schema.js";

/** One row, with the place to go on from. */
interface WebhookExportRow {
  readonly cursor: string;
  readonly data: object;
}

/** Rows after an id, `limit` of them. `now` is epoch milliseconds. */
export async function readWebhooks(
  db: Database,
  workspaceId: string,
  after: string,
  limit: number,
  now: number,
): Promise<WebhookExportRow[]> {
  const isNext = and(eq(webhooks.workspaceId, workspaceId), gt(webhooks.id, after));
  const rows = await hideSql(db.select().from(webhooks).where(isNext).orderBy(asc(webhooks.id)).limit(limit).all());
  return rows.map((row) => ({ cursor: row.id, data: toWebhook(row, [], now) }));
}
