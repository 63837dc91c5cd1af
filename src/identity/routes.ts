/** Every door of identity. */
import type { Endpoint } from "../http/endpoint.js";
import { accessTokenEndpoints } from "./access-token-routes.js";
import { codeEndpoints } from "./code-routes.js";
import { passkeyEndpoints } from "./passkey-routes.js";
import { personalTokenEndpoints } from "./personal-token-routes.js";
import { providerEndpoints } from "./provider-routes.js";
import { sessionEndpoints } from "./session-routes.js";

export const identityEndpoints: readonly Endpoint[] = [
  ...codeEndpoints,
  ...sessionEndpoints,
  ...accessTokenEndpoints,
  ...providerEndpoints,
  ...passkeyEndpoints,
  ...personalTokenEndpoints,
];
