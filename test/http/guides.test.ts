/** The guides and the manual as pages. That the list here holds every file of docs/guides is asserted where there is a file system: e2e/docs.test.ts. */
import { describe, it } from "vitest";
import { guideTexts, manualTexts } from "../../src/http/guide-texts.js";
import { renderMarkdown } from "../../src/http/markdown.js";
import { call } from "../support/client.js";

const pages = [
  "/docs",
  "/docs/zh",
  "/docs/errors",
  "/docs/errors/not_found",
  ...Object.keys(guideTexts).flatMap((name) => [`/docs/guides/${name}`, `/docs/zh/guides/${name}`]),
  ...Object.keys(manualTexts).map((name) => `/docs/manual/${name}`),
];

describe("the guides", () => {
  it("are pages in both languages, listed, and each leads to its twin", async ({ expect }) => {
    const lists = { en: (await call("GET", "/docs")).text, zh: (await call("GET", "/docs/zh")).text };
    for (const name of Object.keys(guideTexts)) {
      const english = await call("GET", `/docs/guides/${name}`);
      const chinese = await call("GET", `/docs/zh/guides/${name}`);
      expect([english.status, chinese.status]).toEqual([200, 200]);
      expect([english.headers.get("content-language"), chinese.headers.get("content-language")]).toEqual([
        "en",
        "zh-CN",
      ]);
      expect(english.text).toContain('<html lang="en">');
      expect(chinese.text).toContain('<html lang="zh-CN">');
      expect(english.text).toContain(`<a href="/docs/zh/guides/${name}" hreflang="zh-CN" lang="zh-CN">`);
      expect(chinese.text).toContain(`<a href="/docs/guides/${name}" hreflang="en" lang="en">`);
      expect(english.text.match(/>中文<\/a>/g)).toHaveLength(1);
      expect(chinese.text.match(/>English<\/a>/g)).toHaveLength(1);
      expect(chinese.text).toMatch(/<h1 id="[^"]+">[^<]*[\u4e00-\u9fff]/);
      expect(lists.en).toContain(`<a href="/docs/guides/${name}">`);
      expect(lists.zh).toContain(`<a href="/docs/zh/guides/${name}">`);
    }
  });

  it("have no link that leads nowhere, here or within a page", async ({ expect }) => {
    const anchors = new Map<string, Set<string>>();
    const links: { page: string; to: string; hash: string }[] = [];
    for (const page of pages) {
      const { status, text } = await call("GET", page);
      expect(status, page).toBe(200);
      anchors.set(page, new Set([...text.matchAll(/ id="([^"]+)"/g)].map((match) => match[1] ?? "")));
      for (const [, href = ""] of text.matchAll(/<a href="(\/[^"]*|#[^"]*)"/g)) {
        const [to = "", hash = ""] = href.split("#");
        links.push({ page, to: to === "" ? page : to, hash: decodeURIComponent(hash) });
      }
    }
    const elsewhere = new Set(links.map(({ to }) => to).filter((to) => !anchors.has(to)));
    for (const to of elsewhere) {
      expect((await call("GET", to)).status, to).toBe(200);
    }
    const dead = links.filter(({ to, hash }) => hash !== "" && anchors.get(to)?.has(hash) !== true);
    expect(dead).toEqual([]);
  });

  it("need nobody signed in and nothing from elsewhere, and may be kept by anyone", async ({ expect }) => {
    for (const page of pages) {
      const { headers, text } = await call("GET", page);
      expect(headers.get("content-security-policy")).toBe(
        `default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'${text.includes("<pre") ? "; script-src 'self'" : ""}`,
      );
      expect(headers.get("cache-control")).toBe("public, max-age=300");
      expect(text, page).not.toMatch(/ style="|<style|<img|<iframe| on\w+="|<script(?! src="\/docs\.js" defer><)/);
    }
  });

  it("answer 404 for a name that is none, or one of the language's own", async ({ expect }) => {
    for (const name of ["nope", "constructor", "__proto__", "..%2Fsettings", "first-call.md"]) {
      for (const path of [`/docs/guides/${name}`, `/docs/zh/guides/${name}`, `/docs/manual/${name}`]) {
        const { status, body } = await call("GET", path);
        expect([status, body?.code], path).toEqual([404, "not_found"]);
      }
    }
  });
});

const place = (path: string): string | null => (path === "docs/vault.md" ? "/docs/manual/vault" : null);
const render = async (text: string): Promise<string> =>
  (await renderMarkdown(text, "docs/guides/x.md", place)).html.trim();

describe("Markdown as HTML", () => {
  it("shows HTML as text and leaves comments out", async ({ expect }) => {
    expect(await render("<!-- ci: run -->\n```sh\nls <dir> & x\n```")).toBe(
      '<pre data-language="sh"><code>ls &lt;dir&gt; &amp; x\n</code></pre>',
    );
    expect(await render('a <b onclick="x">b</b>')).toBe("<p>a &lt;b onclick=&quot;x&quot;&gt;b&lt;/b&gt;</p>");
    expect(await render("<script>x</script>")).toBe("&lt;script&gt;x&lt;/script&gt;");
    expect(await render("<!-- x --><script>y</script>")).not.toContain("<script");
    expect(await render('```"><script>\nx\n```')).toBe("<pre><code>x\n</code></pre>");
  });

  it("leads links to where the pages stand, and nowhere else", async ({ expect }) => {
    const links: [href: string, html: string][] = [
      ["../vault.md#why", '<a href="/docs/manual/vault#why">x</a>'],
      ["#here", '<a href="#here">x</a>'],
      ["/openapi.json", '<a href="/openapi.json">x</a>'],
      ["https://example.com/?a=1&b=2", '<a href="https://example.com/?a=1&amp;b=2">x</a>'],
      // Not served, not the web's, or no address.
      ["../../src/app.ts", "x"],
      ["javascript:alert(1)", "x"],
      ["data:text/html,x", "x"],
      ["https://[", "x"],
    ];
    for (const [href, html] of links) {
      expect(await render(`[x](${href})`), href).toBe(`<p>${html}</p>`);
    }
    expect(await render("![a <b>](https://elsewhere.example/x.png)")).toBe("<p>a &lt;b&gt;</p>");
  });

  it("gives headings anchors as GitHub does, each its own", async ({ expect }) => {
    expect(await render("## `a_b`: it's ok\n## 第一次 调用\n## 第一次 调用")).toBe(
      [
        '<h2 id="a_b-its-ok"><code>a_b</code>: it&#39;s ok</h2>',
        '<h2 id="第一次-调用">第一次 调用</h2>',
        '<h2 id="第一次-调用-1">第一次 调用</h2>',
      ].join("\n"),
    );
  });
});
