/** Every door of identity. */
import type { Endpoint } from "../http/endpoint.js";
import { codeEndpoints } from "./code-routes.js";
import { personalTokenEndpoints } from "./personal-token-routes.js";
import { sessionEndpoints } from "./session-routes.js";

export const identityEndpoints: readonly Endpoint[] = [
  ...codeEndpoints,
  ...sessionEndpoints,
  ...personalTokenEndpoints,
];
