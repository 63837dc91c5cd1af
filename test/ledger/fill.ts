/** Audit rows by the thousand, written past the API. */
import { sql } from "drizzle-orm";
import { auditLog } from "../../src/audit/model.js";
import { newId } from "../../src/base/ids.js";
import { db } from "../support/seed.js";

/** Rows of a workspace a second apart, the first of them at `from` (epoch milliseconds). */
export async function fillLog(workspaceId: string, count: number, from = 1_790_000_000_000): Promise<void> {
  const mark = newId("audit");
  const perStatement = 5_000;
  for (let done = 0; done < count; done += perStatement) {
    const part = Math.min(perStatement, count - done);
    await db
      .insert(auditLog)
      .select(
        sql`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${part})
          SELECT NULL, ${mark} || '-' || (${done} + i), ${workspaceId}, ${from} + (${done} + i) * 1000, 'account', 'usr_' || (i % 7), 'Zoë "Z" ' || i,
            CASE i % 3 WHEN 0 THEN 'member.invited' WHEN 1 THEN 'key.created' ELSE 'pool.updated' END,
            json_array(json_object('type', 'thing', 'id', 'thing_' || (i % 11))), NULL, json_object('b', i, 'a', 'ü'), 'success', 'req_' || i, NULL, 'op'
          FROM n`,
      )
      .run();
  }
}
