/** Reading web pages: Firecrawl and Jina Reader. */
import { baseField, choice, flag, keyField, list, text, whole, words, type BuiltinSource } from "./parts.js";

const formats = {
  type: "array",
  description: "What to give of the page.",
  items: { type: "string", enum: ["markdown", "summary", "html", "rawHtml", "links"] },
  minItems: 1,
  maxItems: 5,
};

export const firecrawl: BuiltinSource = {
  name: "firecrawl",
  title: "Firecrawl",
  description: "Web pages as Markdown, scripts run; the addresses of a site; web search.",
  docs_url: "https://docs.firecrawl.dev/api-reference/v2-introduction",
  key_url: "https://www.firecrawl.dev/app/api-keys",
  auth: { type: "bearer" },
  form: [keyField("API key", "Begins with fc-. Made under API Keys in the Firecrawl dashboard.")],
  bases: [{ title: "Firecrawl", url: "https://api.firecrawl.dev/v2" }],
  operations: [
    {
      id: "scrape",
      method: "post",
      path: "/scrape",
      title: "Read a page",
      description: "Loads one web page in a browser and gives its content.",
      body: {
        url: words("The page's address.", 2000),
        formats,
        onlyMainContent: flag("Leave out navigation, headers and footers. True when left out."),
        includeTags: list("Only elements that these selectors match.", 50),
        excludeTags: list("No elements that these selectors match.", 50),
        waitFor: whole("Milliseconds to wait for scripts.", 0, 30_000),
        timeout: whole("Milliseconds after which to give up.", 1000, 120_000),
        mobile: flag("Load the page as a phone does."),
      },
      required: ["url"],
    },
    {
      id: "search",
      method: "post",
      path: "/search",
      title: "Search the web",
      description: "Finds pages for a question.",
      body: {
        query: words("What to search for.", 500),
        limit: whole("How many pages.", 1, 100),
        location: text("Where the search is made from, such as Germany."),
        tbs: text("How old a page may be: qdr:d, qdr:w, qdr:m or qdr:y."),
      },
      required: ["query"],
    },
    {
      id: "map",
      method: "post",
      path: "/map",
      title: "List a site's pages",
      description: "Gives the addresses of a site's pages.",
      body: {
        url: words("The site's address.", 2000),
        search: text("Put pages first that fit these words."),
        limit: whole("How many addresses.", 1, 5000),
        includeSubdomains: flag("Also pages of subdomains."),
      },
      required: ["url"],
    },
  ],
};

const jinaBases = [
  { title: "Worldwide", url: "https://r.jina.ai" },
  { title: "European Union", url: "https://eu.r.jina.ai" },
];

export const jina: BuiltinSource = {
  name: "jina_reader",
  title: "Jina Reader",
  description: "Any web page or PDF as text that a model reads well.",
  docs_url: "https://jina.ai/reader/",
  key_url: "https://jina.ai/api-dashboard/key-manager",
  auth: { type: "bearer" },
  form: [
    keyField("API key", "Begins with jina_. Made in Jina's key manager; a key to start with comes with free tokens."),
    baseField("Where pages are read from.", jinaBases),
  ],
  bases: jinaBases,
  operations: [
    {
      id: "read",
      method: "post",
      path: "/",
      title: "Read a page",
      description: "Gives the content of a web page or PDF.",
      body: { url: words("The page's address.", 2000) },
      header: {
        "X-Return-Format": choice("The content's form; Markdown when left out.", "markdown", "html", "text"),
        "X-Target-Selector": text("Only elements that this CSS selector matches."),
        "X-Remove-Selector": text("No elements that this CSS selector matches."),
        "X-With-Links-Summary": choice("Also list the page's links at the end.", "true", "all"),
        "X-Timeout": whole("Seconds to wait for the page.", 1, 180),
        "X-No-Cache": choice("Load the page anew.", "true"),
      },
      required: ["url"],
    },
  ],
};
