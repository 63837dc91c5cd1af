/** A server on a loopback port for what the service calls during a run: tools, webhooks, a provider of media models. It says yes to everything, and repeats nothing. */
import { createServer } from "node:http";

/** An OpenAPI document of one operation, `echo`, on the helper; it wants a bearer token. */
export function helperDocument(origin: string): object {
  return {
    openapi: "3.1.0",
    info: { title: "Helper", version: "1" },
    servers: [{ url: origin }],
    security: [{ key: [] }],
    components: { securitySchemes: { key: { type: "http", scheme: "bearer" } } },
    paths: { "/echo": { get: { operationId: "echo", responses: { 200: { description: "ok" } } } } },
  };
}

/** What its models say, by path. */
const models: Readonly<Record<string, object>> = {
  "/v1/images/generations": { created: 1, data: [{ b64_json: "aGVsbG8=" }] },
  "/v1/audio/transcriptions": { text: "Hello." },
  "/v1/moderations": {
    id: "modr-1",
    model: "helper-model",
    results: [{ flagged: false, categories: {}, category_scores: {} }],
  },
  "/v1/rerank": { id: "1", results: [{ index: 0, relevance_score: 0.5 }] },
};

/** The running helper. */
export interface Helper {
  readonly origin: string;
  stop(): Promise<void>;
}

/** Starts it on the port. */
export async function startHelper(port: number): Promise<Helper> {
  const origin = `http://127.0.0.1:${port}`;
  const server = createServer((request, response) => {
    request.resume().once("end", () => {
      if (request.url?.endsWith("/audio/speech") === true) {
        response.writeHead(200, { "content-type": "audio/mpeg" }).end("sound");
        return;
      }
      const said = request.url === "/document" ? helperDocument(origin) : (models[request.url ?? ""] ?? { ok: true });
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(said));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, "127.0.0.1", resolve);
  });
  return {
    origin,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
