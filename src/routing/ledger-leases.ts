/** What the first shard has leased out, on disk before the answer that leases it: forgotten, it could be leased twice. */
import { z } from "zod";
import { parseText } from "./ledger-rows.js";
import type { Account, Lender } from "./lender.js";

/** The table of this file. */
export const leaseTables = `
  CREATE TABLE IF NOT EXISTS leases (shard TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
`;

const Spans = z.object({ day: z.number(), month: z.number() });
const Lents = z.array(z.object({ amount: z.number(), until: z.number() }));

const StoredAccount = z.object({
  incarnation: z.string(),
  seq: z.number(),
  spans: Spans,
  ceilings: z.object({ concurrent: z.number(), day: z.number(), month: z.number() }),
  spent: Spans,
  lost: Spans,
  running: Lents,
  rates: z.object({ rpm: Lents, tpm: Lents }),
});

/** Writes one shard's account. */
export function writeAccount(sql: SqlStorage, shard: string, account: Account): void {
  sql.exec("INSERT OR REPLACE INTO leases (shard, body) VALUES (?, ?)", shard, JSON.stringify(account));
}

/** Reads every account back. One that can't be read is left out. */
export function loadLender(sql: SqlStorage, lender: Lender): void {
  for (const { body, shard } of sql.exec<{ shard: string; body: string }>("SELECT * FROM leases")) {
    const account = StoredAccount.safeParse(parseText(body)).data;
    if (account !== undefined) {
      lender.set(shard, account);
    }
  }
}
