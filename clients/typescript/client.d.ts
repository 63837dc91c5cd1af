/** Gatehouse's HTTP contract as a typed client, for Node 20 and newer, browsers and Workers. */
import type { Client, MaybeOptionalInit } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, operations, paths } from "./schema.js";

/** A shape of the contract by its name, such as `Schemas["Workspace"]`. */
export type Schemas = components["schemas"];

/** How the service is reached. */
export interface ClientOptions {
  /** Such as `https://gatehouse.example.com`. */
  readonly baseUrl: string;
  /** A session token, a personal token or an API key. */
  readonly token: string;
  /** Id or slug of the workspace that `current` stands for; only for a person's tokens. */
  readonly workspace?: string;
  /**
   * How often a request is sent again whose answer was lost or broke off, or was 429, 502, 503 or 504; 4 when left out. Model and tool calls
   * only at 429 and 503, when nothing was done.
   */
  readonly retries?: number;
  /** Longest wait for an answer's head, and within a JSON answer for each part of its body, milliseconds; 30,000 when left out. */
  readonly timeoutMs?: number;
  /** Instead of the global one. */
  readonly fetch?: (request: Request) => Promise<Response>;
  /** Told before each wait; `status` is null after a network error. */
  readonly onRetry?: (retry: { attempt: number; waitMs: number; status: number | null }) => void;
}

/** `client.GET("/workspaces/{ws}/pools", { params: { path: { ws } } })`: every path, body and answer of the contract is typed. */
export type GatehouseClient = Client<paths>;

/**
 * Makes a client. Each write carries an `Idempotency-Key`, one for all its tries, so that it takes effect once; to be able to repeat one after
 * the last try, give it a key of your own: `params: { header: { "Idempotency-Key": … } }`.
 */
export declare function createClient(options: ClientOptions): GatehouseClient;

/** What the service refused. `message` says what to do. */
export declare class GatehouseError extends Error {
  readonly status: number;
  /** Of the contract, such as `workspace_exists`; each has a page under /docs/errors. */
  readonly code: string;
  /** For whoever runs the service. */
  readonly requestId: string | null;
  /** Where the input is wrong: JSON pointers and why. */
  readonly errors: readonly { readonly pointer: string; readonly detail: string; readonly in?: string }[];
  /** When to come again, milliseconds; null when the service does not say. */
  readonly retryAfterMs: number | null;
  /** The answer's whole body. */
  readonly body: unknown;
}

/** The body of a good answer, with `parseAs: "stream"` as a stream. Throws `GatehouseError` for any other. */
export declare function unwrap<T>(
  answer: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<NonNullable<T>>;

type Listed<P extends keyof paths> = paths[P] extends {
  get: {
    responses: { 200: { content: { "application/json": { data: (infer Item)[]; next_cursor: string | null } } } };
  };
}
  ? Item
  : never;

/** Paths whose GET is a list with a cursor. */
export type ListPath = { [P in keyof paths]: [Listed<P>] extends [never] ? never : P }[keyof paths];

/** Every item of a list, page by page as it is iterated. Throws `GatehouseError`. */
export declare function pages<P extends ListPath>(
  client: GatehouseClient,
  path: P,
  init?: MaybeOptionalInit<paths[P], "get">,
): AsyncGenerator<Listed<P>, void>;
