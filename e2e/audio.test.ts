/** Sound to and fro over real sockets: files of 25 MiB arrive as they were sent, speech keeps its length, and what breaks off never looks whole. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { makeTeam } from "./support/client.ts";

const url = inject("serverUrl");
const port = inject("upstreamPorts")[5] ?? 0;
const mebibyte = 1_048_576;
const sound = randomBytes(300_000);

let client: OpenAI;
let key: string;
let server: Server;
/** How the next speech goes. */
let play: (response: ServerResponse) => Promise<void> | void = () => undefined;

beforeAll(async () => {
  const team = await makeTeam(url, inject("sessionToken"), "Audio");
  client = await team.openai();
  key = (await team.addKey("raw")).secret;
  server = createServer((request, response) => void answer(request, response));
  await once(server.listen(port, "127.0.0.1"), "listening");
  // What breaks cools, so each break has a pool of its own.
  for (const model of ["voice", "leave", `cut-${sound.length}`, "cut-null"]) {
    await team.addPool(model, [await team.addServer(model, `http://127.0.0.1:${port}/v1`)]);
  }
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  if (request.url?.endsWith("/speech") === true) {
    await play(response);
    return;
  }
  const form = await new Response(Buffer.concat(chunks), {
    headers: { "content-type": request.headers["content-type"] ?? "" },
  }).formData();
  const file = form.get("file");
  const bytes = file instanceof File ? Buffer.from(await file.arrayBuffer()) : Buffer.alloc(0);
  response.writeHead(200, { "content-type": "application/json" });
  const model = form.get("model");
  response.end(JSON.stringify({ text: `${typeof model === "string" ? model : ""} ${hash(bytes)}` }));
}

function headersOf(length: string | null): Readonly<Record<string, string>> {
  return { "content-type": "audio/mpeg", ...(length === null ? {} : { "content-length": length }) };
}

const hash = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

async function speak(model: string, signal?: AbortSignal): Promise<Response> {
  return await fetch(`${url}/v1/audio/speech`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model, input: "Hello", voice: "alloy" }),
    ...(signal === undefined ? {} : { signal }),
  });
}

describe("audio", () => {
  it("carries a file of almost 25 MiB unharmed, and refuses a larger one before it reaches anybody", async ({
    expect,
  }) => {
    const bytes = randomBytes(25 * mebibyte - 2_000);
    const heard = await client.audio.transcriptions.create({ model: "voice", file: new File([bytes], "a.wav") });
    expect(heard.text).toBe(`gpt-e2e ${hash(bytes)}`);
    const larger = new File([bytes, randomBytes(4_000)], "a.wav");
    await expect(client.audio.transcriptions.create({ model: "voice", file: larger })).rejects.toMatchObject({
      status: 413,
    });
  });

  it("gives speech byte for byte, with the length that the provider announced or without one", async ({ expect }) => {
    for (const length of [String(sound.length), null]) {
      play = (response) => {
        response.writeHead(200, headersOf(length));
        response.end(sound);
      };
      const response = await speak("voice");
      expect([response.status, response.headers.get("content-length")]).toEqual([200, length]);
      expect(hash(Buffer.from(await response.arrayBuffer()))).toBe(hash(sound));
    }
  });

  it("breaks speech off where the provider did, with a length and without", async ({ expect }) => {
    for (const length of [String(sound.length), null]) {
      play = async (response) => {
        response.writeHead(200, headersOf(length));
        response.write(sound.subarray(0, 100_000));
        await sleep(100);
        response.destroy();
      };
      const response = await speak(`cut-${length}`);
      expect(response.status).toBe(200);
      await expect(response.arrayBuffer(), `length ${length}`).rejects.toThrow(/./);
    }
  });

  it("lets the provider go at its next bytes when the caller has left in mid-speech", async ({ expect }) => {
    for (const length of [String(sound.length), null]) {
      const closed = Promise.withResolvers<void>();
      play = async (response) => {
        response.once("close", () => closed.resolve());
        response.writeHead(200, headersOf(length));
        for (let at = 0; at < sound.length && !response.destroyed; at += 1_000) {
          response.write(sound.subarray(at, at + 1_000));
          await sleep(50);
        }
      };
      const leaving = new AbortController();
      const response = await speak("leave", leaving.signal);
      expect(response.status).toBe(200);
      await response.body?.getReader().read();
      const left = Date.now();
      leaving.abort();
      await closed.promise;
      // Unheard, it would have gone on for another 15 s.
      expect(Date.now() - left, `length ${length}`).toBeLessThan(5_000);
    }
  });
});
