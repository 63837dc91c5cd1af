/** A webhook that the service itself takes out, and the letters that say so. */
import { and, eq, isNull, or, sql } from "drizzle-orm";
import { auditIfChanged } from "../audit/audit.js";
import { hideSql, type Database, type Statement } from "../base/database.js";
import { newId } from "../base/ids.js";
import { users } from "../identity/model.js";
import { languageOf, layOut, type LetterLanguage, type LetterTexts } from "../mail/layout.js";
import type { LetterSubject, WrittenLetter } from "../mail/letter.js";
import { outbox } from "../mail/model.js";
import { members, workspaces } from "../tenancy/model.js";
import { webhooks, type DisabledReason, type WebhookRow } from "./model.js";
import { publicFields } from "./webhooks.js";

type SystemReason = Exclude<DisabledReason, "by_hand">;

const isAdmin = and(
  isNull(members.removedAt),
  isNull(workspaces.deletedAt),
  or(eq(members.role, "ADMIN"), eq(members.id, workspaces.ownerMemberId)),
);

/** Plans the end of a webhook that was read as active, with its audit row and a letter to the owner and each admin: all of it exactly when it still is as read. */
export function planDisable(db: Database, row: WebhookRow, reason: SystemReason, at: number): Statement[] {
  const isAsRead = and(
    eq(webhooks.workspaceId, row.workspaceId),
    eq(webhooks.id, row.id),
    eq(webhooks.state, "active"),
    eq(webhooks.revision, row.revision),
  );
  const opId = newId("operation");
  const actor = { type: "system", id: "webhooks", name: "Webhooks", requestId: "", ip: null, opId, at } as const;
  return [
    db
      .update(webhooks)
      .set({ state: "disabled", reason, revision: row.revision + 1, updatedAt: at })
      .where(isAsRead),
    auditIfChanged(db, actor, {
      workspaceId: row.workspaceId,
      action: "webhook.disabled",
      targets: [{ type: "webhook", id: row.id }],
      before: publicFields(row),
      after: publicFields({ ...row, state: "disabled", reason }),
    }),
    db.insert(outbox).select(
      sql`SELECT 'mail_0' || substr(lower(hex(randomblob(13))), 2), 'webhook_disabled', ${members.workspaceId}, ${row.id}, ${row.revision + 1},
        ${users.email}, 'queued', NULL, 0, ${at}, NULL, NULL FROM ${members} JOIN ${users} ON ${users.id} = ${members.userId}
        JOIN ${workspaces} ON ${workspaces.id} = ${members.workspaceId}
        WHERE changes() > 0 AND ${members.workspaceId} = ${row.workspaceId} AND ${isAdmin}`,
    ),
  ];
}

/** Writes the letter that a webhook was taken out; its version is the webhook's revision. Not current once somebody changed it; null when it, or the reader's place, is gone. */
export async function writeWebhookDisabled(
  _env: Env,
  db: Database,
  subject: LetterSubject,
): Promise<WrittenLetter | null> {
  const locale = sql<string | null>`${workspaces.settings} ->> 'locale'`;
  const query = db
    .select({ row: webhooks, workspace: workspaces.name, own: users.locale, house: locale })
    .from(webhooks)
    .innerJoin(workspaces, eq(workspaces.id, webhooks.workspaceId))
    .innerJoin(users, eq(users.email, subject.recipient))
    .innerJoin(members, and(eq(members.workspaceId, webhooks.workspaceId), eq(members.userId, users.id), isAdmin))
    .where(and(eq(webhooks.workspaceId, subject.workspaceId ?? ""), eq(webhooks.id, subject.subjectId)));
  const [found] = await hideSql(query.limit(1).all());
  const reason = found?.row.reason;
  if (found === undefined || reason === undefined || reason === null || reason === "by_hand") {
    return null;
  }
  const texts = disabledTexts[languageOf(found.own ?? found.house ?? "")](
    found.workspace,
    new URL(found.row.url).origin,
    reason,
  );
  return { letter: layOut(subject.recipient, texts), isCurrent: found.row.revision === subject.version };
}

const reasons: Readonly<Record<LetterLanguage, Readonly<Record<SystemReason, string>>>> = {
  "en-US": {
    gone: "Its address answered 410, which says that it wants no more messages.",
    failing: "No message has arrived there for five days.",
    undecryptable: "Its signing secret can no longer be opened. Rotate the secret before you enable it.",
  },
  "zh-CN": {
    gone: "该地址返回了 410，表示不再接收消息。",
    failing: "五天以来没有任何消息送达。",
    undecryptable: "其签名密钥无法再解密。请先轮换密钥，再重新启用。",
  },
};

const disabledTexts: Readonly<
  Record<LetterLanguage, (workspace: string, origin: string, reason: SystemReason) => LetterTexts>
> = {
  "en-US": (workspace, origin, reason) => ({
    language: "en-US",
    subject: `A webhook of ${workspace} was disabled`,
    lead: `The webhook to ${origin} of the workspace ${workspace} was disabled. ${reasons["en-US"][reason]}`,
    action: null,
    notes: ["Mend its address and enable it again. Deliveries that failed can be sent once more for 30 days."],
  }),
  "zh-CN": (workspace, origin, reason) => ({
    language: "zh-CN",
    subject: `${workspace} 的一个 Webhook 已停用`,
    lead: `工作区 ${workspace} 指向 ${origin} 的 Webhook 已停用。${reasons["zh-CN"][reason]}`,
    action: null,
    notes: ["请修复该地址后重新启用。失败的投递可在 30 天内重新发送。"],
  }),
};
