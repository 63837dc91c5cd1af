/** The pages that a problem document's `type` leads to: one for each error code, and a list of them all. */
import { errorHelp } from "../base/error-help.js";
import { errorTable } from "../base/error-table.js";
import { AppError, isErrorCode, type ErrorCode } from "../base/errors.js";
import { escapeHtml } from "../base/html.js";
import { docsPage } from "./docs-page.js";

/** Where the pages stand; a code comes behind a slash. */
export const errorPagesPath = "/docs/errors";

/** The list of all codes, by status. */
export function showErrorIndex(): Response {
  const codes = Object.keys(errorTable).filter(isErrorCode);
  const byStatus = Map.groupBy(codes, (code) => errorTable[code].status);
  const sections = [...byStatus]
    .toSorted(([left], [right]) => left - right)
    .map(([status, of]) => writeGroup(status, of));
  return page(
    "Error codes",
    `<h1>Error codes</h1>
<p>An error of the API is a problem document (RFC 9457). Its <code>code</code> never changes its meaning, and its
<code>type</code> is the address of the page that explains it. The gateway under <code>/v1</code> and <code>/anthropic</code> says the same
codes in OpenAI's and Anthropic's shapes; OpenAI's clients know <code>unauthenticated</code> as <code>invalid_api_key</code> and
<code>rate_limited</code> as <code>rate_limit_exceeded</code>.</p>
${sections.join("\n")}`,
  );
}

/** The page of one code. Throws `not_found` for a word that is none. */
export function showErrorPage(code: string): Response {
  if (!isErrorCode(code)) {
    throw new AppError("not_found");
  }
  const { status, title, detail } = errorTable[code];
  const { means, remedy } = errorHelp[code];
  return page(
    `${code}: ${title}`,
    `<p><a href="${errorPagesPath}">Error codes</a></p>
<h1>${escapeHtml(title)}</h1>
<p><code>${code}</code>, HTTP status ${status}</p>
<h2>What it means</h2>
<p>${writeText(means)}</p>
<h2>What to do</h2>
<p>${writeText(remedy)}</p>
<h2>What the answer says</h2>
<p>${writeText(detail)}</p>`,
  );
}

function writeGroup(status: number, codes: readonly ErrorCode[]): string {
  const items = codes.map(
    (code) =>
      `<li><a href="${errorPagesPath}/${code}"><code>${code}</code></a> ${escapeHtml(errorTable[code].title)}</li>`,
  );
  return `<h2>${status}</h2>\n<ul>\n${items.join("\n")}\n</ul>`;
}

/** Backticks of our texts as code. */
function writeText(text: string): string {
  return escapeHtml(text).replaceAll(/`([^`]+)`/g, "<code>$1</code>");
}

function page(title: string, content: string): Response {
  return docsPage({ title, language: "en", twin: null, content });
}
