/** Where a document's calls go: its servers with their variables filled, relative ones read against where the document came from. */
import { itemsOf, member, note, textOf, treeAt, type Place, type Reading, type TreePlace } from "./place.js";
import { ownMember } from "./tree.js";

const maxServers = 20;

/** The bases that a list of servers names, without trailing slashes. A server that cannot be used is noted as a fault. */
export function readServers(reading: Reading, at: Place | null, documentUrl: string | null): readonly string[] {
  return itemsOf(reading, at)
    .slice(0, maxServers)
    .flatMap((item) => {
      const place = treeAt(reading, item);
      const url = place === null ? null : readServer(reading, place, documentUrl);
      return url === null ? [] : [url];
    });
}

/** A base URL as the calls take it, or null when it is none. */
export function normaliseBase(text: string, documentUrl: string | null): string | null {
  const url = documentUrl === null ? URL.parse(text) : URL.parse(text, documentUrl);
  if (
    url === null ||
    (url.protocol !== "https:" && url.protocol !== "http:") ||
    url.username !== "" ||
    url.password !== ""
  ) {
    return null;
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

function readServer(reading: Reading, place: TreePlace, documentUrl: string | null): string | null {
  const template = textOf(place, "url");
  if (template === null) {
    note(reading, place.pointer, "A server needs a `url`.");
    return null;
  }
  const variables = treeAt(reading, member(place, "variables"));
  const filled = template.replace(/\{([^{}]+)\}/g, (whole, name: string) => {
    const variable = ownMember(variables?.value, name);
    const first: unknown = ownMember(ownMember(variable, "enum"), "0");
    const value = ownMember(variable, "default") ?? first;
    return typeof value === "string" || typeof value === "number" ? String(value) : whole;
  });
  if (/[{}]/.test(filled)) {
    note(reading, place.pointer, "A variable of the server has no `default`. Give one, or enter a base URL.");
    return null;
  }
  const base = normaliseBase(filled, documentUrl);
  if (base === null) {
    const isRelative = URL.parse(filled) === null;
    note(
      reading,
      place.pointer,
      isRelative
        ? "The server's address is relative to a document without an address. Enter a base URL."
        : "The server's address must be a web address without a user name.",
    );
  }
  return base;
}
