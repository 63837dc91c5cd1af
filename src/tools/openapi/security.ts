/** What a document's security schemes ask for, in the forms that a credential here can take. */
import type { ToolAuth } from "../contract.js";
import { itemsOf, member, membersOf, textOf, treeAt, type Place, type Reading, type TreePlace } from "./place.js";
import { isTree } from "./tree.js";

/** The ways to authenticate that a document offers: what its own `security` asks for first, nothing else by chance. */
export interface DocumentSecurity {
  readonly auth: ToolAuth;
  readonly alternatives: readonly ToolAuth[];
  /** API keys of the document by `<in> <name>`: as parameters they are no input. */
  readonly keyParameters: ReadonlySet<string>;
}

/** Reads `components.securitySchemes` and the security of the document and its operations, the document's own first. */
export function readSecurity(
  reading: Reading,
  root: TreePlace,
  operations: readonly (Place | null)[],
): DocumentSecurity {
  const components = treeAt(reading, member(root, "components"));
  const schemes = components === null ? null : treeAt(reading, member(components, "securitySchemes"));
  const known = new Map<string, ToolAuth>();
  for (const [name, at] of schemes === null ? [] : membersOf(schemes, true)) {
    const place = treeAt(reading, at);
    const auth = place === null ? null : readScheme(reading, place);
    if (auth !== null) {
      known.set(name, auth);
    }
  }
  const asked = [member(root, "security"), ...operations].flatMap((at) => requirementsOf(reading, at));
  const single = asked.flatMap((names) => (names.length === 1 ? [known.get(names[0] ?? "")] : []));
  const inOrder = [...single, ...(asked.length === 0 ? [] : known.values())].filter((auth) => auth !== undefined);
  const unique = [...new Map(inOrder.map((auth) => [JSON.stringify(auth), auth])).values()];
  const [auth, ...alternatives] = unique;
  return {
    auth: auth ?? { type: "none" },
    alternatives: auth === undefined ? [...known.values()] : alternatives,
    keyParameters: new Set(
      [...known.values()].flatMap((scheme) => (scheme.type === "api_key" ? [`${scheme.in} ${scheme.name}`] : [])),
    ),
  };
}

/** Names of the schemes that each alternative asks for; an empty alternative means that none is needed, and is left out. */
function requirementsOf(reading: Reading, at: Place | null): readonly (readonly string[])[] {
  return itemsOf(reading, at)
    .map(({ value }) => (isTree(value) ? Object.keys(value) : []))
    .filter((names) => names.length > 0);
}

function readScheme(reading: Reading, place: TreePlace): ToolAuth | null {
  const name = textOf(place, "name");
  const where = place.value["in"];
  switch (textOf(place, "type") ?? "") {
    case "apiKey":
      return name !== null && (where === "header" || where === "query" || where === "cookie")
        ? { type: "api_key", in: where, name }
        : null;
    case "http":
      return readHttp(textOf(place, "scheme"));
    case "oauth2":
      return readFlows(reading, place);
    case "openIdConnect":
      return { type: "bearer" };
    default:
      return null;
  }
}

function readHttp(scheme: string | null): ToolAuth | null {
  switch (scheme?.toLowerCase() ?? "") {
    case "bearer":
      return { type: "bearer" };
    case "basic":
      return { type: "basic" };
    default:
      return null;
  }
}

/** Client credentials where the document has that flow; any other flow ends in a token that is entered as it is. */
function readFlows(reading: Reading, place: TreePlace): ToolAuth {
  const flows = treeAt(reading, member(place, "flows"));
  const flow = flows === null ? null : treeAt(reading, member(flows, "clientCredentials"));
  const url = flow === null ? null : textOf(flow, "tokenUrl");
  if (flow === null || url === null || URL.parse(url) === null) {
    return { type: "bearer" };
  }
  const scopes = treeAt(reading, member(flow, "scopes"));
  return {
    type: "oauth_client_credentials",
    token_url: url,
    scopes: scopes === null ? [] : membersOf(scopes, true).map(([scope]) => scope),
  };
}
