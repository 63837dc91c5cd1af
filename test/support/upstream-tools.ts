/**
 * A fake API of tools, for tests: `https://tools.upstream.test` and `https://moved.upstream.test` are the same server. It repeats what it
 * was sent, credentials too, as careless servers do. `/documents/{name}` keeps what is PUT there; `/token` is an OAuth token endpoint that
 * knows the client `gatehouse` with any secret that begins with `good`; the other paths are named after what they do.
 */
const documents = new Map<string, string>();
let tokens = 0;
/** Tokens granted for each client secret. */
const grants = new Map<string, number>();

/** Answers for the fake API; null for a request that is not for it. */
export async function answerTools(request: Request): Promise<Response | null> {
  const url = new URL(request.url);
  if (url.host !== "tools.upstream.test" && url.host !== "moved.upstream.test") {
    return null;
  }
  const [, name = "", rest = ""] = url.pathname.split("/");
  const body = await request.text();
  const heard = {
    method: request.method,
    url: request.url,
    headers: Object.fromEntries(request.headers),
    body,
  };
  const answers: Readonly<Record<string, () => Response>> = {
    echo: () => json(200, heard),
    text: () =>
      new Response(`plain ${url.search} ${request.headers.get("authorization") ?? ""}`, {
        headers: { "content-type": "text/plain" },
      }),
    binary: () => new Response(new Uint8Array([137, 80, 78, 71]), { headers: { "content-type": "image/png" } }),
    empty: () => new Response(null, { status: 204 }),
    fail: () =>
      json(
        Number(rest),
        { error: { message: `failed with ${rest}`, heard } },
        { "x-echo": JSON.stringify(heard.headers) },
      ),
    redirect: () =>
      new Response(null, {
        status: 302,
        headers: { location: `https://elsewhere.upstream.test/?heard=${encodeURIComponent(JSON.stringify(heard))}` },
      }),
    big: () => new Response("x".repeat(6 * 1024 * 1024), { headers: { "content-type": "text/plain" } }),
    large: () => new Response("x".repeat(1_500_000), { headers: { "content-type": "text/plain" } }),
    cut: () => new Response(cutStream(), { headers: { "content-type": "application/json" } }),
    token: () => grant(body),
    granted: () => json(200, grants.get(rest) ?? 0),
    documents: () => keep(request.method, rest, body),
  };
  if (name === "slow") {
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    return json(200, {});
  }
  return answers[name]?.() ?? json(404, { error: "no such path" });
}

function keep(method: string, name: string, body: string): Response {
  if (method === "PUT") {
    documents.set(name, body);
  }
  const text = documents.get(name);
  return text === undefined
    ? json(404, { error: "no such document" })
    : new Response(text, { headers: { "content-type": "application/json" } });
}

function grant(body: string): Response {
  const form = new URLSearchParams(body);
  if (form.get("client_id") !== "gatehouse" || form.get("client_secret")?.startsWith("good") !== true) {
    return json(401, { error: "invalid_client", error_description: `bad secret ${form.get("client_secret")}` });
  }
  const secret = form.get("client_secret") ?? "";
  grants.set(secret, (grants.get(secret) ?? 0) + 1);
  tokens += 1;
  return json(200, {
    access_token: `token-${tokens}-of-${form.get("client_secret")}`,
    expires_in: 3600,
    token_type: "Bearer",
  });
}

function cutStream(): ReadableStream<Uint8Array> {
  let isBegun = false;
  return new ReadableStream({
    async pull(controller) {
      if (!isBegun) {
        isBegun = true;
        controller.enqueue(new TextEncoder().encode('{"half":'));
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
      controller.error(new Error("fake tool cut the connection"));
    },
  });
}

function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json", ...headers } });
}
