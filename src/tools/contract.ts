/** What the parts of the tools room agree on: a tool, how it is called, how its provider is authenticated, and what a call gives. */
import type { Secret } from "../base/secret.js";

/** A JSON Schema (2020-12) whose root is an object. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** One parameter of an OpenAPI operation, and the input property that fills it. */
export interface CallParameter {
  readonly name: string;
  readonly in: "path" | "query" | "header" | "cookie";
  /** The input's property; differs from `name` where two parameters share one. */
  readonly input: string;
  readonly style: "simple" | "label" | "matrix" | "form" | "spaceDelimited" | "pipeDelimited" | "deepObject";
  readonly explode: boolean;
  readonly allow_reserved: boolean;
  /** Set when the value is sent as text of this media type (`content` instead of `schema`). */
  readonly content_type: string | null;
}

/** How one property of a form body, or a whole body that is not JSON, is written. `file`: the input is base64, or {base64, filename, mime_type}. */
export type BodyEncoding = "value" | "json" | "text" | "file";

/** One property of a body. */
export interface BodyProperty {
  /** The property's name, in the body and in the input. */
  readonly name: string;
  readonly encoding: BodyEncoding;
  /** How a list or object is spread over form fields; used for `application/x-www-form-urlencoded` only. */
  readonly style: CallParameter["style"];
  readonly explode: boolean;
  /** The media type of its part, for `multipart/form-data` only; null for the usual one. */
  readonly content_type: string | null;
}

/** The body of an OpenAPI operation. */
export interface CallBody {
  readonly content_type: string;
  /** The input's property that holds the whole body; null when `properties` names the body's own properties. */
  readonly input: string | null;
  /** How the whole body is written, when `input` is not null. */
  readonly encoding: BodyEncoding;
  /** The body's own properties, when `input` is null. */
  readonly properties: readonly BodyProperty[];
}

/** How an operation of an OpenAPI document is called. */
export interface OpenApiCall {
  readonly kind: "openapi";
  readonly method: string;
  /** Absolute base, server variables filled, without a trailing slash. */
  readonly server: string;
  /** The path template, such as `/repos/{owner}/{repo}`. */
  readonly path: string;
  readonly parameters: readonly CallParameter[];
  readonly body: CallBody | null;
}

/** How a tool of an MCP server is called. */
export interface McpCall {
  readonly kind: "mcp";
  /** The server's own name for it. */
  readonly tool: string;
  /** Set when the server runs it as a task only (`execution.taskSupport: "required"`). */
  readonly task?: true;
}

/** A tool as a document or server gives it. `name` matches `[a-zA-Z0-9_-]{1,64}` and is unique in its provider. */
export interface ToolDefinition {
  readonly name: string;
  readonly title: string | null;
  readonly description: string;
  readonly input_schema: JsonSchema;
  readonly call: OpenApiCall | McpCall;
}

/** How a tool provider wants to be authenticated; the values come from its credential. */
export type ToolAuth =
  | { readonly type: "none" }
  | {
      readonly type: "api_key";
      /** `path`: fills `{name}` of the path template; only built-in providers use it (an incoming webhook). */
      readonly in: "header" | "query" | "cookie" | "path";
      readonly name: string;
      /** Written before the key, such as `DeepL-Auth-Key `. */
      readonly prefix?: string;
    }
  | { readonly type: "bearer" }
  | { readonly type: "basic" }
  /** Several headers, each with a secret of its own; the credential's secret is a JSON object of their values. */
  | { readonly type: "headers"; readonly names: readonly string[] }
  | {
      readonly type: "oauth_client_credentials";
      readonly token_url: string;
      readonly scopes: readonly string[];
    };

/** What an OpenAPI document gives: who it speaks of, where its calls go, and its operations as tools. */
export interface ToolDocument {
  readonly title: string;
  readonly description: string;
  /** The document's own version, such as `1.4.0`. */
  readonly version: string;
  /** The base that its calls go to, without a trailing slash. Every tool's server has this one's origin. */
  readonly base_url: string;
  /** All bases that the document names, server variables filled; the first is the default. */
  readonly servers: readonly string[];
  /** What the document's own security asks for, as far as it can be met. */
  readonly auth: ToolAuth;
  /** The other ways that the document offers. */
  readonly auth_alternatives: readonly ToolAuth[];
  readonly tools: readonly (ToolDefinition & { readonly call: OpenApiCall })[];
}

/** What a tool provider's credential opens to: its secret, and the plain fields beside it (`username`, `client_id`). */
export interface OpenedCredential {
  readonly secret: Secret;
  readonly options: Readonly<Record<string, string>>;
}

/** One piece of a tool's answer. Binary content is base64. */
export type ToolContent =
  | { readonly type: "json"; readonly value: unknown }
  | { readonly type: "text"; readonly text: string; readonly mime_type: string }
  | { readonly type: "binary"; readonly base64: string; readonly mime_type: string };

/** What came of a call that was answered. `is_error`: the tool itself says that it failed. */
export interface ToolOutcome {
  readonly is_error: boolean;
  /** The upstream's HTTP status; null for MCP. */
  readonly status: number | null;
  readonly content: readonly ToolContent[];
}
