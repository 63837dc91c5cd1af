/**
 * As much of Google as Vertex AI takes: a token endpoint, chats and counts of tokens, each for a service account whose first
 * name says how it fares (`ok`, `refused`, `down`), unless `POST https://oauth2.googleapis.com/behave?email=…&as=…` said otherwise;
 * `as=revoke` takes its last token back.
 * A token names its account and number, and Vertex takes an account's last token only. `GET …/seen?email=…` tells what came.
 */
import { decodeJwt } from "jose";

/** What came for one service account. */
export interface SeenByGoogle {
  readonly tokens: number;
  readonly audiences: readonly string[];
  /** Path and bearer of each call. */
  readonly calls: readonly string[];
  readonly bodies: readonly string[];
}

interface Account {
  tokens: number;
  behaviour: string;
  readonly audiences: string[];
  readonly calls: string[];
  readonly bodies: string[];
}

const accounts = new Map<string, Account>();

/** Answers for Google; null for any other host. */
export async function answerGoogle(request: Request): Promise<Response | null> {
  const url = new URL(request.url);
  if (url.host === "oauth2.googleapis.com") {
    const email = url.searchParams.get("email") ?? "";
    if (url.pathname === "/seen") {
      return Response.json(accountOf(email));
    }
    if (url.pathname === "/behave") {
      const account = accountOf(email);
      const as = url.searchParams.get("as") ?? "";
      if (as === "revoke") {
        account.tokens += 1;
      } else {
        account.behaviour = as;
      }
      return Response.json({});
    }
    return giveToken(new URLSearchParams(await request.text()).get("assertion") ?? "");
  }
  return url.host.endsWith("aiplatform.googleapis.com") ? await answerVertex(request, url) : null;
}

function giveToken(assertion: string): Response {
  const claims = decodeJwt(assertion);
  const account = accountOf(claims.iss ?? "");
  account.tokens += 1;
  account.audiences.push(String(claims.aud));
  switch (account.behaviour) {
    case "refused":
      return Response.json({ error: "invalid_grant", error_description: "Invalid JWT Signature." }, { status: 400 });
    case "down":
      return new Response("try later", { status: 503 });
    default:
      return Response.json({
        access_token: `ya29.${claims.iss ?? ""}.${account.tokens}`,
        expires_in: 3599,
        token_type: "Bearer",
      });
  }
}

async function answerVertex(request: Request, url: URL): Promise<Response> {
  const token = (request.headers.get("authorization") ?? "").replace(/^Bearer /, "");
  const email = token.replace(/^ya29\.(.*)\.\d+$/, "$1");
  const account = accountOf(email);
  account.calls.push(`${url.host}${url.pathname} ${token}`);
  const text = await request.text();
  account.bodies.push(text);
  if (token !== `ya29.${email}.${account.tokens}`) {
    const error = { code: 401, message: "Request had invalid authentication credentials.", status: "UNAUTHENTICATED" };
    return Response.json([{ error }], { status: 401 });
  }
  if (url.pathname.endsWith(":countTokens")) {
    return Response.json({ totalTokens: 1 });
  }
  const { model } = JSON.parse(text) as { model: string };
  const choices = [{ index: 0, message: { role: "assistant", content: "Hello from Vertex." }, finish_reason: "stop" }];
  const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 };
  return Response.json({ id: "v", object: "chat.completion", created: 1, model, choices, usage });
}

function accountOf(email: string): Account {
  const account = accounts.get(email) ?? {
    tokens: 0,
    behaviour: email.replace(/[-@].*$/, ""),
    audiences: [],
    calls: [],
    bodies: [],
  };
  accounts.set(email, account);
  return account;
}
