/** Revoked means refused from the answer on, whoever is in a loop with the key. */
import OpenAI, { APIError, AuthenticationError } from "openai";
import { describe, inject, it } from "vitest";
import { makeTeam } from "./support/client.ts";
import { deep } from "./support/deep.ts";

const url = inject("serverUrl");
const callers = 50;

interface Shot {
  /** When the call began, by `performance.now()`. */
  readonly at: number;
  readonly status: number;
}

describe("a key that is revoked while 50 callers loop on it", () => {
  it("lets no call through that starts after the 204", async ({ expect }) => {
    const team = await makeTeam(url, inject("sessionToken"), "Revocation");
    await team.addPool("chat", [await team.addSandbox("a", "ok-a", 3), await team.addSandbox("b", "ok-b", 1)]);
    for (let round = 0; round < deep(1, 20); round += 1) {
      const key = await team.addKey(`round ${round}`);
      const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key.secret, maxRetries: 0 });
      const shots: Shot[] = [];
      const over = new AbortController();
      const loop = async (n: number): Promise<void> => {
        while (!over.signal.aborted) {
          const at = performance.now();
          const body = { model: "chat", messages: [{ role: "user" as const, content: `caller ${n}` }] };
          const status = await client.chat.completions.create(body).then(
            () => 200,
            (error: unknown) => (error instanceof APIError ? Number(error.status ?? 0) : 0),
          );
          shots.push({ at, status });
        }
      };
      const loops = Promise.all(Array.from({ length: callers }, (_, n) => loop(n)));
      while (shots.length < callers * 4) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const answer = await team.call("DELETE", `/api-keys/${key.id}`);
      const revokedAt = performance.now();
      const before = shots.length;
      while (shots.length < before + callers * 4) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      over.abort();
      await loops;

      expect(answer.status).toBe(204);
      const after = shots.filter(({ at }) => at > revokedAt);
      expect(shots.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(callers * 2);
      expect(after.length).toBeGreaterThanOrEqual(callers * 2);
      // Every one of them is refused as an unknown caller; none fails in another way either.
      expect(after.filter(({ status }) => status !== 401)).toEqual([]);
      expect(shots.filter(({ status }) => status !== 401 && status !== 200)).toEqual([]);
      await expect(client.models.list()).rejects.toThrow(AuthenticationError);
    }
  });
});
