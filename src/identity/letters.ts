/** The letter that carries a sign-in code. Written from the record alone, so a redelivery holds the same code. */
import { eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { requireSettings } from "../base/settings.js";
import { languageOf, layOut, type LetterLanguage, type LetterTexts } from "../mail/layout.js";
import type { LetterSubject, WrittenLetter } from "../mail/letter.js";
import { deriveCode } from "./code.js";
import { triesPerCode } from "./code-limits.js";
import { emailCodes } from "./model.js";
import { findAccountByEmail, maySignUp } from "./sign-up.js";

/** Writes a sign-in code's letter. Not current for an address that may not sign in: here, off the request's path, is where that is decided. */
export async function writeSignInCode(env: Env, db: Database, subject: LetterSubject): Promise<WrittenLetter | null> {
  const [row] = await hideSql(db.select().from(emailCodes).where(eq(emailCodes.id, subject.subjectId)).all());
  if (row === undefined) {
    return null;
  }
  const settings = requireSettings(env);
  const code = await deriveCode(settings.mailSecret, row.secretId, row.id);
  if (code === null) {
    return null;
  }
  const isOpen = row.usedAt === null && row.expiresAt > Date.now() && row.tries < triesPerCode;
  const maySignIn = maySignUp(settings.signIn, row.email) || (await findAccountByEmail(db, row.email)) !== undefined;
  const minutes = Math.round((row.expiresAt - row.createdAt) / 60_000);
  // The code stands in two groups, and in the subject too: most people read it off a notification.
  const shown = `${code.reveal().slice(0, 4)} ${code.reveal().slice(4)}`;
  const language = languageOf(row.locale);
  const texts = codeTexts[language]({ language, shown, host: new URL(settings.publicUrl).host, minutes });
  return { letter: layOut(row.email, texts), isCurrent: isOpen && maySignIn };
}

interface CodeFacts {
  readonly language: LetterLanguage;
  readonly shown: string;
  readonly host: string;
  readonly minutes: number;
}

const codeTexts: Readonly<Record<LetterLanguage, (facts: CodeFacts) => LetterTexts>> = {
  "en-US": ({ language, shown, host, minutes }) => ({
    language,
    subject: `${shown} is your Gatehouse sign-in code`,
    lead: `Your code to sign in to ${host}:`,
    action: { kind: "code", code: shown },
    notes: [
      `It works once, for ${minutes} minutes, and only in the browser that asked for it.`,
      "If you did not ask for it, do nothing, and give the code to nobody.",
    ],
  }),
  "zh-CN": ({ language, shown, host, minutes }) => ({
    language,
    subject: `${shown} 是您的 Gatehouse 登录验证码`,
    lead: `您登录 ${host} 的验证码是：`,
    action: { kind: "code", code: shown },
    notes: [
      `验证码 ${minutes} 分钟内有效，只能使用一次，并且只能在请求它的浏览器中使用。`,
      "如果这不是您本人的操作，请忽略此邮件，也不要把验证码告诉任何人。",
    ],
  }),
};
