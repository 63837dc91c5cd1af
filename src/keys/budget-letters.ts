/** The letter that says how much of a budget is spent. Written from the record alone, so a redelivery says the same. */
import { and, eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { users } from "../identity/model.js";
import { languageOf, layOut, writeTime, type LetterLanguage, type LetterTexts } from "../mail/layout.js";
import type { LetterSubject, WrittenLetter } from "../mail/letter.js";
import { members, workspaces, WorkspaceSettings } from "../tenancy/model.js";
import { workspaceBudget } from "./budget-notices.js";
import { apiKeys, budgetNotices, type BudgetSpan } from "./model.js";

interface Facts {
  readonly language: LetterLanguage;
  readonly workspace: string;
  /** The key by its name and what is shown of it; null for the workspace's own budget. */
  readonly key: string | null;
  readonly span: BudgetSpan;
  readonly isOver: boolean;
  readonly spent: string;
  readonly budget: string;
  /** When the span turns. */
  readonly turnsAt: string;
}

/** Writes the letter about a budget. Not current once its span is over or the reader has left; null when the notice or the reader is gone. */
export async function writeBudgetLetter(
  _env: Env,
  db: Database,
  subject: LetterSubject,
): Promise<WrittenLetter | null> {
  const ofKey = and(eq(apiKeys.workspaceId, budgetNotices.workspaceId), eq(apiKeys.id, budgetNotices.scope));
  const [found] = await hideSql(
    db
      .select({
        notice: budgetNotices,
        key: { name: apiKeys.name, prefix: apiKeys.prefix, lastFour: apiKeys.lastFour },
        workspace: workspaces.name,
        settings: workspaces.settings,
        deletedAt: workspaces.deletedAt,
        removedAt: members.removedAt,
        locale: users.locale,
      })
      .from(budgetNotices)
      .innerJoin(workspaces, eq(workspaces.id, budgetNotices.workspaceId))
      .innerJoin(users, eq(users.email, subject.recipient))
      .innerJoin(members, and(eq(members.workspaceId, budgetNotices.workspaceId), eq(members.userId, users.id)))
      .leftJoin(apiKeys, ofKey)
      .where(and(eq(budgetNotices.id, subject.subjectId), eq(budgetNotices.workspaceId, subject.workspaceId ?? "")))
      .limit(1)
      .all(),
  );
  if (found === undefined || (found.key === null && found.notice.scope !== workspaceBudget)) {
    return null;
  }
  const { key, notice, workspace } = found;
  const language = languageOf(found.locale ?? WorkspaceSettings.parse(JSON.parse(found.settings)).locale);
  const turnsAt = turnOf(notice.span, notice.spanStart);
  const texts = budgetTexts[language]({
    language,
    workspace,
    key: key === null ? null : `${key.name} (${key.prefix}…${key.lastFour})`,
    span: notice.span,
    isOver: notice.threshold >= 100,
    spent: writeUsd(notice.spent, language),
    budget: writeUsd(notice.budget, language),
    turnsAt: writeTime(turnsAt, language),
  });
  const isCurrent = Date.now() < turnsAt && found.deletedAt === null && found.removedAt === null;
  return { letter: layOut(subject.recipient, texts), isCurrent };
}

function turnOf(span: BudgetSpan, start: number): number {
  const date = new Date(start);
  return span === "day" ? start + 24 * 3_600_000 : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
}

function writeUsd(micros: number, language: LetterLanguage): string {
  const format = { style: "currency", currency: "USD", maximumFractionDigits: 6 } as const;
  return new Intl.NumberFormat(language, format).format(micros / 1e6);
}

const budgetTexts: Readonly<Record<LetterLanguage, (facts: Facts) => LetterTexts>> = {
  "en-US": ({ budget, isOver, key, language, span, spent, turnsAt, workspace }) => {
    const whose = key === null ? `The workspace ${workspace}` : `The API key ${key} of the workspace ${workspace}`;
    const title = key === null ? workspace : `an API key of ${workspace}`;
    return {
      language,
      subject: isOver
        ? `The ${span}'s budget of ${title} is used up`
        : `80% of the ${span}'s budget of ${title} is spent`,
      lead: isOver
        ? `${whose} has used up its budget of ${budget} for this ${span}: ${spent} are spent.`
        : `${whose} has spent ${spent}, 80% or more of its budget of ${budget} for this ${span}.`,
      action: null,
      notes: [
        isOver
          ? `Calls that no longer fit are refused until ${turnsAt}, when the ${span} turns.`
          : `At the whole budget its calls are refused until ${turnsAt}, when the ${span} turns.`,
        "An admin can raise the budget; that is in force at once.",
      ],
    };
  },
  "zh-CN": ({ budget, isOver, key, language, span, spent, turnsAt, workspace }) => {
    const whose = key === null ? `工作区 ${workspace}` : `工作区 ${workspace} 的 API 密钥 ${key}`;
    const period = span === "day" ? "当日" : "当月";
    return {
      language,
      subject: isOver ? `${whose}的${period}预算已用完` : `${whose}的${period}预算已使用 80%`,
      lead: isOver
        ? `${whose}已用完${period}预算 ${budget}，已花费 ${spent}。`
        : `${whose}已花费 ${spent}，达到${period}预算 ${budget} 的 80% 以上。`,
      action: null,
      notes: [
        isOver
          ? `超出预算的请求将被拒绝，直到 ${turnsAt} 预算重新开始计算。`
          : `预算用完后，请求将被拒绝，直到 ${turnsAt} 预算重新开始计算。`,
        "管理员可以提高预算，提高后立即生效。",
      ],
    };
  },
};
