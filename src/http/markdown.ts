/** Markdown of docs/ as HTML. HTML inside a text is shown, not obeyed; comments are left out; links lead to where the pages stand. */
import type { Tokens } from "marked";
import { escapeHtml } from "../base/html.js";

/** A document as HTML, with what its first heading says. */
export interface Rendered {
  readonly title: string;
  readonly html: string;
}

/**
 * Renders a text that lies at `path` (from the repository's root, such as `docs/guides/first-call.md`). `place` says
 * where another file of the repository is served, or null when it is not: the words of such a link stay, the link goes.
 */
export async function renderMarkdown(
  text: string,
  path: string,
  place: (path: string) => string | null,
): Promise<Rendered> {
  const { Marked } = await import("marked");
  const used = new Set<string>();
  const marked = new Marked({
    gfm: true,
    renderer: {
      html: ({ text: raw }) => (raw.trimStart().startsWith("<!--") ? "" : escapeHtml(raw)),
      heading({ tokens, depth, text: raw }) {
        return `<h${depth} id="${headingId(raw, used)}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
      },
      link({ href, tokens }) {
        const target = resolveLink(href, path, place);
        const words = this.parser.parseInline(tokens);
        return target === null ? words : `<a href="${escapeHtml(target)}">${words}</a>`;
      },
      // Pages show nothing from elsewhere.
      image: ({ text: words }) => escapeHtml(words),
      code: ({ text: code, lang }) => `<pre${languageOf(lang)}><code>${escapeHtml(code)}\n</code></pre>\n`,
      table({ header, rows }) {
        const cells = (row: Tokens.TableCell[], tag: string): string =>
          row.map(({ tokens }) => `<${tag}>${this.parser.parseInline(tokens)}</${tag}>`).join("");
        const body = rows.map((row) => `<tr>${cells(row, "td")}</tr>\n`).join("");
        const head = `<thead>\n<tr>${cells(header, "th")}</tr>\n</thead>`;
        return `<div class="table" tabindex="0" role="region">\n<table>\n${head}\n<tbody>\n${body}</tbody>\n</table>\n</div>\n`;
      },
    },
  });
  return { title: titleOf(text), html: await marked.parse(text) };
}

/** What the first heading of a text says, without marks. */
export function titleOf(text: string): string {
  return /^# +(.+)$/m.exec(text)?.[1]?.replaceAll("`", "").trim() ?? "";
}

/** An anchor as GitHub makes them, so that links work there and here. */
function headingId(raw: string, used: Set<string>): string {
  const base = raw
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
  let id = base;
  for (let count = 1; used.has(id); count += 1) {
    id = `${base}-${count}`;
  }
  used.add(id);
  return escapeHtml(id);
}

function languageOf(lang: string | undefined): string {
  const name = /^[\w-]+/.exec(lang ?? "")?.[0];
  return name === undefined ? "" : ` data-language="${name}"`;
}

function resolveLink(href: string, path: string, place: (path: string) => string | null): string | null {
  if (href.startsWith("#")) {
    return href;
  }
  const root = "https://repository.invalid/";
  const url = URL.parse(href, `${root}${path}`);
  if (url === null) {
    return null;
  }
  if (!url.href.startsWith(root)) {
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  }
  // What begins with a slash is an address of the service itself.
  const page = href.startsWith("/") ? url.pathname : place(decodeURIComponent(url.pathname.slice(1)));
  return page === null ? null : `${page}${url.search}${url.hash}`;
}
