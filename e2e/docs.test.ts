/** The pages under /docs in a real browser, and that none of the texts of docs/ is left out. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { findBrowser, startBrowser } from "./support/browser.ts";

const url = inject("serverUrl");
const root = path.dirname(import.meta.dirname);
const docs = path.join(root, "docs");

function namesIn(folder: string): string[] {
  const files = readdirSync(path.join(docs, folder)).filter((file) => file.endsWith(".md"));
  return files.map((file) => file.slice(0, -".md".length)).toSorted();
}

/** Paths from the root of all files below a folder that end so. */
function filesBelow(folder: string, ending: string): string[] {
  const names = readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" });
  return names.filter((name) => name.endsWith(ending)).map((name) => path.join(folder, name));
}

async function listedOn(page: string, prefix: string): Promise<string[]> {
  const text = await (await fetch(`${url}${page}`)).text();
  const links = [...text.matchAll(/<a href="([^"]+)"/g)].map((match) => match[1] ?? "");
  return links
    .filter((link) => link.startsWith(prefix))
    .map((link) => link.slice(prefix.length))
    .toSorted();
}

describe("the texts of docs/", () => {
  it("are all served and listed, each guide in both languages", async ({ expect }) => {
    expect(await listedOn("/docs", "/docs/guides/")).toEqual(namesIn("guides"));
    expect(await listedOn("/docs/zh", "/docs/zh/guides/")).toEqual(namesIn("guides/zh"));
    expect(namesIn("guides/zh")).toEqual(namesIn("guides"));
    expect(await listedOn("/docs", "/docs/manual/")).toEqual(namesIn("."));
  });

  it("link to files that are there", ({ expect }) => {
    const texts = ["docs", "clients"]
      .flatMap((folder) => filesBelow(folder, ".md"))
      .concat("README.md", "README.zh.md");
    const links = texts.flatMap((text) =>
      [...readFileSync(path.join(root, text), "utf8").matchAll(/\]\((?!https?:)([^)#]+)/g)].map((match) => ({
        text,
        to: path.join(path.dirname(text), match[1] ?? ""),
      })),
    );
    expect(links.length).toBeGreaterThan(100);
    expect(links.filter(({ to }) => !existsSync(path.join(root, to)))).toEqual([]);
  });

  it("tell of every table, of D1 and of the Durable Objects, what a row of it is", ({ expect }) => {
    const made = [...filesBelow("migrations", ".sql"), ...filesBelow("src", ".ts")].flatMap((file) =>
      [...readFileSync(path.join(root, file), "utf8").matchAll(/CREATE TABLE (?:IF NOT EXISTS )?`?(\w+)/g)].map(
        (match) => match[1] ?? "",
      ),
    );
    // drizzle-kit rebuilds a table under a name of its own.
    const tables = [...new Set(made)].filter((name) => !name.startsWith("__"));
    const told = readFileSync(path.join(docs, "storage.md"), "utf8");
    expect(tables.length).toBeGreaterThan(50);
    expect(tables.filter((name) => !told.includes(`\`${name}\``))).toEqual([]);
  });
});

/** Opens an operation by the keyboard, sends its request and reads the answer. */
async function tryOperation(page: Page, tag: string, operation: string): Promise<string> {
  await page.locator(`#operations-tag-${tag} button`).press("Enter");
  const part = page.locator(`#operations-${tag}-${operation}`);
  await part.locator("button.opblock-summary-control").press("Enter");
  await part.locator("button.execute").press("Enter");
  return await part.locator(".live-responses-table .response").innerText();
}

const executable = findBrowser();
// Without a browser these are skipped, but never in CI.
const needsBrowser = executable !== null || process.env["CI"] !== undefined ? describe : describe.skip;

needsBrowser("the pages under /docs, in a browser", () => {
  let browser: Browser;
  let context: BrowserContext;
  const complaints: string[] = [];

  beforeAll(async () => {
    if (executable === null) {
      throw new Error("There is no Chromium on this machine: install the package chromium, or name one in CHROMIUM.");
    }
    browser = await startBrowser(executable);
    context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"] });
    context.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) {
        complaints.push(`${message.type()}: ${message.text()}`);
      }
    });
    context.on("weberror", (failure) => complaints.push(failure.error().message));
    context.on("request", (request) => {
      if (!request.url().startsWith(`${url}/`) && !request.url().startsWith("data:")) {
        complaints.push(`asks elsewhere: ${request.url()}`);
      }
    });
  });

  afterAll(async () => {
    await browser?.close();
  });

  it("the reference shows the contract and sends its requests, and asks nobody else", async ({ expect }) => {
    const page = await context.newPage();
    await page.goto(`${url}/docs/reference`);
    const answer = await tryOperation(page, "Service", "isAlive");
    expect(answer).toContain("200");
    expect(answer).toContain('"status": "ok"');
    expect(complaints).toEqual([]);
    await page.close();
  });

  it("the reference calls with the caller's token, and forgets it with the page", async ({ expect }) => {
    const page = await context.newPage();
    await page.goto(`${url}/docs/reference`);
    await page.locator("button.authorize").click();
    const form = page.locator(".auth-container").filter({ hasText: "A session token" });
    await form.locator("input").fill(inject("sessionToken"));
    await form.locator("[type=submit]").press("Enter");
    await form.locator("button.btn-done").click();
    const answer = await tryOperation(page, "You", "readMe");
    expect(answer).toContain('"email": "ada@example.com"');
    // Of the parameters with an example only those that a request needs are sent.
    const list = await tryOperation(page, "Pools", "listPools");
    expect(list).toContain('"next_cursor": null');
    const kept = await page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])");
    expect(kept).toBe('[{},{},""]');
    expect(complaints).toEqual([]);
    await page.goto("about:blank");
    await page.goto(`${url}/docs/reference`);
    expect(await tryOperation(page, "You", "readMe")).toContain('"code": "unauthenticated"');
    // The browser says of its own accord that a request got a 401.
    expect(complaints.splice(0)).toEqual([expect.stringContaining("401")]);
    await page.close();
  });

  it("every page fits a telephone, is read without a complaint, and copies its code", async ({ expect }) => {
    const page = await context.newPage();
    await page.setViewportSize({ width: 390, height: 800 });
    const guides = namesIn("guides").flatMap((name) => [`/docs/guides/${name}`, `/docs/zh/guides/${name}`]);
    const manual = namesIn(".").map((name) => `/docs/manual/${name}`);
    for (const address of ["/docs", "/docs/zh", "/docs/errors", "/docs/errors/not_found", ...guides, ...manual]) {
      await page.goto(`${url}${address}`);
      expect(await page.locator("h1").innerText(), address).not.toBe("");
      expect(await page.evaluate("document.documentElement.scrollWidth"), address).toBe(390);
    }
    await page.goto(`${url}/docs/zh/guides/first-call`);
    expect(await page.evaluate("document.documentElement.lang")).toBe("zh-CN");
    await page.getByRole("button", { name: "复制" }).first().click();
    await page.getByRole("button", { name: "已复制" }).waitFor();
    const code = await page.locator("pre code").first().innerText();
    expect(await page.evaluate("navigator.clipboard.readText()")).toBe(code.trimEnd());
    await page.locator("nav a[hreflang]").click();
    await page.waitForURL(`${url}/docs/guides/first-call`);
    expect(complaints).toEqual([]);
    await page.close();
  });
});
