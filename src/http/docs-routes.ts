/** The pages under /docs. Anyone may read them. */
import { Hono } from "hono";
import type { HttpEnv } from "./context.js";
import { showErrorIndex, showErrorPage } from "./error-pages.js";
import { showDocsIndex, showGuide, showManual } from "./guides.js";
import { showReference } from "./reference-page.js";

/** The app of these pages, to be mounted at `/docs`. */
export const docsPages = new Hono<HttpEnv>();

docsPages.get("/", () => showDocsIndex("en"));
docsPages.get("/zh", () => showDocsIndex("zh"));
docsPages.get("/reference", () => showReference());
docsPages.get("/guides/:name", (context) => showGuide(context.req.param("name"), "en"));
docsPages.get("/zh/guides/:name", (context) => showGuide(context.req.param("name"), "zh"));
docsPages.get("/manual/:name", (context) => showManual(context.req.param("name")));
docsPages.get("/errors", () => showErrorIndex());
docsPages.get("/errors/:code", (context) => showErrorPage(context.req.param("code")));
