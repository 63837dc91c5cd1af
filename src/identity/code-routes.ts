/** The doors of sign-in by e-mail: ask for a code, and trade it for a session. */
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { reply } from "../http/reply.js";
import { enqueueLetters } from "../mail/outbox.js";
import { askAgainMs } from "./code-limits.js";
import { planCode, tryCode } from "./codes.js";
import { sessionCookie } from "./cookie.js";
import { Account, DisplayName, EmailAddress, LanguageTag } from "./model.js";
import { sessionMs } from "./sessions.js";
import { planSignIn } from "./sign-in.js";

const AskForCode = z
  .strictObject({
    email: EmailAddress,
    locale: LanguageTag.optional().describe("Language of the letter; en-US when left out."),
  })
  .openapi("AskForCode");

const AskedForCode = z
  .object({
    handle: z.string().describe("Keep it where you asked: the code can be tried only with it."),
    expires_at: z.iso.datetime(),
  })
  .openapi("AskedForCode");

const VerifyCode = z
  .strictObject({
    handle: z.string().min(1).max(200),
    code: z.string().min(1).max(40).describe("The eight digits of the letter."),
    name: DisplayName.optional().describe("Name of a new account; made from the address when left out."),
    cookie: z
      .boolean()
      .default(false)
      .describe("For browsers: the session comes as a cookie that scripts cannot read, not as `session_token`."),
  })
  .openapi("VerifyCode");

export const SignedIn = z
  .object({
    account: Account,
    session_token: z
      .string()
      .nullable()
      .describe("Send it as `Authorization: Bearer …`. Shown this once; null when it came as a cookie."),
  })
  .openapi("SignedIn");

const askForCode = endpoint(
  {
    method: "post",
    path: "/auth/email-code",
    operation: "askForCode",
    summary: "Ask for a sign-in code by e-mail",
    description:
      "The answer is the same whether or not the address is known; only who may sign in gets a letter. A code is good for 10 minutes and 5 tries. Asking again leaves earlier codes as they are.",
    tag: "Sign-in",
    permission: { kind: "public" },
    storedAnswer: "never",
    maxBodyBytes: 4096,
    body: AskForCode,
    responses: { 202: { description: "Asked.", schema: AskedForCode } },
    errors: ["rate_limited"],
  },
  async (call) => {
    const { mailSecret } = requireSettings(call.env);
    const { email, locale } = call.body;
    const plan = await planCode(call.db, mailSecret, call.actor, {
      purpose: "sign_in",
      email,
      locale: locale ?? "en-US",
      letter: "sign_in_code",
      workspaceId: null,
      subjectId: null,
    });
    const { handle, expiresAt, messages } = plan.value;
    const answer = reply(202, { handle: handle.reveal(), expires_at: new Date(expiresAt).toISOString() });
    try {
      await call.commit(plan, answer);
    } catch (error) {
      if (error instanceof AppError && error.code === "rate_limited") {
        const retryAfterMs = await askAgainMs(call.db, "sign_in", email, call.actor.ip, call.now);
        throw new AppError("rate_limited", { retryAfterMs });
      }
      throw error;
    }
    call.waitUntil(enqueueLetters(call.env, call.db, messages, call.now));
    return answer;
  },
);

const verifyCode = endpoint(
  {
    method: "post",
    path: "/auth/email-code/verify",
    operation: "verifyCode",
    summary: "Sign in with a code",
    description: "An address that may sign up gets its account here. A wrong code and an unknown handle look the same.",
    tag: "Sign-in",
    permission: { kind: "public" },
    storedAnswer: "never",
    maxBodyBytes: 4096,
    body: VerifyCode,
    responses: { 200: { description: "Signed in.", schema: SignedIn } },
    errors: ["code_refused", "rate_limited", "conflict"],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    const proven = await tryCode(call.db, settings.mailSecret, call.actor, "sign_in", call.body);
    const from = { name: call.body.name, userAgent: call.request.headers.get("user-agent") };
    const plan = await planSignIn(call.db, settings, call.actor, proven, from);
    const { account, token } = plan.value;
    if (call.body.cookie) {
      const cookie = sessionCookie(settings.publicUrl, token, sessionMs);
      return await call.commit(plan, reply(200, { account, session_token: null }, { cookie }));
    }
    return await call.commit(plan, reply(200, { account, session_token: token.reveal() }));
  },
);

export const codeEndpoints: readonly Endpoint[] = [askForCode, verifyCode];
