/** The letter that carries a checkpoint to where the service can't reach it. Written from the Ledger alone, so a redelivery says the same. */
import { eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { languageOf, layOut, writeTime, type LetterLanguage, type LetterTexts } from "../mail/layout.js";
import type { LetterSubject, WrittenLetter } from "../mail/letter.js";
import { readSettingsOf, workspaces } from "../tenancy/model.js";
import type { KeptCheckpoint, LedgerApi } from "./ledger.do.js";
import { ledgerFor } from "./ledger-for.js";

/** Writes the checkpoint of the size that is the letter's version. Not current once somebody else gets them, or nobody. */
export async function writeAuditCheckpoint(
  env: Env,
  db: Database,
  subject: LetterSubject,
): Promise<WrittenLetter | null> {
  const workspaceId = subject.workspaceId ?? "";
  const ledger: LedgerApi = ledgerFor(env, workspaceId);
  const [row] = await hideSql(db.select().from(workspaces).where(eq(workspaces.id, workspaceId)).all());
  const checkpoint = row === undefined ? null : await ledger.at(subject.version);
  if (row === undefined || checkpoint === null) {
    return null;
  }
  const settings = readSettingsOf(row);
  const texts = checkpointTexts[languageOf(settings.locale)](row.name, checkpoint);
  const isCurrent = row.deletedAt === null && settings.audit_checkpoint_email === subject.recipient;
  return { letter: layOut(subject.recipient, texts), isCurrent };
}

const checkpointTexts: Readonly<Record<LetterLanguage, (workspace: string, kept: KeptCheckpoint) => LetterTexts>> = {
  "en-US": (workspace, { size, note, signedAt }) => ({
    language: "en-US",
    subject: `Audit log of ${workspace}: checkpoint of ${size} rows`,
    lead: `Keep this letter. The lines below, signed on ${writeTime(signedAt, "en-US")}, fix the first ${size} rows of the audit log of ${workspace}.`,
    action: null,
    notes: [...note.split("\n"), "Put them into a file as they are and give it to verify-audit as --checkpoint."],
  }),
  "zh-CN": (workspace, { size, note, signedAt }) => ({
    language: "zh-CN",
    subject: `${workspace} 的审计日志：${size} 行的检查点`,
    lead: `请保留此邮件。以下内容签署于 ${writeTime(signedAt, "zh-CN")}，固定了 ${workspace} 审计日志的前 ${size} 行。`,
    action: null,
    notes: [...note.split("\n"), "请将其原样保存为文件，并通过 --checkpoint 交给 verify-audit。"],
  }),
};
