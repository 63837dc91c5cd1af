/** Who may sign in and how, as the environment says it. Everything here may be left out; the defaults let nobody in who was not invited. */
import { Secret } from "./secret.js";

/** What a provider knows this service by. */
export interface ProviderClient {
  readonly clientId: string;
  readonly clientSecret: Secret;
}

/** Sign-in and sign-up. */
export interface SignInSettings {
  /** `invite`: only set-up, invites and `signUpDomains` make accounts. */
  readonly signUp: "invite" | "open";
  /** Lower-cased domains whose addresses may make an account by themselves. */
  readonly signUpDomains: readonly string[];
  /** `owners`: only who owns a workspace already may create another. */
  readonly workspaceCreators: "owners" | "anyone";
  readonly github: ProviderClient | null;
  readonly google: ProviderClient | null;
  /** One OpenID Connect provider, by discovery below its issuer. */
  readonly oidc: (ProviderClient & { readonly issuer: string; readonly name: string }) | null;
  /** An outside issuer whose access tokens are taken for people with an account here. */
  readonly trusted: TrustedIssuer | null;
}

export interface TrustedIssuer {
  readonly issuer: string;
  readonly audience: string;
  readonly jwksUrl: string;
}

/** How this file reads one setting and reports one problem; handed in by `settings.ts`. */
export interface SettingSource {
  read(setting: string): string;
  report(setting: string, detail: string): void;
}

/** Reads every sign-in setting. Problems go to the source; what they concern then has its default. */
export function readSignInSettings(source: SettingSource): SignInSettings {
  return {
    signUp: readChoice(source, "SIGN_UP", ["invite", "open"]),
    signUpDomains: readDomains(source, "SIGN_UP_DOMAINS"),
    workspaceCreators: readChoice(source, "WORKSPACE_CREATORS", ["owners", "anyone"]),
    github: readClient(source, "GITHUB"),
    google: readClient(source, "GOOGLE"),
    oidc: readOidc(source),
    trusted: readTrusted(source),
  };
}

/** The first choice is the default. */
function readChoice<T extends string>(source: SettingSource, setting: string, choices: readonly [T, ...T[]]): T {
  const text = source.read(setting).toLowerCase();
  const choice = choices.find((word) => word === text);
  if (choice === undefined && text !== "") {
    source.report(setting, `${setting} must be ${choices.join(" or ")}, or not set, which means ${choices[0]}.`);
  }
  return choice ?? choices[0];
}

function readDomains(source: SettingSource, setting: string): readonly string[] {
  const words = source
    .read(setting)
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((word) => word !== "");
  if (words.some((word) => !/^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(word))) {
    source.report(setting, `${setting} must be domains separated by commas, such as example.com, example.org.`);
    return [];
  }
  return words;
}

function readClient(source: SettingSource, prefix: string): ProviderClient | null {
  const clientId = source.read(`${prefix}_CLIENT_ID`);
  const clientSecret = source.read(`${prefix}_CLIENT_SECRET`);
  if (clientId === "" && clientSecret === "") {
    return null;
  }
  if (clientId === "" || clientSecret === "") {
    const missing = clientId === "" ? `${prefix}_CLIENT_ID` : `${prefix}_CLIENT_SECRET`;
    source.report(missing, `${missing} is not set. Sign-in by ${prefix} needs client id and secret, or neither.`);
    return null;
  }
  return { clientId, clientSecret: new Secret(clientSecret) };
}

function readOidc(source: SettingSource): SignInSettings["oidc"] {
  const client = readClient(source, "OIDC");
  const issuer = source.read("OIDC_ISSUER").replace(/\/+$/, "");
  if (client === null && issuer === "") {
    return null;
  }
  if (client === null || !isWebAddress(issuer)) {
    source.report(
      "OIDC_ISSUER",
      "Sign-in by OpenID Connect needs OIDC_ISSUER (an https address), OIDC_CLIENT_ID and OIDC_CLIENT_SECRET.",
    );
    return null;
  }
  const name = source.read("OIDC_NAME");
  return { ...client, issuer, name: name === "" ? new URL(issuer).hostname : name };
}

function readTrusted(source: SettingSource): TrustedIssuer | null {
  const issuer = source.read("TRUSTED_ISSUER");
  const audience = source.read("TRUSTED_AUDIENCE");
  const jwksUrl = source.read("TRUSTED_JWKS");
  if (issuer === "" && audience === "" && jwksUrl === "") {
    return null;
  }
  if (issuer === "" || audience === "" || !isWebAddress(jwksUrl)) {
    source.report(
      "TRUSTED_ISSUER",
      "A trusted issuer needs TRUSTED_ISSUER, TRUSTED_AUDIENCE and TRUSTED_JWKS (the https address of its keys).",
    );
    return null;
  }
  return { issuer, audience, jwksUrl };
}

function isWebAddress(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && (url.protocol === "https:" || url.protocol === "http:");
}
