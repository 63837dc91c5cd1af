/** Tells people that a budget is nearly or wholly spent: a row for each threshold and span, an audit row and the letters in one batch, once, whoever tells it how often. */
import { and, eq, lt, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import { commit, type Database } from "../base/database.js";
import { newId } from "../base/ids.js";
import { users } from "../identity/model.js";
import { outbox } from "../mail/model.js";
import { members, workspaces } from "../tenancy/model.js";
import { apiKeys, budgetNotices, type BudgetSpan } from "./model.js";

/** What is told. Micro-dollars, percent, epoch milliseconds. */
export interface BudgetNews {
  /** A key's id, or `workspace`. */
  readonly scope: string;
  readonly span: BudgetSpan;
  /** When the span began. */
  readonly start: number;
  readonly threshold: number;
  readonly spent: number;
  readonly budget: number;
}

/** The scope of a workspace's own budget; no key's id is like it. */
export const workspaceBudget = "workspace";

/** Longer than any span, so that every letter that may still say something finds its row. */
const keptMs = 70 * 24 * 3_600_000;

/** A fresh letter id, made where the rows are: TypeID's alphabet holds all of hexadecimal. */
const newLetterId = sql`'mail_0' || substr(lower(hex(randomblob(13))), 2)`;

/**
 * Notes news of a workspace's budgets and writes to the owner, the admins and the key's maker; the outbox sweep sends the letters. What was told before
 * changes nothing. Nothing is written for a workspace that is deleted. Throws `internal` when the record cannot be reached; repeat it then.
 */
export async function noteBudget(db: Database, workspaceId: string, news: BudgetNews, now: number): Promise<void> {
  const { budget, scope, span, spent, start, threshold } = news;
  const id = newId("operation");
  const ofKey = scope === workspaceBudget ? null : scope;
  const isLiving = sql`EXISTS (SELECT 1 FROM ${workspaces} WHERE ${workspaces.id} = ${workspaceId} AND ${workspaces.deletedAt} IS NULL)`;
  const isOld = lt(budgetNotices.createdAt, now - keptMs);
  const maker = sql`(SELECT ${apiKeys.madeBy} FROM ${apiKeys} WHERE ${apiKeys.workspaceId} = ${workspaceId} AND ${apiKeys.id} = ${ofKey})`;
  await commit(db, [
    db
      .insert(budgetNotices)
      .select(
        sql`SELECT ${workspaceId}, ${scope}, ${span}, ${start}, ${threshold}, ${id}, ${spent}, ${budget}, ${now} WHERE ${isLiving}`,
      )
      .onConflictDoNothing(),
    auditIfChanged(db, gateway(now), {
      workspaceId,
      action: threshold < 100 ? "budget.warned" : "budget.exhausted",
      targets: [ofKey === null ? { type: "workspace", id: workspaceId } : { type: "api_key", id: ofKey }],
      after: {
        span,
        started_at: new Date(start).toISOString(),
        threshold,
        spent_usd: spent / 1e6,
        budget_usd: budget / 1e6,
      },
    }),
    db.insert(outbox).select(
      sql`SELECT ${newLetterId}, 'budget', ${workspaceId}, ${id}, ${threshold}, ${users.email}, 'queued', NULL, 0, ${now}, NULL, NULL
        FROM ${members} JOIN ${users} ON ${users.id} = ${members.userId} JOIN ${workspaces} ON ${workspaces.id} = ${members.workspaceId}
        WHERE changes() > 0 AND ${members.workspaceId} = ${workspaceId} AND ${members.removedAt} IS NULL
          AND (${members.role} = 'ADMIN' OR ${members.id} = ${workspaces.ownerMemberId} OR ${members.id} = ${maker})`,
    ),
    db.delete(budgetNotices).where(and(eq(budgetNotices.workspaceId, workspaceId), isOld)),
  ]);
}

function gateway(at: number): Actor {
  const opId = newId("operation");
  return { type: "system", id: "gateway", name: "Gateway", requestId: "", ip: null, opId, at };
}
