/** The letter that says a key is about to expire. Written from the record alone, so a redelivery says the same. */
import { and, eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { users } from "../identity/model.js";
import { languageOf, layOut, writeTime, type LetterLanguage, type LetterTexts } from "../mail/layout.js";
import type { LetterSubject, WrittenLetter } from "../mail/letter.js";
import { members, workspaces, WorkspaceSettings } from "../tenancy/model.js";
import { isWarnable } from "./expiry-warnings.js";
import { apiKeys } from "./model.js";

interface ExpiryFacts {
  readonly language: LetterLanguage;
  readonly key: string;
  readonly shown: string;
  readonly workspace: string;
  readonly expiresAt: number;
}

/** Writes the warning to a key's maker. Not current once the key is revoked or over, the next warning is due, or the maker or workspace is gone. */
export async function writeKeyExpiring(_env: Env, db: Database, subject: LetterSubject): Promise<WrittenLetter | null> {
  const [found] = await hideSql(
    db
      .select({
        key: apiKeys,
        workspace: workspaces.name,
        settings: workspaces.settings,
        deletedAt: workspaces.deletedAt,
        removedAt: members.removedAt,
        locale: users.locale,
      })
      .from(apiKeys)
      .innerJoin(workspaces, eq(workspaces.id, apiKeys.workspaceId))
      .innerJoin(members, and(eq(members.workspaceId, apiKeys.workspaceId), eq(members.id, apiKeys.madeBy)))
      .innerJoin(users, eq(users.id, members.userId))
      .where(and(eq(apiKeys.workspaceId, subject.workspaceId ?? ""), eq(apiKeys.id, subject.subjectId)))
      .all(),
  );
  if (found === undefined || found.key.expiresAt === null) {
    return null;
  }
  const { key, workspace, settings } = found;
  const language = languageOf(found.locale ?? WorkspaceSettings.parse(JSON.parse(settings)).locale);
  const shown = `${key.prefix}…${key.lastFour}`;
  const texts = expiryTexts[language]({ language, key: key.name, shown, workspace, expiresAt: found.key.expiresAt });
  const stands = key.revokedAt === null && found.removedAt === null && found.deletedAt === null;
  return {
    letter: layOut(subject.recipient, texts),
    isCurrent: stands && isWarnable(found.key.expiresAt, subject.version, Date.now()),
  };
}

const expiryTexts: Readonly<Record<LetterLanguage, (facts: ExpiryFacts) => LetterTexts>> = {
  "en-US": ({ language, key, shown, workspace, expiresAt }) => ({
    language,
    subject: `API key ${key} of ${workspace} expires on ${writeTime(expiresAt, language)}`,
    lead: `Your API key ${key} (${shown}) of the workspace ${workspace} expires on ${writeTime(expiresAt, language)}.`,
    action: null,
    notes: [
      "From then on every call with it is refused. Its life cannot be made longer, by a rotation neither.",
      "Make a new key and put it in place before that time. If nobody uses this key any more, do nothing.",
    ],
  }),
  "zh-CN": ({ language, key, shown, workspace, expiresAt }) => ({
    language,
    subject: `${workspace} 的 API 密钥 ${key} 将于 ${writeTime(expiresAt, language)} 过期`,
    lead: `您在工作区 ${workspace} 的 API 密钥 ${key}（${shown}）将于 ${writeTime(expiresAt, language)} 过期。`,
    action: null,
    notes: [
      "过期之后，使用该密钥的所有请求都会被拒绝。密钥的有效期无法延长，轮换也不能延长。",
      "请在此之前创建新密钥并完成替换。如果已无人使用该密钥，则无需处理。",
    ],
  }),
};
