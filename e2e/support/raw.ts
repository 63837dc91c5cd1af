/** Requests without a client that would put a header right, follow a redirect, or decode a body. */
import { request } from "node:http";
import { gunzipSync } from "node:zlib";
import { isJson } from "../../test/support/answer-check.ts";
import { hold } from "./contract.ts";

/** An answer with its bytes as they were sent. */
interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
}

interface Sending {
  readonly headers: Readonly<Record<string, string>>;
  /** Goes out as JSON, by POST. */
  readonly body?: object;
}

/** Sends one request and reads the whole answer, which is held against the contract. */
export async function sendRaw(url: string, { headers, body }: Sending): Promise<RawAnswer> {
  const method = body === undefined ? "GET" : "POST";
  const answer = await new Promise<RawAnswer>((resolve, reject) => {
    const call = request(url, { method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const told = new Headers(
          Object.entries(response.headers).map(([name, value]) => [name, [value ?? ""].flat().join(", ")]),
        );
        resolve({ status: response.statusCode ?? 0, headers: told, bytes: Buffer.concat(chunks) });
      });
    });
    call.on("error", reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
  const isZipped = answer.headers.get("content-encoding") === "gzip";
  const read = (): string => (isZipped ? gunzipSync(answer.bytes) : answer.bytes).toString();
  hold(method, new URL(url), answer, () => (isJson(answer) || answer.bytes.length === 0 ? read() : null));
  return answer;
}
