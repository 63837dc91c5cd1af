import { describe, it } from "vitest";
import { errorHelp } from "../../src/base/error-help.js";
import { errorTable } from "../../src/base/error-table.js";
import { call } from "../support/client.js";

describe("the pages of error codes", () => {
  it("says of every code what it means and what to do, in texts of its own", async ({ expect }) => {
    const codes = Object.keys(errorTable) as (keyof typeof errorTable)[];
    const seen = new Set<string>();
    const index = await call("GET", "/docs/errors");
    expect(index.status).toBe(200);
    for (const code of codes) {
      const { means, remedy } = errorHelp[code];
      expect(means, code).toMatch(/^[A-Z`].{20,}\.$/);
      expect(remedy, code).toMatch(/^[A-Z`].{10,}\.$/);
      seen.add(means);
      expect(index.text).toContain(`href="/docs/errors/${code}"`);
      const { status, text, headers } = await call("GET", `/docs/errors/${code}`);
      expect([status, headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
      expect(text).toContain(errorTable[code].title.replaceAll("'", "&#39;"));
      expect(text).toContain(`HTTP status ${errorTable[code].status}`);
      // What stands in backticks is code, and no backtick is left over.
      expect(text).not.toContain("`");
    }
    expect(seen.size).toBe(codes.length);
    expect(Object.keys(errorHelp).toSorted()).toEqual(codes.toSorted());
  });

  it("needs no script, nobody signed in and nothing from elsewhere", async ({ expect }) => {
    const { text, headers } = await call("GET", "/docs/errors/rate_limited");
    expect(headers.get("content-security-policy")).toBe(
      "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    );
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(text).not.toMatch(/<script|https?:/);
    expect((await call("GET", "/page.css")).status).toBe(200);
  });

  it("has no page for a word that is no code, nor for one of the language's own", async ({ expect }) => {
    for (const word of ["nope", "constructor", "__proto__", "%3Cscript%3E"]) {
      const { status, body } = await call("GET", `/docs/errors/${word}`);
      expect([status, body?.code, body?.type]).toEqual([404, "not_found", "/docs/errors/not_found"]);
    }
  });
});
