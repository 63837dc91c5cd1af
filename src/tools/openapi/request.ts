/** A tool's input becomes the HTTP request of its operation, by the document's own rules for every parameter. */
import { AppError } from "../../base/errors.js";
import type { OpenApiCall, OpenedCredential, ToolAuth } from "../contract.js";

/**
 * The request of one call, unsent and without a signal; `redirect` is `manual`. `input` has passed the tool's schema. To send
 * to another base of the same document, give the call with another `server`. For `oauth_client_credentials` the credential's
 * secret must already be the access token. Throws `AppError` `validation_failed` with pointers such as `/input/file`.
 */
export function buildToolRequest(
  call: OpenApiCall,
  input: Readonly<Record<string, unknown>>,
  auth: ToolAuth,
  credential: OpenedCredential | null,
): Request {
  throw new AppError("validation_failed", { detail: JSON.stringify([call, input, auth, credential]) });
}
