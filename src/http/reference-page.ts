/** The reference: every operation of the contract, with requests to send from the page. Swagger UI shows it, from our own files. */
import { docsPage } from "./docs-page.js";

/** The page. It asks for /openapi.json by itself. */
export function showReference(): Response {
  return docsPage({
    title: "Reference",
    language: "en",
    twin: null,
    content: `<noscript><p>The reference needs JavaScript. <a href="/openapi.json">The document itself</a> does not.</p></noscript>
<div id="reference"></div>`,
    use: "reference",
  });
}
