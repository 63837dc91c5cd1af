/** The letter that carries the code of an ownership transfer: to the owner, naming workspace and heir. Written from the record alone. */
import { and, eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { requireSettings } from "../base/settings.js";
import { deriveCode } from "../identity/code.js";
import { triesPerCode } from "../identity/code-limits.js";
import { emailCodes, users } from "../identity/model.js";
import { languageOf, layOut, type LetterLanguage, type LetterTexts } from "../mail/layout.js";
import type { LetterSubject, WrittenLetter } from "../mail/letter.js";
import { members, workspaces } from "../tenancy/model.js";
import { ownershipTransfers } from "./model.js";

/** Writes the code's letter. Not current once the offer was confirmed, taken back or has run out. */
export async function writeTransferCode(env: Env, db: Database, subject: LetterSubject): Promise<WrittenLetter | null> {
  const [found] = await hideSql(
    db
      .select({ code: emailCodes, transfer: ownershipTransfers, workspace: workspaces.name, heir: users })
      .from(emailCodes)
      .innerJoin(ownershipTransfers, eq(ownershipTransfers.id, emailCodes.subjectId))
      .innerJoin(workspaces, eq(workspaces.id, ownershipTransfers.workspaceId))
      .innerJoin(
        members,
        and(eq(members.workspaceId, ownershipTransfers.workspaceId), eq(members.id, ownershipTransfers.toMemberId)),
      )
      .innerJoin(users, eq(users.id, members.userId))
      .where(and(eq(emailCodes.id, subject.subjectId), eq(ownershipTransfers.workspaceId, subject.workspaceId ?? "")))
      .all(),
  );
  if (found === undefined) {
    return null;
  }
  const { code: row, transfer, workspace, heir } = found;
  const code = await deriveCode(requireSettings(env).mailSecret, row.secretId, row.id);
  if (code === null) {
    return null;
  }
  const language = languageOf(row.locale);
  const facts: TransferFacts = {
    language,
    shown: `${code.reveal().slice(0, 4)} ${code.reveal().slice(4)}`,
    workspace,
    heir: `${heir.name} (${heir.email})`,
    minutes: Math.round((row.expiresAt - row.createdAt) / 60_000),
  };
  const isOpen = transfer.state === "pending" && row.usedAt === null && row.expiresAt > Date.now();
  return {
    letter: layOut(subject.recipient, transferTexts[language](facts)),
    isCurrent: isOpen && row.tries < triesPerCode,
  };
}

interface TransferFacts {
  readonly language: LetterLanguage;
  readonly shown: string;
  readonly workspace: string;
  readonly heir: string;
  readonly minutes: number;
}

/** Unlike a sign-in code it does not stand in the subject: it should be typed by somebody who has read what it does. */
const transferTexts: Readonly<Record<LetterLanguage, (facts: TransferFacts) => LetterTexts>> = {
  "en-US": ({ language, shown, workspace, heir, minutes }) => ({
    language,
    subject: `Confirm the new owner of ${workspace}`,
    lead: `You are about to hand the workspace ${workspace} to ${heir}. To confirm, enter this code where you offered it:`,
    action: { kind: "code", code: shown },
    notes: [
      `It works once, for ${minutes} minutes. Afterwards you are an admin, and only the new owner can hand the workspace back.`,
      "If this was not you, give the code to nobody, and end your sessions: somebody is using one.",
    ],
  }),
  "zh-CN": ({ language, shown, workspace, heir, minutes }) => ({
    language,
    subject: `请确认 ${workspace} 的新所有者`,
    lead: `您即将把工作区 ${workspace} 移交给 ${heir}。如需确认，请在发起移交的页面输入以下验证码：`,
    action: { kind: "code", code: shown },
    notes: [
      `验证码 ${minutes} 分钟内有效，只能使用一次。移交后您将成为管理员，只有新所有者才能再次移交。`,
      "如果这不是您本人的操作，请不要把验证码告诉任何人，并结束您的所有会话：有人正在使用其中之一。",
    ],
  }),
};
