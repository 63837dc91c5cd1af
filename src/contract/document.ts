/** The whole contract as one document: OpenAPI 3.1 of the control plane, the gateway, the door of agents, and what is served beside them. */
import type { Endpoint } from "../http/endpoint.js";
import { describeEndpoints } from "../http/openapi.js";
import { headers, type JsonObject, parameters, securitySchemes } from "../http/openapi-parts.js";
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
    servers: [{ url: serverUrl }],
    paths: Object.assign({}, ...parts.map(({ paths }) => paths)),
    components: {
      securitySchemes,
      schemas: Object.assign({}, ...parts.map(({ schemas }) => schemas)),
      headers: { ...headers, ...gatewayHeaders },
      parameters,
      ...shared,
    },
  });
  document["tags"] = [...new Set(operationsOf(document).flatMap(([, { tags }]) => tags))].map((name) => ({ name }));
  addExamples(document);
  return document;
}
