/** The look that all pages under /docs share: one frame, one stylesheet, and a policy that lets in nothing from elsewhere. */
import { escapeHtml } from "../base/html.js";

/** A language that pages are written in. */
export type Language = "en" | "zh";

interface DocsPage {
  readonly title: string;
  readonly language: Language;
  /** The same page in the other language, when there is one. */
  readonly twin: string | null;
  /** HTML. */
  readonly content: string;
  /** What it does beyond showing text; found by the content when it is not said. */
  readonly use?: keyof typeof uses;
}

/** Words of the frame, and the BCP 47 tag of the language. */
const frames = {
  en: { tag: "en", home: "/docs", docs: "Docs", reference: "Reference", errors: "Error codes", other: "中文" },
  zh: { tag: "zh-CN", home: "/docs/zh", docs: "文档", reference: "API 参考", errors: "错误代码", other: "English" },
} as const;

// Texts change with a release only.
const keptSeconds = 300;

/** What a page may load: our stylesheets, and our script where there is something for it to do. */
const basePolicy = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

interface Use {
  readonly head: string;
  readonly policy: string;
}

const uses = {
  /** Nothing but text. */
  text: { head: "", policy: basePolicy },
  /** Code with a button that copies it. */
  code: { head: '\n<script src="/docs.js" defer></script>', policy: `${basePolicy}; script-src 'self'` },
  /** Swagger UI, which draws its signs from `data:` and asks this origin alone. */
  reference: {
    head: `
<link rel="stylesheet" href="/swagger-ui/swagger-ui.css">
<link rel="stylesheet" href="/reference.css">
<script src="/swagger-ui/swagger-ui-bundle.js" defer></script>
<script src="/reference.js" type="module"></script>`,
    policy: `${basePolicy}; script-src 'self'; connect-src 'self'; img-src data:`,
  },
} satisfies Record<string, Use>;

/** A page of documentation. It may be kept by anyone for five minutes. */
export function docsPage({ title, language, twin, content, use }: DocsPage): Response {
  const frame = frames[language];
  const otherTag = frames[language === "en" ? "zh" : "en"].tag;
  const turn = twin === null ? "" : `\n<a href="${twin}" hreflang="${otherTag}" lang="${otherTag}">${frame.other}</a>`;
  const { head, policy } = uses[use ?? (content.includes("<pre") ? "code" : "text")];
  const html = `<!doctype html>
<html lang="${frame.tag}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} · Gatehouse</title>
<link rel="stylesheet" href="/page.css">
<link rel="stylesheet" href="/docs.css">${head}
</head>
<body>
<header>
<nav aria-label="Gatehouse">
<a href="${frame.home}"><strong>Gatehouse</strong> ${frame.docs}</a>
<a href="/docs/reference">${frame.reference}</a>
<a href="/docs/errors">${frame.errors}</a>${turn}
</nav>
</header>
<main>
${content}
</main>
</body>
</html>
`;
  return new Response(html, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-language": frame.tag,
      "cache-control": `public, max-age=${keptSeconds}`,
      "content-security-policy": policy,
    },
  });
}
