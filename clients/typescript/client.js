/** Gatehouse's HTTP contract as a typed client: openapi-fetch over a fetch that waits, retries safely and gives up in time. */
import createFetchClient from "openapi-fetch";

/** Answers that say "not now": nothing was done, or nobody knows, and the Idempotency-Key makes a second try safe. */
const passing = new Set([429, 502, 503, 504]);
/** Of model and tool calls only these say that nothing was done: a second try of any other may be paid twice. */
const undone = new Set([429, 503]);
const longestWaitMs = 60_000;

/** What the service refused, in its own words. See client.d.ts. */
export class GatehouseError extends Error {
  constructor(response, body) {
    // The control plane answers problem documents, /v1 an object `error` in OpenAI's shape, /anthropic one in Anthropic's.
    const told = body?.error ?? body ?? {};
    super(told.detail ?? told.message ?? told.title ?? describe(response));
    this.name = "GatehouseError";
    this.status = response.status;
    this.code = told.code ?? told.type ?? "unknown";
    this.requestId = response.headers.get("x-request-id");
    this.errors = told.errors ?? [];
    this.retryAfterMs = readRetryAfter(response);
    this.body = body;
  }
}

/** For an answer that is not the service's own: one of a proxy before it, or of another server. */
function describe({ status, type, headers }) {
  // A browser shows neither the status of a redirect nor where it leads.
  if (type === "opaqueredirect" || (status > 299 && status < 400)) {
    return `The address answers with a redirect${headers.has("location") ? ` to ${headers.get("location")}` : ""}: baseUrl must be Gatehouse's own.`;
  }
  return `HTTP ${status}`;
}

export function createClient({ baseUrl, token, workspace, retries = 4, timeoutMs = 30_000, fetch: send, onRetry }) {
  const headers = {
    authorization: `Bearer ${token}`,
    ...(workspace === undefined ? {} : { "x-workspace": workspace }),
  };
  // Looked up at each call, so that whoever replaces the global one is heard.
  const options = { retries, timeoutMs, send: send ?? ((request) => globalThis.fetch(request)), onRetry };
  return createFetchClient({
    baseUrl: baseUrl.replace(/\/+$/, ""),
    headers,
    fetch: (request) => sendSafely(request, options),
  });
}

export async function unwrap(answer) {
  const { data, error, response } = await answer;
  if (!response.ok) {
    throw new GatehouseError(response, error);
  }
  return data;
}

export async function* pages(client, path, init = {}) {
  const params = init.params ?? {};
  let cursor = params.query?.cursor;
  do {
    const query = { ...params.query, ...(cursor === undefined || cursor === null ? {} : { cursor }) };
    const page = await unwrap(client.GET(path, { ...init, params: { ...params, query } }));
    yield* page.data;
    cursor = page.next_cursor;
  } while (typeof cursor === "string");
}

/** A write takes one key for all its tries, so that whatever became of the first, the change is made once. */
async function sendSafely(request, options) {
  const { pathname } = new URL(request.url);
  const isGateway = /^\/(v1|anthropic|mcp)(\/|$)/.test(pathname);
  const isCall = isGateway || /\/tools\/[^/]+\/[^/]+\/invoke$/.test(pathname);
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (!isGateway && !isRead && !request.headers.has("idempotency-key")) {
    request.headers.set("idempotency-key", crypto.randomUUID());
  }
  // Of what the gateway answers, and of long reads such as an export, the caller reads the body as it comes.
  const isShort = (response) => !isGateway && (!isRead || isJson(response));
  for (let tries = 0; ; tries += 1) {
    const isLast = tries >= options.retries;
    const outcome = await tryOnce(request.clone(), options, isShort);
    if (isLast || !mayRetry(outcome, request, isCall && !isRead)) {
      return settle(outcome);
    }
    const waitMs = Math.min(longestWaitMs, (outcome.response && readRetryAfter(outcome.response)) ?? backOff(tries));
    options.onRetry?.({ attempt: tries + 1, waitMs, status: outcome.response?.status ?? null });
    await outcome.response?.body?.cancel();
    await pause(waitMs, request.signal);
  }
}

/** One try: an answer, or what kept it away. Of a short answer the body is part of it: one that breaks off is lost, and may be asked for again. */
async function tryOnce(request, { send, timeoutMs }, isShort) {
  const limit = new AbortController();
  const follow = () => limit.abort(request.signal.reason);
  // AbortSignal.any is younger than Node 20.
  request.signal.addEventListener("abort", follow);
  if (request.signal.aborted) {
    follow();
  }
  let timer;
  const waitOn = () => {
    clearTimeout(timer);
    timer = setTimeout(() => limit.abort(new DOMException("The service took too long.", "TimeoutError")), timeoutMs);
  };
  try {
    waitOn();
    // Never followed: what is sent is for this service alone, and it answers API calls with no redirects.
    const response = await send(new Request(request, { signal: limit.signal, redirect: "manual" }));
    return { response: response.body !== null && isShort(response) ? await readWhole(response, waitOn) : response };
  } catch (error) {
    return { error: request.signal.aborted ? request.signal.reason : error };
  } finally {
    clearTimeout(timer);
  }
}

/** The answer with its body read to the end. Throws when it broke off. */
async function readWhole(response, waitOn) {
  const reader = response.body.getReader();
  const parts = [];
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    waitOn();
  }
  const body = new Blob(parts);
  if (isJson(response) && body.size > 0) {
    // Where nothing announces the length, this alone tells a part from the whole.
    JSON.parse(await body.text());
  }
  const headers = new Headers(response.headers);
  // The length was that of the compressed body.
  for (const name of ["content-encoding", "content-length"]) {
    headers.delete(name);
  }
  const whole = new Response(body, { status: response.status, statusText: response.statusText, headers });
  return Object.defineProperty(whole, "url", { value: response.url });
}

function isJson(response) {
  return /^application\/(\w+\+)?json\b/.test(response.headers.get("content-type") ?? "");
}

function mayRetry({ response, error }, request, isCall) {
  if (request.signal.aborted) {
    return false;
  }
  if (error !== undefined) {
    // A call whose answer was lost may have been made: nobody but the caller knows whether to pay for another.
    return !isCall;
  }
  if (response.headers.get("x-should-retry") === "false") {
    return false;
  }
  return (isCall ? undone : passing).has(response.status) || isStillRunning(response);
}

/** 409 with Retry-After says that the same request is under way. */
function isStillRunning(response) {
  return response.status === 409 && response.headers.has("retry-after");
}

function settle({ response, error }) {
  if (error !== undefined) {
    throw error;
  }
  return response;
}

function readRetryAfter(response) {
  const text = response.headers.get("retry-after");
  if (text === null || text.trim() === "") {
    return null;
  }
  const seconds = Number(text);
  const waitMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(waitMs) ? Math.max(0, waitMs) : null;
}

/** 250 ms, doubled with each try, by chance up to a half more: callers who failed together do not come back together. */
function backOff(tries) {
  return Math.round(250 * 2 ** tries * (1 + Math.random() / 2));
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
