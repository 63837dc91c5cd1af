/** The declared endpoints as OpenAPI 3.1, from the same declarations that are checked at run time. */
import { OpenAPIHono, z, type RouteConfig } from "@hono/zod-openapi";
import { roles, scopeTable, type Role } from "../access/permissions.js";
import type { Permission } from "../access/principal.js";
import type { ErrorCode } from "../base/errors.js";
import type { Endpoint, EndpointSpec } from "./endpoint.js";
import {
  type Components,
  errorResponses,
  headerRefs,
  isJsonObject,
  type JsonObject,
  problemFace,
  problemSchema,
  refTo,
} from "./openapi-parts.js";

type Spec = EndpointSpec<unknown, unknown, unknown>;

/** The operations of a document and the schemas that they name. */
export interface Description {
  readonly paths: JsonObject;
  readonly schemas: JsonObject;
}

/** Describes the declared endpoints; what they share goes into `components`. */
export function describeEndpoints(endpoints: readonly Endpoint[], components: Components): Description {
  const app = new OpenAPIHono();
  for (const { spec } of endpoints) {
    app.openAPIRegistry.registerPath(toRoute(spec));
  }
  const generated: unknown = app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "", version: "" } });
  const schemas = partOf(partOf(generated, "components"), "schemas");
  for (const schema of Object.values(schemas)) {
    mergeClosed(schema, schemas);
  }
  const paths = partOf(generated, "paths");
  for (const { spec } of endpoints) {
    const operation = partOf(partOf(paths, spec.path), spec.method);
    complete(operation, spec, components);
  }
  return { paths, schemas: { ...schemas, Problem: problemSchema } };
}

function partOf(parent: unknown, name: string): JsonObject {
  const part = isJsonObject(parent) ? parent[name] : undefined;
  if (!isJsonObject(part)) {
    throw new TypeError(`nothing was generated for ${name}`);
  }
  return part;
}

/** An object that extends another, neither of which takes more fields, would take none of the two: it becomes one object. */
function mergeClosed(schema: unknown, schemas: JsonObject): void {
  const parts = isJsonObject(schema) && Array.isArray(schema["allOf"]) ? schema["allOf"].map(resolve) : [];
  if (!isJsonObject(schema) || parts.length < 2 || parts.some((part) => part?.["additionalProperties"] !== false)) {
    return;
  }
  const objects = parts.filter((part) => part !== null);
  delete schema["allOf"];
  schema["type"] = "object";
  schema["properties"] = Object.assign({}, ...objects.map((part) => part["properties"]));
  schema["required"] = objects.flatMap((part) => (Array.isArray(part["required"]) ? part["required"] : []));
  schema["additionalProperties"] = false;

  function resolve(part: unknown): JsonObject | null {
    const name = isJsonObject(part) ? /^#\/components\/schemas\/(.+)$/.exec(String(part["$ref"]))?.[1] : undefined;
    const found = name === undefined ? part : schemas[name];
    return isJsonObject(found) ? found : null;
  }
}

function toRoute(spec: Spec): RouteConfig {
  const params = pathParams(spec);
  return {
    method: spec.method,
    path: spec.path,
    operationId: spec.operation,
    summary: spec.summary,
    tags: [spec.tag],
    request: {
      ...(params === null ? {} : { params }),
      ...(spec.query instanceof z.ZodObject ? { query: spec.query } : {}),
      ...(spec.body === undefined
        ? {}
        : { body: { required: spec.optionalBody !== true, content: { "application/json": { schema: spec.body } } } }),
    },
    responses: successes(spec),
  };
}

function pathParams(spec: Spec): z.ZodObject | null {
  const names = [...spec.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
  const own: Readonly<Record<string, z.ZodType>> = spec.params instanceof z.ZodObject ? spec.params.shape : {};
  const shape: Record<string, z.ZodType> = {};
  for (const name of names) {
    const fallback = z
      .string()
      .min(1)
      .max(256)
      .regex(/^[^/]+$/)
      .describe(name === "ws" ? "Workspace id, slug or `current`." : `The ${name}.`);
    shape[name] = own[name] ?? fallback;
  }
  return names.length === 0 ? null : z.object(shape);
}

function successes(spec: Spec): RouteConfig["responses"] {
  const responses: RouteConfig["responses"] = {};
  for (const [status, { description, schema, contentType }] of Object.entries(spec.responses)) {
    const json = schema === undefined ? {} : { "application/json": { schema } };
    const types = contentType === undefined ? [] : [contentType].flat();
    const bytes = Object.fromEntries(types.map((type) => [type, { schema: z.string() }]));
    const content = { ...json, ...bytes };
    responses[status] = Object.keys(content).length === 0 ? { description } : { description, content };
  }
  return responses;
}

/** Whether an endpoint keeps its answers for retries. */
function keepsAnswers(spec: Spec): boolean {
  return spec.method !== "get" && spec.storedAnswer !== "never";
}

/** Adds what the generator does not know: who may call, headers, errors. */
function complete(operation: JsonObject, spec: Spec, components: Components): void {
  const takesSetupToken = spec.errors.includes("invalid_setup_token");
  const who = takesSetupToken ? "Takes the set-up token." : describePermission(spec.permission);
  operation["description"] = spec.description === undefined ? who : `${spec.description}\n\n${who}`;
  operation["security"] = takesSetupToken
    ? [{ setup_token: [] }]
    : spec.permission.kind === "public"
      ? []
      : [{ bearer: [] }];
  operation["x-permission"] = takesSetupToken ? { kind: "setup_token" } : permissionFacts(spec.permission);
  const generated = Array.isArray(operation["parameters"]) ? operation["parameters"] : [];
  generated.forEach(boundName);
  const own = headerNames(spec).map((name) => refTo("parameters", name));
  if (generated.length + own.length > 0) {
    operation["parameters"] = [...generated, ...own];
  }
  const replayed = keepsAnswers(spec) ? ["Idempotency-Replayed"] : [];
  const responses = partOf(operation, "responses");
  for (const [status, response] of Object.entries(responses)) {
    if (isJsonObject(response)) {
      response["headers"] = headerRefs(["x-request-id", ...successHeaders(spec, status, response), ...replayed]);
    }
  }
  if (spec.method === "get" && spec.etag === true) {
    responses["304"] = {
      description: "What you have, by `If-None-Match`, still holds.",
      headers: headerRefs(["x-request-id", "ETag"]),
    };
  }
  Object.assign(responses, errorResponses(allErrors(spec), problemFace, components, replayed));
}

/** Nothing has a longer name, so no longer one is found. */
function boundName(parameter: unknown): void {
  const schema = isJsonObject(parameter) && parameter["in"] === "path" ? parameter["schema"] : undefined;
  if (isJsonObject(schema) && !["maxLength", "pattern", "enum"].some((word) => word in schema)) {
    Object.assign(schema, { minLength: 1, maxLength: 256 });
  }
}

function headerNames(spec: Spec): string[] {
  return [
    ...(keepsAnswers(spec) ? ["Idempotency-Key"] : []),
    ...(spec.etag === true ? [spec.method === "get" ? "If-None-Match" : "If-Match"] : []),
    ...(spec.permission.kind === "workspace" ? ["X-Workspace"] : []),
  ];
}

function successHeaders(spec: Spec, status: string, response: JsonObject): string[] {
  return [
    ...("content" in response && spec.etag !== undefined ? ["ETag"] : []),
    ...(status === "201" || status === "302" ? ["Location"] : []),
  ];
}

/** The least role that meets a workspace permission. */
function leastRole({ scope, least, own }: Extract<Permission, { kind: "workspace" }>): Role {
  const needed = [...(own === true ? [] : [scopeTable[scope]]), ...(least === undefined ? [] : [least])];
  return roles.find((role) => needed.includes(role)) ?? "MEMBER";
}

/** Who may call, for programs. */
function permissionFacts(permission: Permission): JsonObject {
  switch (permission.kind) {
    case "public":
      return { kind: "public" };
    case "session": {
      const { own, tokens } = permission;
      return {
        kind: "session",
        credentials: ["session", ...(tokens === undefined ? [] : ["personal_token"])],
        ...(tokens === undefined ? {} : { scope: tokens }),
        ...(own === true ? { own_session: true } : {}),
      };
    }
    case "workspace":
      return {
        kind: "workspace",
        credentials: ["session", ...(permission.keys ? ["personal_token", "api_key"] : [])],
        scope: permission.scope,
        least_role: leastRole(permission),
        ...(permission.own === true ? { own_only_below: scopeTable[permission.scope] } : {}),
        ...(permission.self === undefined ? {} : { self: permission.self }),
      };
  }
}

/** Who may call, for people. */
function describePermission(permission: Permission): string {
  switch (permission.kind) {
    case "public":
      return "Anyone may call it.";
    case "session": {
      const who = permission.own === true ? "A signed-in person, by the session itself" : "A signed-in person";
      const token = permission.tokens === undefined ? "" : `, or a personal token with \`${permission.tokens}\``;
      return `${who}${token}.`;
    }
    case "workspace": {
      const role = leastRole(permission);
      const people = role === "OWNER" ? "The OWNER" : role === "ADMIN" ? "An ADMIN or the OWNER" : "Any member";
      const needed = scopeTable[permission.scope];
      const own = permission.own === true && needed !== role ? ` (a ${role} for what is their own)` : "";
      const self = permission.self === undefined ? "" : ", or whom it concerns";
      const keys = permission.keys
        ? `, or an API key or personal token with \`${permission.scope}\``
        : "; API keys and personal tokens are refused";
      return `${people}${own}${self}${keys}.`;
    }
  }
}

/** Every code that an endpoint can answer: the declared ones, and those that its declaration implies. */
function allErrors(spec: Spec): ErrorCode[] {
  const implied: ErrorCode[] = ["misdirected_request", "rate_limited", "internal", "not_ready"];
  if (spec.permission.kind !== "public") {
    implied.push("unauthenticated", "forbidden");
  }
  if (spec.errors.includes("invalid_setup_token")) {
    implied.push("unauthenticated");
  }
  if (spec.permission.kind === "workspace") {
    implied.push("not_found");
  }
  if (spec.query !== undefined || spec.params !== undefined || spec.body !== undefined) {
    implied.push("validation_failed");
  }
  if (spec.method !== "get") {
    implied.push(
      "body_too_large",
      // A public endpoint too: whose cookie it bears is asked before whether anybody must be signed in.
      "origin_not_allowed",
      ...(spec.body === undefined ? [] : (["malformed_json", "unsupported_media_type"] as const)),
      ...(keepsAnswers(spec) ? (["idempotency_in_progress", "idempotency_key_reused", "invalid_header"] as const) : []),
      ...(spec.etag === true ? (["precondition_failed"] as const) : []),
    );
  }
  if (spec.publishes === true) {
    implied.push("publish_pending");
  }
  return [...implied, ...spec.errors];
}
