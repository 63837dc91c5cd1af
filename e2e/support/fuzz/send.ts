/** Sends requests as they are written: no client in between that would put a path, a header or a body right first. */
import { Agent, request } from "node:http";
import { brotliDecompressSync, gunzipSync } from "node:zlib";

/** What goes over the wire. `path` may hold anything but spaces and control characters. */
export interface WireRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
}

/** What came back, read to its end. */
export interface WireAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** A connection pool to one server. */
export interface Sender {
  send(message: WireRequest): Promise<WireAnswer>;
  close(): void;
}

const limitMs = 30_000;

/** Opens the pool. `send` rejects when there is no whole answer within half a minute. */
export function openSender(url: string): Sender {
  const agent = new Agent({ keepAlive: true });
  const { hostname, port } = new URL(url);
  return {
    close: () => agent.destroy(),
    send: ({ method, path, headers, body }) =>
      new Promise((resolve, reject) => {
        const length = body === null ? {} : { "content-length": String(body.byteLength) };
        const options = { agent, hostname, port, method, path, headers: { ...headers, ...length } };
        const call = request({ ...options, signal: AbortSignal.timeout(limitMs) }, (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.once("error", reject);
          response.once("end", () => {
            const told = Object.entries(response.headers).map(([name, value]) => [
              name,
              [value ?? ""].flat().join(", "),
            ]);
            const answered: Record<string, string> = Object.fromEntries(told);
            const read = decode(answered["content-encoding"], Buffer.concat(chunks));
            resolve({ status: response.statusCode ?? 0, headers: answered, body: read });
          });
        });
        call.once("error", reject);
        call.end(body ?? undefined);
      }),
  };
}

function decode(encoding: string | undefined, body: Buffer): Buffer {
  if (body.byteLength === 0) {
    return body;
  }
  return encoding === "gzip" ? gunzipSync(body) : encoding === "br" ? brotliDecompressSync(body) : body;
}
