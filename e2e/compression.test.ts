/** What goes over the wire to who accepts gzip: long lists small, events as they come. */
import { gunzipSync } from "node:zlib";
import { inject, it } from "vitest";
import { expectOk, makeTeam } from "./support/client.ts";
import { sendRaw } from "./support/raw.ts";

const url = inject("serverUrl");

/** As it is sent: no client decodes it. */
async function fetchRaw(path: string, token: string, accepted: string, body?: object) {
  const headers = {
    authorization: `Bearer ${token}`,
    "accept-encoding": accepted,
    "content-type": "application/json",
  };
  const { status, bytes, ...answer } = await sendRaw(`${url}${path}`, {
    headers,
    ...(body === undefined ? {} : { body }),
  });
  return { status, bytes, encoding: answer.headers.get("content-encoding") };
}

it("a list of 50 KB and an export are sent as gzip, and a stream of events is not", async ({ expect }) => {
  const token = inject("sessionToken");
  const team = await makeTeam(url, token, "Compression");
  for (let index = 0; index < 60; index += 1) {
    const models = Array.from({ length: 12 }, (_unused, at) => `model-${index}-${at}-${"m".repeat(48)}`);
    const key = { name: `key ${index}`, scopes: ["models:invoke"], limits: { models } };
    expectOk(await team.call("POST", "/api-keys", key));
  }
  const path = `/workspaces/${team.id}/api-keys?limit=200`;
  const [plain, small] = [await fetchRaw(path, token, "identity"), await fetchRaw(path, token, "gzip")];
  expect([plain.status, plain.encoding, small.status, small.encoding]).toEqual([200, null, 200, "gzip"]);
  expect(plain.bytes.length).toBeGreaterThan(50_000);
  expect(small.bytes.length).toBeLessThan(plain.bytes.length / 4);
  expect(gunzipSync(small.bytes).equals(plain.bytes)).toBe(true);

  const rows = await fetchRaw(`/workspaces/${team.id}/export`, token, "gzip");
  expect([rows.status, rows.encoding]).toEqual([200, "gzip"]);
  expect(gunzipSync(rows.bytes).toString()).toContain('"type":"');

  await team.addPool("talk", [await team.addSandbox("a", "ok")]);
  const { secret } = await team.addKey("caller");
  const chat = { model: "talk", stream: true, messages: [{ role: "user", content: "Hello" }] };
  const events = await fetchRaw("/v1/chat/completions", secret, "gzip", chat);
  expect([events.status, events.encoding]).toEqual([200, null]);
  expect(events.bytes.toString()).toMatch(/^data: /);
});
