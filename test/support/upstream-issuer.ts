/**
 * A small OpenID Connect issuer of the fake outside world, `https://issuer.upstream.test`, and as much of GitHub as a
 * sign-in needs. Who signs in is said by `as` (and `verified`) in the address of `/authorize`; `POST /sign` signs anything.
 */
import { exportJWK, generateKeyPair, importJWK, SignJWT, type JWTHeaderParameters, type JWTPayload } from "jose";
import { createHash } from "node:crypto";

const issuer = "https://issuer.upstream.test";
const issuerClient = { id: "gatehouse-tests", secret: "client-secret-of-the-tests" };

interface Grant {
  readonly name: string;
  readonly email: string;
  readonly verified: boolean;
  readonly nonce: string | null;
  readonly challenge: string | null;
  readonly redirectUri: string;
}

const known = generateKeyPair("RS256", { extractable: true });
const stranger = generateKeyPair("RS256", { extractable: true });
const grants = new Map<string, Grant>();
const kid = "known-1";

/** Answers for the issuer and for GitHub; null for any other host. */
export async function answerIssuer(request: Request): Promise<Response | null> {
  const url = new URL(request.url);
  if (["github.com", "api.github.com"].includes(url.host)) {
    return await answerGithub(request, url);
  }
  if (url.origin !== issuer) {
    return null;
  }
  switch (`${request.method} ${url.pathname}`) {
    case "GET /.well-known/openid-configuration":
      return Response.json({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        userinfo_endpoint: `${issuer}/userinfo`,
        jwks_uri: `${issuer}/jwks`,
        id_token_signing_alg_values_supported: ["RS256"],
      });
    case "GET /jwks":
      return Response.json({
        keys: [{ ...(await exportJWK((await known).publicKey)), kid, alg: "RS256", use: "sig" }],
      });
    case "GET /authorize":
      return authorize(url);
    case "POST /token":
      return await exchange(await request.text());
    case "POST /sign":
      return await sign(await request.json<SignOrder>());
    default:
      return new Response(null, { status: 404 });
  }
}

/** What `POST /sign` takes. `with`: the issuer's key, one it does not show, or its public key's own text as an HMAC secret. */
export interface SignOrder {
  readonly header?: Partial<JWTHeaderParameters>;
  readonly claims: JWTPayload;
  readonly with?: "known" | "stranger" | "public-as-secret";
}

async function sign(order: SignOrder): Promise<Response> {
  const pair = await (order.with === "stranger" ? stranger : known);
  const jwk = await exportJWK(pair.publicKey);
  const header = { alg: "RS256", kid, typ: "JWT", ...order.header };
  const isSecret = order.with === "public-as-secret";
  const key = isSecret ? new TextEncoder().encode(JSON.stringify(jwk)) : pair.privateKey;
  const token = await new SignJWT(order.claims)
    .setProtectedHeader(isSecret ? { ...header, alg: "HS256" } : header)
    .sign(key);
  return Response.json({ token, jwk: await exportJWK(await importJWK(jwk, "RS256")) });
}

function authorize(url: URL): Response {
  const get = (name: string): string => url.searchParams.get(name) ?? "";
  if (get("client_id") !== issuerClient.id || get("response_type") !== "code") {
    return new Response("unknown client", { status: 400 });
  }
  const code = crypto.randomUUID();
  grants.set(code, {
    email: get("as"),
    name: url.searchParams.get("called") ?? "Person of the issuer",
    verified: get("verified") !== "false",
    nonce: url.searchParams.get("nonce"),
    challenge: url.searchParams.get("code_challenge"),
    redirectUri: get("redirect_uri"),
  });
  return redirect(get("redirect_uri"), code, get("state"));
}

function redirect(target: string, code: string, state: string): Response {
  const location = new URL(target);
  location.searchParams.set("code", code);
  location.searchParams.set("state", state);
  return new Response(null, { status: 302, headers: { location: location.href } });
}

async function exchange(body: string): Promise<Response> {
  const form = new URLSearchParams(body);
  const code = form.get("code") ?? "";
  const grant = grants.get(code);
  grants.delete(code);
  const verifier = createHash("sha256")
    .update(form.get("code_verifier") ?? "")
    .digest("base64url");
  const isGood =
    grant !== undefined &&
    form.get("client_secret") === issuerClient.secret &&
    form.get("redirect_uri") === grant.redirectUri &&
    grant.challenge === verifier;
  if (!isGood) {
    return Response.json({ error: "invalid_grant" }, { status: 400 });
  }
  const { email, name, verified, nonce } = grant;
  const claims = {
    email,
    email_verified: verified,
    name,
    ...(nonce === null ? {} : { nonce }),
  };
  const idToken = await new SignJWT(claims)
    .setProtectedHeader({ alg: "RS256", kid })
    .setIssuer(issuer)
    .setAudience(issuerClient.id)
    .setSubject(`sub-of-${email}`)
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign((await known).privateKey);
  return Response.json({ access_token: `at-${code}`, token_type: "Bearer", expires_in: 300, id_token: idToken });
}

/** GitHub's code is the address itself: it has no state of its own here. */
async function answerGithub(request: Request, url: URL): Promise<Response> {
  const email = (request.headers.get("authorization") ?? "").replace(/^\S+ gh-/, "");
  switch (`${url.host}${url.pathname}`) {
    case "github.com/login/oauth/authorize":
      return redirect(
        url.searchParams.get("redirect_uri") ?? "",
        url.searchParams.get("as") ?? "",
        url.searchParams.get("state") ?? "",
      );
    case "github.com/login/oauth/access_token": {
      const text = await request.text();
      const code = new URLSearchParams(text).get("code") ?? "";
      return Response.json({ access_token: `gh-${code}`, token_type: "bearer", scope: "user:email" });
    }
    case "api.github.com/user":
      return Response.json({ id: 7, login: "octo", name: "Octo", email: null, avatar_url: "" });
    case "api.github.com/user/emails":
      return Response.json([{ email, primary: true, verified: true, visibility: null }]);
    default:
      return new Response(null, { status: 404 });
  }
}
