/** The page an invite's link opens: who invites to what, and two buttons. It needs no script, no console, and nothing from anywhere else. */
import { randomBytes, toBase32 } from "../base/bytes.js";
import { escapeHtml } from "../base/html.js";
import { toLine, type LetterLanguage } from "../mail/layout.js";
import { pageTexts, type OfferFacts, type PageProblem } from "./invite-texts.js";

/** How the invitee stands: without an account, signed in with the right one, or to be asked for a code. */
export type InviteeState = "new" | "signed_in" | "signed_out";

/** What the page shows. `token` is the link's own, for the forms. */
export type InviteView =
  | {
      readonly kind: "offer";
      readonly token: string;
      readonly facts: OfferFacts;
      readonly invitee: InviteeState;
      /** Another address that the browser is signed in with. */
      readonly otherEmail: string | null;
      readonly problem: PageProblem | "bad_name" | null;
    }
  | {
      readonly kind: "code";
      readonly token: string;
      readonly facts: OfferFacts;
      /** Without it the code cannot be tried: only this page holds it. */
      readonly handle: string;
      readonly problem: PageProblem | null;
    }
  | { readonly kind: "joined"; readonly workspace: string }
  | { readonly kind: "declined"; readonly workspace: string }
  | { readonly kind: "gone" };

/** The page as an answer. The link is the one secret that stands in an address, so nothing of it may be kept or passed on. */
export function showInvite(view: InviteView, language: LetterLanguage, status: number, cookie?: string): Response {
  const nonce = toBase32(randomBytes(16));
  const headers = new Headers({
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": `default-src 'none'; style-src 'nonce-${nonce}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'`,
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    vary: "accept, accept-language",
  });
  if (cookie !== undefined) {
    headers.set("set-cookie", cookie);
  }
  return new Response(writePage(view, language, nonce), { status, headers });
}

function writePage(view: InviteView, language: LetterLanguage, nonce: string): string {
  const { title, body } = writeView(view, language);
  return `<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">
<title>${write(title)}</title>
<style nonce="${nonce}">
body { font: 16px/1.6 system-ui, -apple-system, "Segoe UI", "PingFang SC", "Microsoft YaHei", sans-serif; max-width: 32rem; margin: 12vh auto; padding: 0 1.25rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.3; }
small { color: GrayText; }
form { margin: 1.25rem 0 0; }
label { display: block; margin: 0 0 .25rem; }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem .6rem; margin: 0 0 1rem; border: 1px solid GrayText; border-radius: 6px; }
button { font: inherit; padding: .55rem 1.2rem; border: 1px solid #1a56c4; border-radius: 6px; background: #1a56c4; color: #fff; cursor: pointer; }
button.quiet { background: none; color: inherit; border-color: GrayText; }
[role="alert"] { border-inline-start: 4px solid #c4301a; padding-inline-start: .75rem; }
</style>
</head>
<body>
<main>
<h1>${write(title)}</h1>
${body}
</main>
</body>
</html>
`;
}

function writeView(view: InviteView, language: LetterLanguage): { readonly title: string; readonly body: string } {
  const texts = pageTexts[language];
  switch (view.kind) {
    case "offer":
      return { title: texts.title(view.facts.workspace), body: writeOffer(view, language) };
    case "code":
      return { title: texts.title(view.facts.workspace), body: writeCodeForm(view, language) };
    case "joined":
      return {
        title: texts.joined(view.workspace),
        body: `<p><a href="/" rel="noreferrer">${write(texts.goOn)}</a></p>`,
      };
    case "declined":
      return { title: texts.declined(view.workspace), body: "" };
    case "gone":
      return { title: texts.gone, body: paragraph(texts.goneHelp) };
  }
}

function writeOffer(view: Extract<InviteView, { kind: "offer" }>, language: LetterLanguage): string {
  const texts = pageTexts[language];
  const { facts, invitee, otherEmail, token } = view;
  const isAsked = invitee === "signed_out";
  const nameField = `<label for="name">${write(texts.name)}</label>
<input id="name" name="name" maxlength="100" autocomplete="name">
`;
  return [
    alert(view.problem, language),
    paragraph(texts.offer(facts)),
    otherEmail === null ? "" : paragraph(texts.signedInAs(otherEmail)),
    isAsked ? paragraph(texts.signInFirst(facts)) : "",
    form(token, "accept", `${invitee === "new" ? nameField : ""}${button(isAsked ? texts.sendCode : texts.accept)}`),
    form(token, "decline", button(texts.decline, "quiet")),
    `<p><small>${write(texts.terms(facts))}</small></p>`,
  ].join("\n");
}

function writeCodeForm(view: Extract<InviteView, { kind: "code" }>, language: LetterLanguage): string {
  const texts = pageTexts[language];
  const fields = `<input type="hidden" name="handle" value="${escapeHtml(view.handle)}">
<label for="code">${write(texts.code)}</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="20" required autofocus>
`;
  return [
    alert(view.problem, language),
    paragraph(texts.codeSent(view.facts.email)),
    form(view.token, "accept", `${fields}${button(texts.confirm)}`),
    form(view.token, "accept", button(texts.sendCode, "quiet")),
  ].join("\n");
}

function form(token: string, deed: "accept" | "decline", inner: string): string {
  return `<form method="post" action="/invites/${escapeHtml(token)}/${deed}">\n${inner}\n</form>`;
}

function button(label: string, look?: "quiet"): string {
  return `<button${look === undefined ? "" : ` class="${look}"`}>${write(label)}</button>`;
}

function paragraph(text: string): string {
  return `<p>${write(text)}</p>`;
}

function alert(problem: PageProblem | "bad_name" | null, language: LetterLanguage): string {
  if (problem === null) {
    return "";
  }
  const { problems, badName } = pageTexts[language];
  return `<p role="alert">${write(problem === "bad_name" ? badName : problems[problem])}</p>`;
}

/** Names that people chose stand in these texts: they must not rearrange the sentence, as in letters. */
function write(text: string): string {
  return escapeHtml(toLine(text));
}
