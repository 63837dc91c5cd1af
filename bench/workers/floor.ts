/** The floor: the least that a Hono Worker must do to admit a call at a Durable Object, open a credential and pass the call on. */
import { DurableObject } from "cloudflare:workers";
import { Hono } from "hono";

interface FloorEnv {
  readonly ADMISSION: DurableObjectNamespace<Admission>;
  readonly UPSTREAM: string;
  /** 32 bytes in base64: what the credential is sealed with. */
  readonly DATA_KEY: string;
  /** IV and ciphertext of the credential in base64. */
  readonly SEALED: string;
}

/** What an admission answers. */
interface Leave {
  readonly instance: string;
  readonly calls: number;
}

/** Kept per isolate. */
interface Configuration {
  readonly address: string;
  readonly key: CryptoKey;
  readonly sealed: Uint8Array<ArrayBuffer>;
}

const ivBytes = 12;

/** Admits everybody, and counts. */
export class Admission extends DurableObject<FloorEnv> {
  #calls = 0;

  async admit(request: { readonly key: string }): Promise<Leave> {
    this.#calls += 1;
    return { instance: request.key, calls: this.#calls };
  }
}

/** Never called: Gatehouse has a second class. */
export class Ledger extends DurableObject<FloorEnv> {}

let configuration: Configuration | null = null;

async function configure(env: FloorEnv): Promise<Configuration> {
  const key = await crypto.subtle.importKey("raw", fromBase64(env.DATA_KEY), "AES-GCM", false, ["decrypt"]);
  configuration = { address: `${env.UPSTREAM}/v1/chat/completions`, key, sealed: fromBase64(env.SEALED) };
  return configuration;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

const app = new Hono<{ Bindings: FloorEnv }>();

app.post("/v1/chat/completions", async ({ env, req }) => {
  const { address, key, sealed } = configuration ?? (await configure(env));
  const stub = env.ADMISSION.get(env.ADMISSION.idFromName("floor"));
  await stub.admit({ key: req.header("authorization") ?? "" });
  const params = { name: "AES-GCM", iv: sealed.subarray(0, ivBytes) };
  const secret = new TextDecoder().decode(await crypto.subtle.decrypt(params, key, sealed.subarray(ivBytes)));
  const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
  const answer = await fetch(address, { method: "POST", headers, body: req.raw.body });
  return new Response(answer.body, answer);
});

export default app;
