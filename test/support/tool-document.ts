/** A small OpenAPI document over the fake API of `upstream-tools.ts`, for tests. */

interface DocumentOptions {
  readonly server?: string;
  readonly security?: Readonly<Record<string, unknown>>;
  /** Names of the fake API's paths, each an operation. */
  readonly operations?: readonly string[];
}

/** How the document says that its API is authenticated. */
export const schemes = {
  none: undefined,
  bearer: { type: "http", scheme: "bearer" },
  basic: { type: "http", scheme: "basic" },
  header: { type: "apiKey", in: "header", name: "x-tool-key" },
  query: { type: "apiKey", in: "query", name: "tool_key" },
  oauth: {
    type: "oauth2",
    flows: { clientCredentials: { tokenUrl: "https://tools.upstream.test/token", scopes: { read: "Read" } } },
  },
} as const;

const parameters = [
  { name: "q", in: "query", schema: { type: "string", minLength: 2 } },
  { name: "count", in: "query", schema: { type: "integer", minimum: 1 } },
];

/** The document, as an object. Every operation is a GET named after its path, with an optional text `q` and an optional whole number `count`; `echo` requires `q`. */
export function toolDocument(options: DocumentOptions = {}): Record<string, unknown> {
  const { server = "https://tools.upstream.test", security, operations = ["echo", "text"] } = options;
  const paths = operations.map((name) => [
    `/${name}`,
    {
      get: {
        operationId: name.replaceAll("/", "_"),
        summary: `Calls ${name}`,
        parameters: parameters.map((one) => (one.name === "q" ? { ...one, required: name === "echo" } : one)),
        responses: { 200: { description: "What it says." } },
      },
    },
  ]);
  return {
    openapi: "3.1.0",
    info: { title: "Fake tools", version: "1", description: "A fake API." },
    servers: [{ url: server }],
    ...(security === undefined ? {} : { security: [{ key: [] }], components: { securitySchemes: { key: security } } }),
    paths: Object.fromEntries(paths),
  };
}
