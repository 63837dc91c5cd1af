/** Holds every answer of a Gatehouse against the contract that it hands out, whoever asked for it: a test, or an SDK that a test uses. */
import { findRoute, isJson, judge, type JsonObject, type Operation, partOf } from "../../test/support/answer-check.ts";

/** What of an answer is there before its body. */
type Head = Pick<Response, "status" | "headers">;

type Route = Operation & { readonly method: string; readonly template: string };
type Routes = readonly Route[];

/** Long enough for what is on its way; a body that nobody ever ends is left to the end of the file. */
const settleMs = 2_000;
const documentMs = 30_000;

const plainFetch = globalThis.fetch;
const servers = new Set<string>();
const proxies = new Set<string>();
const documents = new Map<string, Promise<Routes>>();
const checks = new Set<Promise<void>>();
const findings: string[] = [];

/**
 * `fetch` that holds answers against the contract. Answers pass as they come: JSON is read from a copy, of a stream and of
 * any other type the status, the headers and the content type are looked at.
 */
export async function heldFetch(...[input, init]: Parameters<typeof fetch>): Promise<Response> {
  const response = await plainFetch(input, init);
  const asked = init?.method ?? (input instanceof Request ? input.method : "GET");
  hold(response.redirected ? "GET" : asked.toUpperCase(), new URL(response.url), response, () =>
    response.body === null ? "" : isJson(response) ? response.clone().text() : null,
  );
  return response;
}

/** Begins to hold an answer against its server's contract; one of another server passes. `read` gives its text, null for a stream. */
export function hold(method: string, url: URL, head: Head, read: () => Promise<string> | string | null): void {
  if (!isGatehouse(url.origin, head.headers)) {
    return;
  }
  servers.add(url.origin);
  // The copy is taken before the caller reads the answer.
  const text = read();
  const check = (async () => {
    const routes = await routesOf(url.origin);
    const { status, headers } = head;
    // A body that its caller cuts off is not looked at.
    const told = { status, headers, text: await Promise.resolve(text).catch(() => null) };
    const problem = judge(findRoute(routes, method, url.pathname) ?? null, method, url.pathname, told);
    if (problem !== null) {
      findings.push(problem);
    }
  })()
    .catch((error: unknown) => void findings.push(`${method} ${url.href} could not be checked: ${String(error)}`))
    .finally(() => checks.delete(check));
  checks.add(check);
}

/** Names a server whose answers are all Gatehouse's, with a request id or without. */
export function expectGatehouse(origin: string): void {
  servers.add(origin);
}

/** Names a server that only plays a Gatehouse or passes one's answers on: it is asked for no contract, which its tests would see. */
export function expectProxy(origin: string): void {
  proxies.add(origin);
}

/** Ends the checks under way and throws what they found, each finding once. */
export async function settle(): Promise<void> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), settleMs);
  await Promise.race([Promise.all(checks), late.promise]);
  clearTimeout(timer);
  if (findings.length > 0) {
    throw new Error([...new Set(findings.splice(0))].join("\n\n"));
  }
}

function isGatehouse(origin: string, headers: Headers): boolean {
  const saysSo = /^req_[0-9a-z]{26}$/.test(headers.get("x-request-id") ?? "");
  return servers.has(origin) || (saysSo && !proxies.has(origin));
}

/** All servers of a run are of one tree: one that is gone before it is asked for its contract has another's. */
async function routesOf(origin: string): Promise<Routes> {
  const others = [...documents.values()];
  const own = documents.get(origin) ?? fetchRoutes(origin);
  documents.set(origin, own);
  return await own.catch((error: unknown) => Promise.any(others).catch(() => Promise.reject(error)));
}

async function fetchRoutes(origin: string): Promise<Routes> {
  const response = await plainFetch(`${origin}/openapi.json`, { signal: AbortSignal.timeout(documentMs) });
  const document = (await response.json()) as JsonObject;
  const parts = partOf(document, "components");
  const components = { responses: partOf(parts, "responses"), schemas: partOf(parts, "schemas") };
  const paths = partOf(document, "paths");
  return Object.keys(paths).flatMap((template) =>
    Object.keys(partOf(paths, template)).map((method) => {
      const operation = partOf(partOf(paths, template), method);
      const responses = partOf(operation, "responses");
      return { method, template, name: String(operation["operationId"]), responses, components };
    }),
  );
}
