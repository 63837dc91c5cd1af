/** Holds what the Worker answers against its own contract: what is sent must be declared, field by field. */
import { endpoints } from "../../src/app.js";
import { describeGateway } from "../../src/contract/gateway.js";
import { describeMcp } from "../../src/contract/mcp.js";
import { describeService } from "../../src/contract/service.js";
import type { Endpoint } from "../../src/http/endpoint.js";
import { type Description, describeEndpoints } from "../../src/http/openapi.js";
import { isJsonObject, type JsonObject } from "../../src/http/openapi-parts.js";
import { findRoute, judge, type Operation, partOf, type Told } from "./answer-check.js";

interface Route {
  readonly method: string;
  readonly template: string;
  readonly describe: () => Operation;
}

const shared = { responses: {} as JsonObject, examples: {} as JsonObject };

/** Throws an `Error` that says how an answer differs from the contract. */
export function checkAnswer(method: string, pathAndQuery: string, told: Told): void {
  const path = pathAndQuery.split("?")[0] ?? "";
  const problem = judge(operationFor(method, path), method, path, told);
  if (problem !== null) {
    throw new Error(problem);
  }
}

const described = new Map<Route, Operation>();

function operationFor(method: string, path: string): Operation | null {
  const route = findRoute(routesOf(), method, path);
  if (route === undefined) {
    return null;
  }
  const operation = described.get(route) ?? route.describe();
  described.set(route, operation);
  return operation;
}

let routes: readonly Route[] | undefined;

function routesOf(): readonly Route[] {
  routes ??= [...endpoints.map(toRoute), ...[describeService, describeGateway, describeMcp].flatMap(toRoutes)];
  return routes;
}

/** Describing them all would take a tenth of a second in every file. */
function toRoute(endpoint: Endpoint): Route {
  const { method, path } = endpoint.spec;
  return {
    method,
    template: path,
    describe: () => toOperation(describeEndpoints([endpoint], shared), path, method),
  };
}

function toRoutes(describe: (components: typeof shared) => Description): Route[] {
  const description = describe(shared);
  return Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.keys(isJsonObject(methods) ? methods : {}).map((method) => ({
      method,
      template: path,
      describe: () => toOperation(description, path, method),
    })),
  );
}

function toOperation({ paths, schemas }: Description, path: string, method: string): Operation {
  const operation = partOf(partOf(paths, path), method);
  const components = { responses: shared.responses, schemas };
  return { name: String(operation["operationId"]), responses: partOf(operation, "responses"), components };
}
