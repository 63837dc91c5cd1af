/** The doors of sign-in by a provider: what there is, where to send the browser, and where the provider sends it back. These two routes are all of better-auth's that are open. */
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import { log } from "../base/log.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { endpoint, relayEndpoint, type Endpoint } from "../http/endpoint.js";
import { reply } from "../http/reply.js";
import { askBetterAuth, configuredProviders, providerNames, type ProviderName } from "./providers-sign-in.js";

const SignInMethods = z
  .object({
    email_code: z.literal(true),
    providers: z.array(z.object({ id: z.enum(providerNames), name: z.string() })),
    sign_up: z.enum(["invite", "open"]),
  })
  .openapi("SignInMethods");

const StartSignIn = z
  .strictObject({
    provider: z.enum(providerNames),
    redirect_to: z
      .string()
      .max(500)
      // One slash, then a name: two would be another host's address, and so would a slash and a backslash.
      .regex(/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/, "Give a path of this service, such as /workspaces.")
      .default("/")
      .describe("Where the browser ends up, with `?error=…` when it failed."),
  })
  .openapi("StartSignIn");

const StartedSignIn = z.object({ url: z.string().describe("Send the browser there.") }).openapi("StartedSignIn");

const listMethods = endpoint(
  {
    method: "get",
    path: "/auth/methods",
    operation: "listSignInMethods",
    summary: "How one can sign in here",
    tag: "Sign-in",
    permission: { kind: "public" },
    responses: { 200: { description: "The ways in.", schema: SignInMethods } },
    errors: [],
  },
  (call) => {
    const settings = requireSettings(call.env);
    const { signUp } = settings.signIn;
    return Promise.resolve(reply(200, { email_code: true, providers: configuredProviders(settings), sign_up: signUp }));
  },
);

const startSignIn = endpoint(
  {
    method: "post",
    path: "/auth/sign-in/social",
    operation: "startProviderSignIn",
    summary: "Start signing in by a provider",
    description: "For browsers: the answer sets a cookie that the provider's way back needs.",
    tag: "Sign-in",
    permission: { kind: "public" },
    storedAnswer: "never",
    maxBodyBytes: 4096,
    body: StartSignIn,
    responses: { 200: { description: "Where to send the browser.", schema: StartedSignIn } },
    errors: ["not_found", "upstream_failed"],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    const { provider } = call.body;
    const asked = { env: call.env, settings, provider, requestId: call.actor.requestId };
    const answer = await askBetterAuth(asked, toStart(settings, call.body));
    const body = StartedSignIn.safeParse(await answer.json());
    const [cookie, ...more] = answer.headers.getSetCookie();
    if (answer.status !== 200 || !body.success || cookie === undefined || more.length > 0) {
      log("error", "provider_sign_in_not_started", { provider, status: answer.status });
      throw new AppError("upstream_failed", { detail: "The sign-in provider cannot be reached. Try again." });
    }
    return reply(200, body.data, { cookie });
  },
);

/** Made anew from checked values: nothing else of the caller's body, such as an id token, reaches better-auth. */
function toStart(settings: Settings, input: z.infer<typeof StartSignIn>): Request {
  const back = `${settings.publicUrl}${input.redirect_to}`;
  const body = { provider: input.provider, callbackURL: back, errorCallbackURL: back, disableRedirect: true };
  return new Request(`${settings.publicUrl}/auth/sign-in/social`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: settings.publicUrl },
    body: JSON.stringify(body),
  });
}

const finishSignIn = relayEndpoint(
  {
    method: "get",
    path: "/auth/callback/{provider}",
    operation: "finishProviderSignIn",
    summary: "Where a provider sends the browser back",
    description: "Sets the session's cookie and goes on to `redirect_to`; a failure stands there as `?error=…`.",
    tag: "Sign-in",
    permission: { kind: "public" },
    responses: { 302: { description: "On to `redirect_to`." } },
    errors: ["not_found", "upstream_failed"],
  },
  async ({ env, request, requestId }) => {
    const settings = requireSettings(env);
    const url = new URL(request.url);
    const provider = providerNames.find((name) => url.pathname === `/auth/callback/${name}`);
    if (provider === undefined) {
      throw new AppError("not_found");
    }
    const answer = await askBetterAuth({ env, settings, provider, requestId }, toFinish(settings, provider, request));
    if (answer.status !== 302) {
      log("error", "provider_sign_in_not_finished", { provider, status: answer.status });
      throw new AppError("upstream_failed", { detail: "The sign-in provider gave no usable answer. Try again." });
    }
    const headers = new Headers({ "cache-control": "no-store", location: answer.headers.get("location") ?? "/" });
    for (const cookie of answer.headers.getSetCookie()) {
      headers.append("set-cookie", cookie);
    }
    return new Response(null, { status: 302, headers });
  },
);

/** The parts of the browser's request that the way back needs. */
function toFinish(settings: Settings, provider: ProviderName, request: Request): Request {
  const headers = new Headers();
  for (const name of ["cookie", "cf-connecting-ip", "user-agent"]) {
    const value = request.headers.get(name);
    if (value !== null) {
      headers.set(name, value);
    }
  }
  return new Request(`${settings.publicUrl}/auth/callback/${provider}${new URL(request.url).search}`, { headers });
}

export const providerEndpoints: readonly Endpoint[] = [listMethods, startSignIn, finishSignIn];
