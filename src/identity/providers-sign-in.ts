/** Sign-in through a provider, done by better-auth. It is loaded here on first use and nowhere else, knows two routes of its own, and may not decide who gets an account. */
import type { BetterAuthOptions, BetterAuthPlugin } from "better-auth";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { log } from "../base/log.js";
import { checkOutboundUrl } from "../base/outbound.js";
import type { Settings } from "../base/settings.js";
import { cookiePrefix } from "./cookie.js";
import { DisplayName } from "./model.js";
import { sessionMs, signingSecret } from "./sessions.js";
import { maySignUp } from "./sign-up.js";

/** Every provider there can be, by the name that paths use. */
export const providerNames = ["github", "google", "oidc"] as const;
export type ProviderName = (typeof providerNames)[number];

/** The providers that the settings name, with what people call them. */
export function configuredProviders(settings: Settings): { id: ProviderName; name: string }[] {
  const { github, google, oidc } = settings.signIn;
  return [
    ...(github === null ? [] : [{ id: "github" as const, name: "GitHub" }]),
    ...(google === null ? [] : [{ id: "google" as const, name: "Google" }]),
    ...(oidc === null ? [] : [{ id: "oidc" as const, name: oidc.name }]),
  ];
}

/** Who asks, for the session's row and its audit. */
export interface SignInRequest {
  readonly env: Env;
  readonly settings: Settings;
  readonly provider: ProviderName;
  readonly requestId: string;
}

/** Hands a request to better-auth, which answers `/auth/sign-in/social` and `/auth/callback/{provider}`. Throws `not_found` for a provider that is not configured. */
export async function askBetterAuth(asked: SignInRequest, request: Request): Promise<Response> {
  if (!configuredProviders(asked.settings).some(({ id }) => id === asked.provider)) {
    throw new AppError("not_found", { detail: "This service does not sign in by that provider." });
  }
  const { betterAuth } = await import("better-auth");
  // Made for each request: its start may ask the provider's address for its endpoints, and no request waits on another's.
  return await betterAuth(await optionsOf(asked)).handler(request);
}

async function optionsOf(asked: SignInRequest): Promise<BetterAuthOptions> {
  const { settings, env } = asked;
  const { authSecret, publicUrl } = settings;
  return {
    appName: "Gatehouse",
    baseURL: publicUrl,
    basePath: "/auth",
    secret: signingSecret(authSecret, authSecret.primary) ?? "",
    database: env.DB,
    trustedOrigins: [publicUrl],
    telemetry: { enabled: false },
    // Its counters live in one isolate's memory; ours are statements in D1.
    rateLimit: { enabled: false },
    // A broken or forged way back is an error to better-auth, but anybody's doing. Its details stay out: they hold tokens.
    logger: { log: (level, message) => log("info", "better_auth", { level_there: level, message }) },
    onAPIError: { errorURL: `${publicUrl}/` },
    session: {
      expiresIn: sessionMs / 1000,
      disableSessionRefresh: true,
      additionalFields: { requestId: { type: "string", required: false, input: false } },
    },
    user: { additionalFields: { signedUpBy: { type: "string", required: false, input: false } } },
    account: {
      updateAccountOnSignIn: false,
      // Encrypted, in the browser that asked: nobody makes rows by starting sign-ins.
      storeStateStrategy: "cookie",
      accountLinking: { enabled: true, trustedProviders: [] },
    },
    advanced: {
      cookiePrefix,
      useSecureCookies: publicUrl.startsWith("https:"),
      ipAddress: { ipAddressHeaders: ["cf-connecting-ip"] },
      database: { generateId: ({ model }) => newId(idKinds[model] ?? "identity") },
    },
    databaseHooks: await hooksOf(asked),
    ...(await providerOf(asked)),
  };
}

const idKinds: Readonly<Record<string, "account" | "session" | "identity">> = {
  user: "account",
  session: "session",
  account: "identity",
};

/** What better-auth may write: accounts only for who may sign up, with an address the provider has verified, and no provider's token. */
async function hooksOf(asked: SignInRequest): Promise<NonNullable<BetterAuthOptions["databaseHooks"]>> {
  const { APIError } = await import("better-auth/api");
  const { settings, provider, requestId } = asked;
  return {
    user: {
      create: {
        before: (user) => {
          if (!maySignUp(settings.signIn, user.email)) {
            throw new APIError("FORBIDDEN", { code: "sign_up_closed", message: "Ask for an invite." });
          }
          if (!user.emailVerified) {
            throw new APIError("FORBIDDEN", { code: "email_not_verified", message: "The provider must verify it." });
          }
          return Promise.resolve({ data: { ...user, name: nameOf(user), signedUpBy: provider } });
        },
      },
    },
    account: {
      create: {
        before: (account) => {
          return Promise.resolve({
            data: { ...account, accessToken: null, refreshToken: null, idToken: null },
          });
        },
      },
    },
    session: {
      create: {
        before: (session) => {
          const userAgent = session.userAgent?.slice(0, 300) ?? null;
          return Promise.resolve({ data: { ...session, userAgent, requestId } });
        },
      },
    },
  };
}

/** The provider's name for a person as our own forms would take it, or the address's. */
function nameOf(user: { readonly name: string; readonly email: string }): string {
  const cut = user.name
    .replaceAll(/\p{Cc}/gu, "")
    .trim()
    .slice(0, 100);
  // A pair of surrogates may have been cut in two.
  const name = DisplayName.safeParse(cut.isWellFormed() ? cut : cut.slice(0, -1));
  return name.success ? name.data : user.email.slice(0, user.email.indexOf("@")).slice(0, 100);
}

/** Only the provider that is asked for, so that one's trouble is not another's. */
async function providerOf(asked: SignInRequest): Promise<Pick<BetterAuthOptions, "socialProviders" | "plugins">> {
  const { github, google, oidc } = asked.settings.signIn;
  switch (asked.provider) {
    case "github":
      return github === null ? {} : { socialProviders: { github: reveal(github) } };
    case "google":
      return google === null ? {} : { socialProviders: { google: reveal(google) } };
    case "oidc":
      return oidc === null ? {} : { plugins: [await oidcPlugin(asked.settings, oidc)] };
  }
}

async function oidcPlugin(
  settings: Settings,
  oidc: NonNullable<Settings["signIn"]["oidc"]>,
): Promise<BetterAuthPlugin> {
  const discoveryUrl = `${oidc.issuer}/.well-known/openid-configuration`;
  const rules = { allow: settings.outboundAllow.join(","), ownHosts: [new URL(settings.publicUrl).host] };
  const checked = checkOutboundUrl(discoveryUrl, rules);
  if ("error" in checked) {
    throw new AppError("not_ready", { detail: `OIDC_ISSUER cannot be used. ${checked.error}` });
  }
  const { genericOAuth } = await import("better-auth/plugins");
  const config = { providerId: "oidc", discoveryUrl, ...reveal(oidc), scopes: ["openid", "email", "profile"] };
  return genericOAuth({ config: [{ ...config, pkce: true, requireIdTokenVerification: true }] });
}

function reveal(client: { readonly clientId: string; readonly clientSecret: { reveal(): string } }) {
  return { clientId: client.clientId, clientSecret: client.clientSecret.reveal() };
}
