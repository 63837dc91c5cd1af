/** A credential gets another secret, then its data key changes, while 50 callers stream through it: no call fails, and from the answer on every call carries the new one. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { expectOk, makeTeam, type Team } from "./support/client.ts";
import { deep } from "./support/deep.ts";
import { answerJson, chunk, event, openEvents } from "./support/wire.ts";

const url = inject("serverUrl");
const port = inject("upstreamPorts")[4] ?? 0;
const callers = 50;

/** Secrets by the order in which they are in use; a call says in its prompt which was in use when it began. */
const secretOf = (turn: number): string => `sk-turn-${turn}-0123456789`;

interface Arrival {
  /** The turn in which the caller began. */
  readonly began: number;
  readonly secret: string;
}

let server: Server;
const arrivals: Arrival[] = [];
/** The secrets by turn, with the one that is just being swapped in. A call may carry that of the turn it began in, or a later one. */
let inUse: string[] = [];

function isRevoked({ began, secret }: Arrival): boolean {
  return !inUse.slice(began).includes(secret);
}

beforeAll(async () => {
  server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const secret = (request.headers.authorization ?? "").replace("Bearer ", "");
  if (request.method === "GET") {
    const isKnown = secret.startsWith("sk-turn-");
    answerJson(response, isKnown ? 200 : 401, isKnown ? { object: "list", data: [{ id: "m" }] } : refusal);
    return;
  }
  let text = "";
  for await (const part of request) {
    text += String(part);
  }
  const began = Number(/turn (\d+)/.exec(text)?.[1]);
  const arrival = { began, secret };
  arrivals.push(arrival);
  if (isRevoked(arrival)) {
    answerJson(response, 401, refusal);
    return;
  }
  openEvents(response);
  for (const word of ["So ", "it ", "goes ", "on."]) {
    response.write(chunk(word));
    await sleep(15);
  }
  response.write(chunk(null));
  response.end(event("[DONE]"));
}

const refusal = { error: { message: "no such key", type: "invalid_request_error", code: "invalid_api_key" } };

async function rotationState(team: Team): Promise<unknown> {
  const { body } = await team.call("GET", "/vault");
  return (body["rotation"] as Record<string, unknown> | null)?.["state"];
}

describe("a credential that is rotated while 50 callers stream through it", () => {
  it("fails no call, and no call that starts after the answer carries the old secret; nor after a rollback, nor by a change of data key", async ({
    expect,
  }) => {
    const team = await makeTeam(url, inject("sessionToken"), "Rotation");
    const fields = { base_url: `http://127.0.0.1:${port}/v1`, api_key: secretOf(0) };
    const made = await team.call("POST", "/model-providers/openai_compatible/credentials", {
      name: "main",
      credentials: fields,
    });
    expect([made.status, made.body["status"]]).toEqual([201, "active"]);
    const id = String(made.body["id"]);
    await team.addPool("chat", [
      { alias: "only", provider_name: "openai_compatible", model: "m", credential_id: id, weight: 1 },
    ]);
    const { secret: apiKey } = await team.addKey("callers");
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });

    let turn = 0;
    inUse = [secretOf(0)];
    const failures: string[] = [];
    const over = new AbortController();
    const loop = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const messages = [{ role: "user" as const, content: `turn ${turn}` }];
        try {
          const stream = await client.chat.completions.create({ model: "chat", stream: true, messages });
          let said = "";
          let finish: string | null = null;
          for await (const part of stream) {
            said += part.choices[0]?.delta.content ?? "";
            finish = part.choices[0]?.finish_reason ?? finish;
          }
          if (said !== "So it goes on." || finish !== "stop") {
            failures.push(`ended as ${said} ${finish}`);
          }
        } catch (error) {
          failures.push(String(error));
        }
      }
    };
    const settle = async (calls: number): Promise<void> => {
      const from = arrivals.length;
      while (arrivals.length < from + calls && failures.length === 0) {
        await sleep(10);
      }
    };
    const loops = Promise.all(Array.from({ length: callers }, loop));
    await settle(callers);
    for (let round = 0; round < deep(2, 12); round += 1) {
      const isBack = round % 2 === 1;
      const next = isBack ? (inUse.at(-2) ?? "") : secretOf(round + 1);
      inUse.push(next);
      expectOk(
        isBack
          ? await team.call("POST", `/credentials/${id}/rollback`)
          : await team.call("POST", `/credentials/${id}/rotate`, { credentials: { api_key: next } }),
      );
      // From here on a call that carries the one before is refused.
      turn += 1;
      // As many again as may still have been on their way.
      await settle(callers * 2);
    }
    expectOk(await team.call("POST", "/vault/rotate"));
    while (failures.length === 0 && (await rotationState(team)) !== "waiting") {
      await sleep(50);
    }
    await settle(callers * 2);
    over.abort();
    await loops;

    expect(failures).toEqual([]);
    expect(arrivals.filter(isRevoked)).toEqual([]);
    for (const [began, secret] of inUse.entries()) {
      const carried = arrivals.filter((arrival) => arrival.began === began && arrival.secret === secret);
      expect(carried.length, `calls with ${secret} in turn ${began}`).toBeGreaterThanOrEqual(callers);
    }
  });

  it("leaves the present secret in use when the new one is refused", async ({ expect }) => {
    const team = await makeTeam(url, inject("sessionToken"), "Refused rotation");
    const fields = { base_url: `http://127.0.0.1:${port}/v1`, api_key: secretOf(0) };
    const made = await team.call("POST", "/model-providers/openai_compatible/credentials", {
      name: "main",
      credentials: fields,
    });
    const id = String(made.body["id"]);
    const bad = await team.call("POST", `/credentials/${id}/rotate`, { credentials: { api_key: "sk-unknown-0123" } });
    expect([bad.status, bad.body["code"]]).toEqual([422, "validation_failed"]);
    const { status, body } = await team.call("POST", `/credentials/${id}/validate`);
    expect([status, body["status"], body["previous"]]).toEqual([200, "active", null]);
  });
});
