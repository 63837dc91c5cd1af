/** The one shape of all letters: lead, what to act on, notes; as plain text and as a page that needs nothing from anywhere. */
import { escapeHtml } from "../base/html.js";
import type { Letter } from "./letter.js";

/** The languages that letters are written in. */
export type LetterLanguage = "en-US" | "zh-CN";

/** What the reader acts on. A link stands on a line of its own; a code is shown large. */
export type LetterAction =
  | { readonly kind: "link"; readonly label: string; readonly url: string }
  | { readonly kind: "code"; readonly code: string };

/** What a letter says, as plain text. Names of people and workspaces may stand in it as they are. */
export interface LetterTexts {
  readonly language: LetterLanguage;
  readonly subject: string;
  readonly lead: string;
  readonly action: LetterAction | null;
  /** One line each. */
  readonly notes: readonly string[];
}

/** The language for a locale: Chinese for any kind of it, else English. */
export function languageOf(locale: string): LetterLanguage {
  return /^zh(?:-|$)/i.test(locale) ? "zh-CN" : "en-US";
}

/** A time for people to read, in UTC and saying so. */
export function writeTime(at: number, language: LetterLanguage): string {
  const form = new Intl.DateTimeFormat(language, {
    dateStyle: "long",
    timeStyle: "short",
    hourCycle: "h23",
    timeZone: "UTC",
  });
  return `${form.format(at)} UTC`;
}

/** The letter in both forms. */
export function layOut(to: string, texts: LetterTexts): Letter {
  const clean: LetterTexts = {
    ...texts,
    subject: toLine(texts.subject),
    lead: toLine(texts.lead),
    notes: texts.notes.map(toLine),
  };
  return { to, subject: clean.subject, text: writeText(clean), html: writeHtml(clean) };
}

/** One line without control characters, and without those that turn the direction of what follows: a name must not rearrange a sentence. */
export function toLine(text: string): string {
  return text
    .replace(/\p{Bidi_Control}/gu, "")
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim();
}

function writeText({ language, lead, action, notes }: LetterTexts): string {
  const parts = [lead];
  if (action !== null) {
    parts.push(
      action.kind === "code" ? action.code : `${action.label}${language === "zh-CN" ? "：" : ":"}\n\n${action.url}`,
    );
  }
  return `${[...parts, notes.join("\n")].join("\n\n")}\n`;
}

const instead: Readonly<Record<LetterLanguage, string>> = {
  "en-US": "Or open this address:",
  "zh-CN": "或者打开以下地址：",
};

/** Styles stand on the elements, since mail programs drop style sheets. No colours but the button's, so that dark mode works. */
function writeHtml({ language, subject, lead, action, notes }: LetterTexts): string {
  return `<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(subject)}</title>
</head>
<body style="margin: 0; padding: 24px; font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', 'PingFang SC', 'Microsoft YaHei', sans-serif">
<div style="max-width: 560px; margin: 0 auto">
<p style="margin: 0 0 24px; overflow-wrap: anywhere">${escapeHtml(lead)}</p>
${action === null ? "" : writeAction(action, language)}
<p style="margin: 24px 0 0; font-size: 14px; overflow-wrap: anywhere">${notes.map(escapeHtml).join("<br>\n")}</p>
</div>
</body>
</html>
`;
}

function writeAction(action: LetterAction, language: LetterLanguage): string {
  if (action.kind === "code") {
    return `<p style="margin: 0; font: 28px/1.5 ui-monospace, Menlo, Consolas, monospace; letter-spacing: 2px">${escapeHtml(action.code)}</p>`;
  }
  const url = escapeHtml(action.url);
  const button =
    "display: inline-block; padding: 10px 20px; border-radius: 6px; background: #1a56c4; color: #ffffff; text-decoration: none";
  return `<p style="margin: 0 0 24px"><a href="${url}" rel="noreferrer" style="${button}">${escapeHtml(action.label)}</a></p>
<p style="margin: 0; font-size: 14px; overflow-wrap: anywhere">${instead[language]}<br>
<a href="${url}" rel="noreferrer">${url}</a></p>`;
}
