/** The contract as a document: OpenAPI 3.1, generated from the same declarations that are checked at run time. */
import { OpenAPIHono, z, type RouteConfig } from "@hono/zod-openapi";
import { errorTable } from "../base/error-table.js";
import type { ErrorCode } from "../base/errors.js";
import type { Endpoint, EndpointSpec } from "./endpoint.js";

type Spec = EndpointSpec<unknown, unknown, unknown>;

/** A problem document, RFC 9457. */
const Problem = z
  .object({
    type: z.string().describe("Address of the page that explains the code."),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    code: z.string(),
    request_id: z.string(),
    errors: z
      .array(
        z.object({ in: z.string().optional(), pointer: z.string(), detail: z.string(), code: z.string().optional() }),
      )
      .optional(),
  })
  .openapi("Problem");

/** The OpenAPI 3.1 document of the mounted endpoints. */
export function describeApi(endpoints: readonly Endpoint[], version: string, serverUrl: string): object {
  const app = new OpenAPIHono();
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: "A session token, a personal token or an API key.",
  });
  for (const { spec } of endpoints) {
    app.openAPIRegistry.registerPath(toRoute(spec));
  }
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Gatehouse",
      version,
      description:
        "Workspaces, members, API keys, encrypted provider credentials, and a gateway that routes model calls.",
      license: { name: "All rights reserved" },
    },
    servers: [{ url: serverUrl }],
    tags: [...new Set(endpoints.map(({ spec }) => spec.tag))].map((name) => ({ name })),
  });
}

function toRoute(spec: Spec): RouteConfig {
  const params = pathParams(spec);
  const headers = headerParams(spec);
  return {
    method: spec.method,
    path: spec.path,
    operationId: spec.operation,
    summary: spec.summary,
    ...(spec.description === undefined ? {} : { description: spec.description }),
    tags: [spec.tag],
    security: spec.permission.kind === "public" ? [] : [{ bearer: [] }],
    request: {
      ...(params === null ? {} : { params }),
      ...(spec.query instanceof z.ZodObject ? { query: spec.query } : {}),
      ...(headers === null ? {} : { headers }),
      ...(spec.body === undefined
        ? {}
        : { body: { required: spec.optionalBody !== true, content: { "application/json": { schema: spec.body } } } }),
    },
    responses: { ...successes(spec), ...failures(spec) },
  };
}

function pathParams(spec: Spec): z.ZodObject | null {
  const names = [...spec.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
  const own: Readonly<Record<string, z.ZodType>> = spec.params instanceof z.ZodObject ? spec.params.shape : {};
  const shape: Record<string, z.ZodType> = {};
  for (const name of names) {
    const fallback = z.string().describe(name === "ws" ? "Workspace id, slug or `current`." : `The ${name}.`);
    shape[name] = own[name] ?? fallback;
  }
  return names.length === 0 ? null : z.object(shape);
}

function headerParams(spec: Spec): z.ZodObject | null {
  if (spec.method === "get") {
    return null;
  }
  const idempotent = spec.storedAnswer !== "never";
  const shape = {
    ...(idempotent
      ? {
          "Idempotency-Key": z
            .string()
            .optional()
            .describe("Makes a retry safe: the same key and body give the stored answer."),
        }
      : {}),
    ...(spec.etag === true
      ? { "If-Match": z.string().optional().describe("The ETag you read; the change is refused when it moved.") }
      : {}),
  };
  return Object.keys(shape).length === 0 ? null : z.object(shape);
}

function successes(spec: Spec): RouteConfig["responses"] {
  const responses: RouteConfig["responses"] = {};
  for (const [status, { description, schema, contentType }] of Object.entries(spec.responses)) {
    const json = schema === undefined ? {} : { "application/json": { schema } };
    const bytes = contentType === undefined ? {} : { [contentType]: { schema: z.string() } };
    const content = { ...json, ...bytes };
    responses[status] = Object.keys(content).length === 0 ? { description } : { description, content };
  }
  return responses;
}

function failures(spec: Spec): RouteConfig["responses"] {
  const responses: RouteConfig["responses"] = {};
  for (const [status, codes] of Map.groupBy(allErrors(spec), (code) => errorTable[code].status)) {
    responses[status] = {
      description: codes.map((code) => `\`${code}\`: ${errorTable[code].detail}`).join(" "),
      content: { "application/problem+json": { schema: Problem } },
    };
  }
  return responses;
}

function allErrors(spec: Spec): ErrorCode[] {
  const implied: ErrorCode[] = ["misdirected_request", "rate_limited", "internal", "not_ready"];
  if (spec.permission.kind !== "public") {
    implied.push("unauthenticated", "forbidden");
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
      ...(spec.permission.kind === "public" ? [] : (["origin_not_allowed"] as const)),
      ...(spec.body === undefined ? [] : (["malformed_json", "unsupported_media_type"] as const)),
    );
    implied.push(
      ...(spec.storedAnswer === "never"
        ? []
        : (["idempotency_in_progress", "idempotency_key_reused", "invalid_header"] as const)),
    );
    implied.push(...(spec.etag === true ? (["precondition_failed"] as const) : []));
  }
  if (spec.publishes === true) {
    implied.push("publish_pending");
  }
  return [...new Set([...implied, ...spec.errors])];
}
