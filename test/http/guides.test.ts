/** The guides and the manual as pages. That the list here holds every file of docs/guides is asserted where there is a file system: e2e/docs.test.ts. */
import { describe, it } from "vitest";
import { guideTexts, manualTexts } from "../../src/http/guide-texts.js";
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
