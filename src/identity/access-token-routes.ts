/** The doors of access tokens: one for a session, and the keys that check them. */
import { z } from "@hono/zod-openapi";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { reply } from "../http/reply.js";
import { accessTokenSeconds, signAccessToken } from "./access-tokens.js";
import { publicKeys } from "./signing-keys.js";

const AccessToken = z
  .object({
    access_token: z.string().describe("A JWT. Send it as `Authorization: Bearer …`."),
    token_type: z.literal("Bearer"),
    expires_in: z.number().int().describe("Seconds."),
  })
  .openapi("AccessToken");

const KeySet = z
  .object({
    keys: z.array(
      z.object({
        kid: z.string(),
        kty: z.literal("OKP"),
        crv: z.literal("Ed25519"),
        alg: z.literal("EdDSA"),
        use: z.literal("sig"),
        x: z.string(),
      }),
    ),
  })
  .openapi("KeySet");

const issueToken = endpoint(
  {
    method: "get",
    path: "/auth/token",
    operation: "issueAccessToken",
    summary: "Get a five-minute access token for your session",
    description:
      "A JWT (`typ` at+jwt, EdDSA) that says who you are: `sub` the account, `sid` the session. What you may do is read anew at every call, so it ends with the session.",
    tag: "Sign-in",
    permission: { kind: "session", own: true },
    storedAnswer: "never",
    responses: { 200: { description: "The token.", schema: AccessToken } },
    errors: [],
  },
  async (call) => {
    const session = call.ownSession();
    const token = await signAccessToken(requireSettings(call.env), session, call.now);
    return reply(200, { access_token: token.reveal(), token_type: "Bearer", expires_in: accessTokenSeconds });
  },
);

const readKeys = endpoint(
  {
    method: "get",
    path: "/auth/jwks",
    operation: "readKeySet",
    summary: "The public keys of access tokens",
    description: "A JWK set, RFC 7517: the keys that signed last, sign now and sign next.",
    tag: "Sign-in",
    permission: { kind: "public" },
    responses: { 200: { description: "The keys.", schema: KeySet } },
    errors: [],
  },
  async (call) => reply(200, { keys: await publicKeys(requireSettings(call.env).authSecret, call.now) }),
);

export const accessTokenEndpoints: readonly Endpoint[] = [issueToken, readKeys];
