/** The doors of passkeys: sign in by one, and keep one's own. Bodies are what browsers' `PublicKeyCredential.toJSON()` gives. */
import { z } from "@hono/zod-openapi";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { noContent, reply } from "../http/reply.js";
import { SignedIn } from "./code-routes.js";
import { sessionCookie } from "./cookie.js";
import { DisplayName, Passkey, toPasskey } from "./model.js";
import { checkNewPasskey, isChallenge, mintChallenge, relyingParty } from "./passkey.js";
import {
  creationOptions,
  listPasskeys,
  planAddPasskey,
  planPasskeySignIn,
  planRemovePasskey,
  requestOptions,
} from "./passkeys.js";
import { sessionMs } from "./sessions.js";

const base64Url = z
  .string()
  .max(8192)
  .regex(/^[A-Za-z0-9_-]*$/, "Give base64url without padding.");

const credential = {
  id: base64Url,
  rawId: base64Url,
  type: z.literal("public-key"),
  clientExtensionResults: z.object({}).default({}),
};

const RegistrationResponse = z
  .object({ ...credential, response: z.object({ clientDataJSON: base64Url, attestationObject: base64Url }) })
  .openapi("PasskeyRegistration");

const AuthenticationResponse = z
  .object({
    ...credential,
    response: z.object({
      clientDataJSON: base64Url,
      authenticatorData: base64Url,
      signature: base64Url,
      userHandle: base64Url.describe("Discoverable passkeys always have one."),
    }),
  })
  .openapi("PasskeyAssertion");

const CeremonyOptions = z
  .looseObject({ challenge: z.string() })
  .describe("For `PublicKeyCredential.parseCreationOptionsFromJSON()` or `parseRequestOptionsFromJSON()`.")
  .openapi("PasskeyOptions");

const session = { kind: "session" } as const;
const ownSession = { kind: "session", own: true } as const;

const startSignIn = endpoint(
  {
    method: "post",
    path: "/auth/passkey/options",
    operation: "startPasskeySignIn",
    summary: "Start signing in by a passkey",
    description: "Needs no address, and is the same for everybody. The challenge is good for 5 minutes and one answer.",
    tag: "Sign-in",
    permission: { kind: "public" },
    storedAnswer: "never",
    responses: { 200: { description: "What the browser needs.", schema: CeremonyOptions } },
    errors: [],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    const challenge = await mintChallenge(settings.authSecret, "sign_in", call.now);
    return reply(200, requestOptions(relyingParty(settings, call.request), challenge));
  },
);

const finishSignIn = endpoint(
  {
    method: "post",
    path: "/auth/passkey/verify",
    operation: "finishPasskeySignIn",
    summary: "Sign in by a passkey",
    tag: "Sign-in",
    permission: { kind: "public" },
    storedAnswer: "never",
    maxBodyBytes: 32 * 1024,
    body: z
      .strictObject({ response: AuthenticationResponse, cookie: z.boolean().default(false) })
      .openapi("FinishPasskeySignIn"),
    responses: { 200: { description: "Signed in.", schema: SignedIn } },
    errors: ["code_refused"],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    const from = { party: relyingParty(settings, call.request), userAgent: call.request.headers.get("user-agent") };
    const plan = await planPasskeySignIn(call.db, settings, call.actor, call.body.response, from);
    const { account, token } = plan.value;
    if (call.body.cookie) {
      const cookie = sessionCookie(settings.publicUrl, token, sessionMs);
      return await call.commit(plan, reply(200, { account, session_token: null }, { cookie }));
    }
    return await call.commit(plan, reply(200, { account, session_token: token.reveal() }));
  },
);

const startAdding = endpoint(
  {
    method: "post",
    path: "/me/passkeys/options",
    operation: "startAddingPasskey",
    summary: "Start adding a passkey",
    tag: "You",
    permission: ownSession,
    storedAnswer: "never",
    responses: { 200: { description: "What the browser needs.", schema: CeremonyOptions } },
    errors: [],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    const person = call.ownSession();
    const challenge = await mintChallenge(settings.authSecret, `add|${person.accountId}`, call.now);
    const known = await listPasskeys(call.db, person.accountId);
    return reply(200, creationOptions(relyingParty(settings, call.request), person, challenge, known));
  },
);

const addPasskey = endpoint(
  {
    method: "post",
    path: "/me/passkeys",
    operation: "addPasskey",
    summary: "Add a passkey",
    tag: "You",
    permission: ownSession,
    maxBodyBytes: 64 * 1024,
    body: z.strictObject({ name: DisplayName, response: RegistrationResponse }).openapi("AddPasskey"),
    responses: { 201: { description: "Added.", schema: Passkey } },
    errors: ["code_refused", "conflict"],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    const { accountId } = call.ownSession();
    let challenge = "";
    const made = await checkNewPasskey(call.body.response, {
      party: relyingParty(settings, call.request),
      isExpected: async (answered) => {
        challenge = answered;
        return await isChallenge(settings.authSecret, `add|${accountId}`, answered, call.now);
      },
    });
    const plan = await planAddPasskey(call.db, call.actor, accountId, made, { challenge, name: call.body.name });
    return await call.commit(plan, reply(201, toPasskey(plan.value), { location: `/me/passkeys/${plan.value.id}` }));
  },
);

const listOwn = endpoint(
  {
    method: "get",
    path: "/me/passkeys",
    operation: "listPasskeys",
    summary: "List your passkeys",
    tag: "You",
    permission: session,
    responses: {
      200: { description: "Your passkeys, newest first; all of them.", schema: z.object({ data: z.array(Passkey) }) },
    },
    errors: [],
  },
  async (call) => reply(200, { data: (await listPasskeys(call.db, call.session().accountId)).map(toPasskey) }),
);

const removePasskey = endpoint(
  {
    method: "delete",
    path: "/me/passkeys/{id}",
    operation: "removePasskey",
    summary: "Remove one of your passkeys",
    tag: "You",
    permission: session,
    params: z.object({ id: z.string().describe("The passkey's id, such as psk_…") }),
    responses: { 204: { description: "Removed: it signs nobody in any more." } },
    errors: ["not_found"],
  },
  async (call) => {
    const { accountId } = call.session();
    return await call.commit(planRemovePasskey(call.db, call.actor, accountId, call.params.id), noContent());
  },
);

export const passkeyEndpoints: readonly Endpoint[] = [
  startSignIn,
  finishSignIn,
  startAdding,
  addPasskey,
  listOwn,
  removePasskey,
];
