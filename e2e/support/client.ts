/** A customer of a running Gatehouse: calls its API, makes workspaces of its own, and hands out clients of the vendors' own SDKs. */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

/** An answer read to its end. `body` is empty when it is no JSON object. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** One call with this caller's token. */
export type Call = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<Answer>;

/** An instance as `POST …/pools` takes it. */
export interface Instance {
  readonly alias: string;
  readonly provider_name: string;
  readonly model: string;
  readonly credential_id: string;
  readonly weight: number;
}

/** One line of `GET …/pools/{pool}/state`. */
export interface InstanceState {
  readonly alias: string;
  readonly status: string;
  readonly cooling_until: string | null;
  readonly picks: number;
  readonly share: number;
  readonly in_flight: number;
  readonly failures: number;
}

/** A workspace and what a test does in it. Its methods throw on any answer that is not a success. */
export interface Team {
  readonly id: string;
  /** Paths are relative to the workspace. */
  readonly call: Call;
  /** A sandbox instance whose credential shows `behaviour`, such as `ok` or `500`. */
  addSandbox(alias: string, behaviour: string, weight?: number): Promise<Instance>;
  /** An instance on an OpenAI-compatible server. */
  addServer(alias: string, baseUrl: string, weight?: number): Promise<Instance>;
  /** An instance on a server that speaks Anthropic's wire. */
  addAnthropic(alias: string, baseUrl: string, weight?: number): Promise<Instance>;
  /** A pool over these instances; its name is the model that clients ask for. */
  addPool(name: string, instances: readonly Instance[], policy?: Readonly<Record<string, number>>): Promise<void>;
  addKey(name: string): Promise<{ readonly id: string; readonly secret: string }>;
  poolState(name: string): Promise<readonly InstanceState[]>;
  /** The SDK with a key of its own. As long as it never retries, what it reports is what we answered. */
  openai(maxRetries?: number): Promise<OpenAI>;
  /** Anthropic's SDK, likewise. */
  anthropic(maxRetries?: number): Promise<Anthropic>;
}

/** A caller with a token; without one, a stranger. */
export function connect(url: string, token: string | null): Call {
  return async (method, path, body, headers = {}) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: "manual",
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: readObject(text) };
  };
}

/** A new workspace of the session's account. */
export async function makeTeam(url: string, sessionToken: string, name: string): Promise<Team> {
  const person = connect(url, sessionToken);
  const { id } = expectOk(await person("POST", "/workspaces", { name: `${name} ${Date.now().toString(36)}` }));
  const call: Call = (method, path, body, headers) => person(method, `/workspaces/${String(id)}${path}`, body, headers);
  const addCredential = async (provider: string, alias: string, credentials: object): Promise<string> => {
    const path = `/model-providers/${provider}/credentials`;
    return String(expectOk(await call("POST", path, { name: alias, credentials, validate: false }))["id"]);
  };
  const addKey: Team["addKey"] = async (keyName) => {
    const key = expectOk(await call("POST", "/api-keys", { name: keyName, scopes: ["models:invoke"] }));
    return { id: String(key["id"]), secret: String(key["secret"]) };
  };
  let clients = 0;
  return {
    id: String(id),
    call,
    addKey,
    async addSandbox(alias, behaviour, weight = 1) {
      const credential_id = await addCredential("sandbox", alias, { api_key: `sk-sandbox-${behaviour}` });
      return { alias, provider_name: "sandbox", model: "sandbox-chat", credential_id, weight };
    },
    async addServer(alias, baseUrl, weight = 1) {
      const credential_id = await addCredential("openai_compatible", alias, {
        base_url: baseUrl,
        api_key: "sk-of-e2e",
      });
      return { alias, provider_name: "openai_compatible", model: "gpt-e2e", credential_id, weight };
    },
    async addAnthropic(alias, baseUrl, weight = 1) {
      const credential_id = await addCredential("anthropic", alias, { base_url: baseUrl, api_key: "sk-ant-of-e2e" });
      return { alias, provider_name: "anthropic", model: "claude-e2e", credential_id, weight };
    },
    async addPool(poolName, instances, policy = {}) {
      expectOk(await call("POST", "/pools", { name: poolName, strategy: "weighted", instances, policy }));
    },
    async poolState(poolName) {
      return expectOk(await call("GET", `/pools/${poolName}/state`))["instances"] as InstanceState[];
    },
    async openai(maxRetries = 0) {
      clients += 1;
      const { secret } = await addKey(`sdk ${clients}`);
      return new OpenAI({ baseURL: `${url}/v1`, apiKey: secret, maxRetries });
    },
    async anthropic(maxRetries = 0) {
      clients += 1;
      const { secret } = await addKey(`sdk ${clients}`);
      return new Anthropic({ baseURL: `${url}/anthropic`, apiKey: secret, maxRetries });
    },
  };
}

/** The answer's body. Throws with the whole answer unless its status is 2xx. */
export function expectOk(answer: Answer): Answer["body"] {
  if (answer.status < 200 || answer.status > 299) {
    throw new Error(`answered ${answer.status}: ${answer.text}`);
  }
  return answer.body;
}

/** All that an iterable gives. */
export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) {
    all.push(one);
  }
  return all;
}

function readObject(text: string): Answer["body"] {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Answer["body"]) : {};
  } catch {
    return {};
  }
}
