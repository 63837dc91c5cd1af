/** Every credential of a person, in the order they are asked. Each knows its own form, so no credential is tried as another. */
import type { Authenticator } from "../http/authenticate.js";
import { accessTokenAuthenticator } from "./access-tokens.js";
import { personalTokenAuthenticator } from "./personal-tokens.js";
import { sessionAuthenticator } from "./sessions.js";

export const identityAuthenticators: readonly Authenticator[] = [
  sessionAuthenticator,
  personalTokenAuthenticator,
  accessTokenAuthenticator,
];
