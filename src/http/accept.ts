/** What form of an answer a caller would rather have. */

/** Whether `text/html` ranks above `application/json`: by q, then by order (RFC 9110 §12.5.1). */
export function prefersHtml(accept: string | null): boolean {
  const ranked = (accept ?? "").split(",").map((part, index) => {
    const [type = "", ...parameters] = part.split(";").map((word) => word.trim().toLowerCase());
    const weight = Number(parameters.find((word) => word.startsWith("q="))?.slice(2) ?? "1");
    return { type, weight, index };
  });
  const html = ranked.find(({ type, weight }) => type === "text/html" && weight > 0);
  const json = ranked.find(({ type }) => type === "application/json");
  if (html === undefined || json === undefined) {
    return html !== undefined;
  }
  return html.weight === json.weight ? html.index < json.index : html.weight > json.weight;
}
