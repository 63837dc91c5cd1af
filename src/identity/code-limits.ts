/** How often codes may be asked for and tried. What one place may do to one address is small; the ceilings over all places are far off, and never stop a place that has signed in there. */
import { lt, sql, type SQL } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { commit, hideSql, type Database, type Statement } from "../base/database.js";
import { networkOf } from "./code.js";
import { codeNetworks, emailCodes, type CodePurpose } from "./model.js";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** How long a place is known to an address after a code of its came back right. */
const knownMs = 90 * dayMs;

/** Tries of one code. */
export const triesPerCode = 5;

/**
 * Tries a day of all of an address's codes: of those that one network asked for, and of all. 1,000 guesses at eight digits
 * hit once in 100,000 days, and filling them takes forty networks; 25 lock nobody out but who shares the guesser's network.
 */
export const triesPerDay = { pair: 25, address: 1000 } as const;

/** Codes an hour: by one network for one address, for one address by all networks, by one network for all addresses (an office behind one address). */
export const asksPerHour = { pair: 5, address: 200, network: 1000 } as const;

/** Whether this place may ask again for this address now, as a condition. */
export function mayAsk(actor: Actor, purpose: CodePurpose, email: string): SQL {
  const network = networkOf(actor.ip);
  const count = (where: SQL): SQL =>
    sql`(SELECT count(*) FROM email_codes WHERE ${where} AND purpose = ${purpose} AND created_at > ${actor.at - hourMs})`;
  const { pair, address, network: place } = asksPerHour;
  return sql`${count(sql`email = ${email} AND network = ${network}`)} < ${pair} AND (${isKnown(sql`${email}`, sql`${network}`, actor.at)}
    OR (${count(sql`email = ${email}`)} < ${address} AND ${count(sql`network = ${network}`)} < ${place}))`;
}

/** Whether the row of `email_codes` may be tried once more today, as a condition on it. A try counts for the place that asked, wherever it comes from: only that place has the handle. */
export function mayTry(now: number): SQL {
  const tried = (where: SQL): SQL =>
    sql`(SELECT coalesce(sum(c.tries), 0) FROM email_codes AS c
      WHERE c.email = email_codes.email AND c.purpose = email_codes.purpose AND ${where} c.created_at > ${now - dayMs})`;
  const { pair, address } = triesPerDay;
  return sql`${tried(sql`c.network = email_codes.network AND`)} < ${pair}
    AND (${isKnown(sql`email_codes.email`, sql`email_codes.network`, now)} OR ${tried(sql``)} < ${address})`;
}

function isKnown(email: SQL, network: SQL, now: number): SQL {
  return sql`EXISTS (SELECT 1 FROM code_networks AS k WHERE k.email = ${email} AND k.network = ${network} AND k.seen_at > ${now - knownMs})`;
}

/** Remembers that a code this place asked for came back right, in the batch that uses it. */
export function rememberNetwork(db: Database, email: string, network: string, now: number): Statement {
  return db
    .insert(codeNetworks)
    .values({ email, network, seenAt: now })
    .onConflictDoUpdate({ target: [codeNetworks.email, codeNetworks.network], set: { seenAt: now } });
}

/** How long until this place may ask again for this address, in ms: when the ask that fills its limit is an hour old. */
export async function askAgainMs(
  db: Database,
  purpose: CodePurpose,
  email: string,
  ip: string | null,
  now: number,
): Promise<number> {
  const network = networkOf(ip);
  const filling = (where: SQL, limit: number): SQL =>
    sql`coalesce((SELECT created_at FROM email_codes WHERE ${where} AND purpose = ${purpose} ORDER BY created_at DESC LIMIT 1 OFFSET ${limit - 1}), 0)`;
  const { pair, address, network: place } = asksPerHour;
  const [row] = await hideSql(
    db.all<{ at: number }>(
      sql`SELECT max(${filling(sql`email = ${email} AND network = ${network}`, pair)},
        CASE WHEN ${isKnown(sql`${email}`, sql`${network}`, now)} THEN 0
        ELSE max(${filling(sql`email = ${email}`, address)}, ${filling(sql`network = ${network}`, place)}) END) AS at`,
    ),
  );
  return Math.max(1000, (row?.at ?? now) + hourMs - now);
}

/** Drops codes older than a day, which no limit counts any more, and places not seen for 90. Run by cron. */
export async function sweepCodes(db: Database, now: number): Promise<void> {
  await commit(db, [
    db.delete(emailCodes).where(lt(emailCodes.createdAt, now - dayMs)),
    db.delete(codeNetworks).where(lt(codeNetworks.seenAt, now - knownMs)),
  ]);
}
