/** What the service answers of itself, beside the declared endpoints: health, this document, the pages about errors, and local letters. */
import type { ErrorCode } from "../base/errors.js";
import type { Description } from "../http/openapi.js";
import {
  type Components,
  errorResponses,
  headerRefs,
  type JsonObject,
  problemFace,
  refTo,
} from "../http/openapi-parts.js";

const schemas = {
  Health: {
    type: "object",
    properties: { status: { type: "string", const: "ok" } },
    required: ["status"],
  },
  Readiness: {
    type: "object",
    properties: {
      status: { type: "string", enum: ["ready", "not_ready"] },
      parts: {
        type: "array",
        items: {
          type: "object",
          properties: { name: { type: "string" }, ok: { type: "boolean" }, detail: { type: "string" } },
          required: ["name", "ok"],
        },
      },
    },
    required: ["status", "parts"],
  },
  Outbox: {
    type: "object",
    properties: { data: { type: "array", items: refTo("schemas", "Letter") } },
    required: ["data"],
  },
  Letter: {
    type: "object",
    properties: {
      to: { type: "string", format: "email" },
      subject: { type: "string" },
      kind: { type: "string" },
      text: { type: "string" },
      html: { type: "string" },
      created_at: { type: "string", format: "date-time" },
    },
    required: ["to", "subject", "kind", "text", "html", "created_at"],
  },
} satisfies JsonObject;

interface Page {
  readonly operation: string;
  readonly summary: string;
  readonly tag: string;
  readonly content: JsonObject;
  readonly errors: readonly ErrorCode[];
  readonly more?: JsonObject;
  readonly description?: string;
}

const json = (schema: JsonObject): JsonObject => ({ "application/json": { schema } });
const html: JsonObject = { "text/html": { schema: { type: "string" }, example: "<!doctype html>…" } };
const limited: readonly ErrorCode[] = ["misdirected_request", "rate_limited", "internal", "not_ready"];

const pages: Readonly<Record<string, Page>> = {
  "/healthz": {
    operation: "isAlive",
    summary: "Is the service alive?",
    tag: "Service",
    content: json(refTo("schemas", "Health")),
    errors: ["misdirected_request", "internal"],
  },
  "/readyz": {
    operation: "isReady",
    summary: "Can the service be used?",
    description: "D1, KV, the Router and the keyring answer, the queue is bound; what was found is kept for 5 s.",
    tag: "Service",
    content: json(refTo("schemas", "Readiness")),
    errors: ["misdirected_request", "internal"],
    more: {
      503: {
        description: "Not yet, or not any more; `parts` names what is at fault.",
        headers: headerRefs(["x-request-id"]),
        content: {
          "application/json": {
            schema: refTo("schemas", "Readiness"),
            example: { status: "not_ready", parts: [{ name: "kv", ok: false, detail: "kv does not answer." }] },
          },
        },
      },
    },
  },
  "/openapi.json": {
    operation: "readContract",
    summary: "Read this document",
    tag: "Service",
    content: {
      "application/json": { schema: { type: "object", additionalProperties: true }, example: { openapi: "3.1.0" } },
    },
    errors: limited,
    more: {
      304: {
        description: "What you have, by `If-None-Match`, still holds.",
        headers: headerRefs(["x-request-id", "ETag"]),
      },
    },
  },
  "/docs": {
    operation: "readDocs",
    summary: "Read the documentation",
    tag: "Service",
    content: html,
    errors: limited,
  },
  "/docs/zh": {
    operation: "readDocsInChinese",
    summary: "Read the documentation in Chinese",
    tag: "Service",
    content: html,
    errors: limited,
  },
  "/docs/reference": {
    operation: "readReference",
    summary: "Read this document as a page that sends requests",
    tag: "Service",
    content: html,
    errors: limited,
  },
  "/docs/guides/{name}": {
    operation: "readGuide",
    summary: "Read a guide",
    tag: "Service",
    content: html,
    errors: [...limited, "not_found"],
  },
  "/docs/zh/guides/{name}": {
    operation: "readGuideInChinese",
    summary: "Read a guide in Chinese",
    tag: "Service",
    content: html,
    errors: [...limited, "not_found"],
  },
  "/docs/manual/{name}": {
    operation: "readManual",
    summary: "Read a part of the manual",
    tag: "Service",
    content: html,
    errors: [...limited, "not_found"],
  },
  "/docs/errors": {
    operation: "listErrorCodes",
    summary: "Read about every error code",
    tag: "Service",
    content: html,
    errors: limited,
  },
  "/docs/errors/{code}": {
    operation: "readErrorCode",
    summary: "Read about one error code",
    tag: "Service",
    content: html,
    errors: [...limited, "not_found"],
  },
  "/dev/outbox": {
    operation: "readOutbox",
    summary: "Read the letters of a local run",
    description:
      "The newest 50, newest first. Only on local runs with the `outbox` transport; elsewhere it is not there.",
    tag: "Local",
    content: { ...json(refTo("schemas", "Outbox")), ...html },
    errors: [...limited, "not_found"],
  },
};

/** Describes these pages; what their operations share goes into `components`. */
export function describeService(components: Components): Description {
  const paths: JsonObject = {};
  for (const [path, page] of Object.entries(pages)) {
    paths[path] = { get: describePage(path, page, components) };
  }
  return { paths, schemas };
}

function describePage(path: string, page: Page, components: Components): JsonObject {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
  const parameters = [
    ...names.map((name) => ({
      name,
      in: "path",
      required: true,
      description: `The ${name}.`,
      schema: { type: "string", maxLength: 64, pattern: "^[a-z_-]+$" },
    })),
    ...(page.more?.["304"] === undefined ? [] : [refTo("parameters", "If-None-Match")]),
  ];
  const who = "Anyone may call it.";
  return {
    operationId: page.operation,
    summary: page.summary,
    description: page.description === undefined ? who : `${page.description}\n\n${who}`,
    tags: [page.tag],
    security: [],
    "x-permission": { kind: "public" },
    ...(parameters.length === 0 ? {} : { parameters }),
    responses: {
      200: {
        description: "What was asked for.",
        headers: headerRefs(["x-request-id", ...(page.more?.["304"] === undefined ? [] : ["ETag"])]),
        content: page.content,
      },
      ...errorResponses(page.errors, problemFace, components),
      ...page.more,
    },
  };
}
