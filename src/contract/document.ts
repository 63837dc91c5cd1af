/** The whole contract as one document: OpenAPI 3.1 of the control plane, the gateway, the door of agents, and what is served beside them. */
import type { Endpoint } from "../http/endpoint.js";
import { describeEndpoints } from "../http/openapi.js";
import { headers, isJsonObject, type JsonObject, parameters, securitySchemes } from "../http/openapi-parts.js";
import { addExamples, operationsOf } from "./examples.js";
import { gatewayHeaders } from "./gateway-headers.js";
import { describeGateway } from "./gateway.js";
import { describeMcp } from "./mcp.js";
import { describeService } from "./service.js";

/** The OpenAPI 3.1 document of the service that stands at `serverUrl`. */
export function describeApi(endpoints: readonly Endpoint[], version: string, serverUrl: string): JsonObject {
  const shared = { responses: {}, examples: {} };
  const parts = [
    describeService(shared),
    describeEndpoints(endpoints, shared),
    describeGateway(shared),
    describeMcp(shared),
  ];
  // Parts that are the same for every document are not to be written into.
  const document: JsonObject = structuredClone({
    openapi: "3.1.0",
    info: {
      title: "Gatehouse",
      version,
      description:
        "Workspaces, members, API keys, encrypted provider credentials, and a gateway that routes model calls.",
      license: { name: "All rights reserved" },
    },
    servers: [
      {
        url: serverUrl,
        description: serverUrl.startsWith("https:") ? "This service, in production." : "This service, on a local run.",
        "x-internal": false,
      },
    ],
    paths: Object.assign({}, ...parts.map(({ paths }) => paths)),
    components: {
      securitySchemes,
      schemas: Object.assign({}, ...parts.map(({ schemas }) => schemas)),
      headers: { ...headers, ...gatewayHeaders },
      parameters,
      ...shared,
    },
  });
  document["tags"] = tagsOf(document);
  sizeIntegers(document["components"]);
  sizeIntegers(document["paths"]);
  addExamples(document);
  return document;
}

/** What the operations are grouped by, in the order in which somebody comes to need them. */
const tags: Readonly<Record<string, string>> = {
  Service: "Health, this document, and pages to read.",
  Local: "Only on a local run.",
  "Set-up": "The first account of a new service.",
  "Sign-in": "Codes by e-mail, passkeys, sign-in by another service; sessions and access tokens.",
  You: "The signed-in person: name, memberships, personal tokens.",
  Workspaces: "Tenants: each with its members, keys, credentials and records.",
  Members: "Who belongs to a workspace, with which role, and who owns it.",
  Invites: "Asking people in by e-mail.",
  "API keys": "Keys for programs: scopes, limits, rotation.",
  "Model providers": "Whom models are called at, and the encrypted credentials for it.",
  Models: "What can be called there, at which price, and the default for each kind.",
  Pools: "Names that clients call, each routed to one of several instances.",
  Gateway: "OpenAI's and Anthropic's wires, passed through to an instance of a pool.",
  "Tool providers": "Where tools come from, and the encrypted credentials for it.",
  Tools: "What agents can invoke.",
  Agents: "The workspace's tools as one MCP server.",
  Usage: "Tokens, cost and requests, and how each request was decided.",
  Audit: "Who did what; the log's signed tree and its proofs.",
  Webhooks: "Events of the workspace, signed and sent.",
  Vault: "The workspace's data key and its rotation.",
};

/** Says of every whole number in how many bits it fits. */
function sizeIntegers(node: unknown): void {
  if (Array.isArray(node)) {
    node.forEach(sizeIntegers);
  } else if (isJsonObject(node)) {
    const isSchema = [node["type"]].flat().includes("integer");
    if (isSchema && node["format"] === undefined) {
      const { maximum } = node;
      node["format"] = typeof maximum === "number" && maximum < 2 ** 31 ? "int32" : "int64";
    }
    Object.values(node).forEach(sizeIntegers);
  }
}

/** Every tag in use. Throws for one that nobody described. */
function tagsOf(document: JsonObject): JsonObject[] {
  const used = new Set(operationsOf(document).flatMap(([, operation]) => operation["tags"]));
  const unknown = [...used].filter((name) => typeof name !== "string" || !(name in tags));
  if (unknown.length > 0) {
    throw new TypeError(`a tag without description: ${unknown.join(", ")}`);
  }
  return Object.entries(tags).flatMap(([name, description]) => (used.has(name) ? [{ name, description }] : []));
}
