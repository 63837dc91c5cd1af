/** The guides and the manual as pages, and their list. */
import { AppError } from "../base/errors.js";
import { escapeHtml } from "../base/html.js";
import { docsPage, type Language } from "./docs-page.js";
import { guideTexts, manualTexts } from "./guide-texts.js";
import { type Rendered, renderMarkdown, titleOf } from "./markdown.js";

// A guide's own link to its twin, for readers of the file: the page's frame has one.
const switchLine = /^\[(?:中文|English)\]\([^)\n]+\)\n/m;

// Each text is rendered once in an isolate's life.
const rendered = new Map<string, Rendered>();

/** The page of a guide. Throws `not_found` for a name that is none. */
export async function showGuide(name: string, language: Language): Promise<Response> {
  const load = Object.hasOwn(guideTexts, name) ? guideTexts[name]?.[language] : undefined;
  if (load === undefined) {
    throw new AppError("not_found");
  }
  const folder = language === "en" ? "docs/guides" : "docs/guides/zh";
  const { title, html } = await render(`${folder}/${name}.md`, load);
  return docsPage({ title, language, twin: guideAddress(name, language === "en" ? "zh" : "en"), content: html });
}

/** The page of a part of the manual. Throws `not_found` for a name that is none. */
export async function showManual(name: string): Promise<Response> {
  const load = Object.hasOwn(manualTexts, name) ? manualTexts[name] : undefined;
  if (load === undefined) {
    throw new AppError("not_found");
  }
  const { title, html } = await render(`docs/${name}.md`, load);
  return docsPage({ title, language: "en", twin: null, content: html });
}

const words = {
  en: {
    title: "Documentation",
    lead: "An API gateway for the models and tools of a team: one address, keys with limits, pools that survive a provider's bad day.",
    guides: "Guides",
    reference: "Reference",
    contract: "Every endpoint, with requests to send from the page",
    raw: "The same as an OpenAPI 3.1 document",
    errors: "What each error code means, and what to do",
    manual: "Manual",
  },
  zh: {
    title: "文档",
    lead: "面向团队的模型与工具 API 网关：一个地址、带限额的密钥，以及在提供方出故障时仍能继续服务的资源池。",
    guides: "指南",
    reference: "参考",
    contract: "全部接口，可在页面上直接发送请求",
    raw: "同样的内容，OpenAPI 3.1 文档",
    errors: "每个错误代码的含义与处理办法（英文）",
    manual: "手册（英文）",
  },
} as const;

type Load = () => Promise<{ readonly default: string }>;

/** What there is to read. */
export async function showDocsIndex(language: Language): Promise<Response> {
  const said = words[language];
  const content = `<h1>${said.title}</h1>
<p>${said.lead}</p>
<h2>${said.guides}</h2>
${await list(Object.entries(guideTexts).map(([name, load]) => [guideAddress(name, language), load[language]]))}
<h2>${said.reference}</h2>
<ul>
<li><a href="/docs/reference">${said.contract}</a></li>
<li><a href="/openapi.json">${said.raw}</a></li>
<li><a href="/docs/errors">${said.errors}</a></li>
</ul>
<h2>${said.manual}</h2>
${await list(Object.entries(manualTexts).map(([name, load]) => [manualAddress(name), load]))}`;
  return docsPage({ title: said.title, language, twin: language === "en" ? "/docs/zh" : "/docs", content });
}

/** Links by the titles that the texts bear themselves. */
async function list(entries: readonly (readonly [address: string, load: Load])[]): Promise<string> {
  const items = await Promise.all(
    entries.map(async ([address, load]) => {
      const { default: text } = await load();
      return `<li><a href="${address}">${escapeHtml(titleOf(text))}</a></li>`;
    }),
  );
  return `<ul>\n${items.join("\n")}\n</ul>`;
}

async function render(path: string, load: Load): Promise<Rendered> {
  const known = rendered.get(path);
  if (known !== undefined) {
    return known;
  }
  const { default: text } = await load();
  const page = await renderMarkdown(text.replace(switchLine, ""), path, placeOf);
  rendered.set(path, page);
  return page;
}

/** Where a file of the repository is served; null when it is not. */
function placeOf(path: string): string | null {
  const [, chinese, guide] = /^docs\/guides\/(zh\/)?([\w-]+)\.md$/.exec(path) ?? [];
  if (guide !== undefined && Object.hasOwn(guideTexts, guide)) {
    return guideAddress(guide, chinese === undefined ? "en" : "zh");
  }
  const manual = /^docs\/([\w-]+)\.md$/.exec(path)?.[1];
  if (manual !== undefined && Object.hasOwn(manualTexts, manual)) {
    return manualAddress(manual);
  }
  return { "README.md": "/docs", "README.zh.md": "/docs/zh" }[path] ?? null;
}

function guideAddress(name: string, language: Language): string {
  return language === "en" ? `/docs/guides/${name}` : `/docs/zh/guides/${name}`;
}

function manualAddress(name: string): string {
  return `/docs/manual/${name}`;
}
