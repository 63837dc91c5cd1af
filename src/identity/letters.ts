/** The letter that carries a sign-in code. Written from the record alone, so a redelivery holds the same code. */
import { eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { requireSettings } from "../base/settings.js";
import { escapeHtml, type Letter, type LetterSubject, type WrittenLetter } from "../mail/letter.js";
import { deriveCode } from "./code.js";
import { triesPerCode } from "./codes.js";
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
  const facts = { to: row.email, code: code.reveal(), host: new URL(settings.publicUrl).host, minutes };
  return { letter: writeCode(facts, row.locale), isCurrent: isOpen && maySignIn };
}

interface CodeFacts {
  readonly to: string;
  readonly code: string;
  readonly host: string;
  readonly minutes: number;
}

interface CodeTexts {
  readonly lang: string;
  readonly subject: string;
  readonly lead: string;
  readonly terms: string;
  readonly doubt: string;
}

/** The code stands in the subject too: most people read it off a notification. */
function textsOf(facts: CodeFacts, shown: string, locale: string): CodeTexts {
  if (/^zh\b/i.test(locale)) {
    return {
      lang: "zh-CN",
      subject: `${shown} 是您的 Gatehouse 登录验证码`,
      lead: `您登录 ${facts.host} 的验证码是：`,
      terms: `验证码 ${facts.minutes} 分钟内有效，只能使用一次，并且只能在请求它的浏览器中使用。`,
      doubt: "如果这不是您本人的操作，请忽略此邮件，也不要把验证码告诉任何人。",
    };
  }
  return {
    lang: "en-US",
    subject: `${shown} is your Gatehouse sign-in code`,
    lead: `Your code to sign in to ${facts.host}:`,
    terms: `It works once, for ${facts.minutes} minutes, and only in the browser that asked for it.`,
    doubt: "If you did not ask for it, do nothing, and give the code to nobody.",
  };
}

function writeCode(facts: CodeFacts, locale: string): Letter {
  const shown = `${facts.code.slice(0, 4)} ${facts.code.slice(4)}`;
  const { lang, subject, lead, terms, doubt } = textsOf(facts, shown, locale);
  return {
    to: facts.to,
    subject,
    text: `${lead}\n\n${shown}\n\n${terms}\n${doubt}\n`,
    html: `<!doctype html>
<html lang="${lang}">
<body style="font: 16px/1.5 sans-serif; color: #1c1c1c">
<p>${escapeHtml(lead)}</p>
<p style="font: 28px/1.5 monospace; letter-spacing: 2px">${shown}</p>
<p>${escapeHtml(terms)}<br>${escapeHtml(doubt)}</p>
</body>
</html>
`,
  };
}
