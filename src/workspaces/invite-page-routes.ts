/** The browser's side of an invite's link: the same deeds as the endpoints of invites, answered in pages and by forms. */
import { fromUtf8 } from "../base/bytes.js";
import { commitChange } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { prefersHtml } from "../http/accept.js";
import type { HttpContext } from "../http/context.js";
import { toActor } from "../http/endpoint.js";
import { readBody } from "../http/parse.js";
import { planCode, tryCode, type ProvenCode } from "../identity/codes.js";
import { refuseForeignWrite, sessionCookie } from "../identity/cookie.js";
import { sessionMs } from "../identity/sessions.js";
import { languageOf, writeTime, type LetterLanguage } from "../mail/layout.js";
import { enqueueLetters } from "../mail/outbox.js";
import { findInviteByToken, newInvitee, planAcceptance, planDecline, type Invitee } from "./invite-acceptance.js";
import type { OpenInvite } from "./invite-acceptance.js";
import { showInvite, type InviteeState, type InviteView } from "./invite-page.js";
import { AcceptInvite } from "./invite-schema.js";
import { pageProblems, type OfferFacts, type PageProblem } from "./invite-texts.js";

const maxFormBytes = 4096;

/** A browser's visit to an open invite. */
interface Visit {
  readonly context: HttpContext;
  readonly settings: Settings;
  readonly open: OpenInvite;
  readonly token: string;
  readonly language: LetterLanguage;
  readonly now: number;
}

/** The page for a browser at an invite's link, or null for a caller who speaks JSON. A link that opens nothing is one and the same 404 page. */
export async function answerInvitee(context: HttpContext): Promise<Response | null> {
  const { req, env } = context;
  const deed = req.param("deed") ?? null;
  const isForm = /^application\/x-www-form-urlencoded\s*(;|$)/i.test(req.header("content-type") ?? "");
  const isOurs = req.method === "GET" ? deed === null && prefersHtml(req.header("accept") ?? null) : isForm;
  if (!isOurs || (req.method === "POST" && deed !== "accept" && deed !== "decline")) {
    return null;
  }
  context.set("route", `/invites/{token}${deed === null ? "" : `/${deed}`}`);
  const settings = requireSettings(env);
  const now = Date.now();
  const token = req.param("token") ?? "";
  try {
    const open = await findInviteByToken(context.get("db"), settings.mailSecret, token, now);
    const visit = { context, settings, open, token, language: languageOf(open.invite.locale), now };
    return deed === null ? showOffer(visit, null) : await takeAnswer(visit, deed);
  } catch (error) {
    if (error instanceof AppError && error.code === "not_found") {
      return showInvite({ kind: "gone" }, languageOf(req.header("accept-language") ?? ""), 404);
    }
    throw error;
  }
}

/** Every form must come from this page: accepting can sign a browser in, and nobody else may decide as whom. */
async function takeAnswer(visit: Visit, deed: string): Promise<Response> {
  const { context } = visit;
  try {
    refuseForeignWrite(context.req.raw, visit.settings.publicUrl, []);
    const form = new URLSearchParams(fromUtf8(await readBody(context.req.raw, maxFormBytes)));
    return await (deed === "accept" ? accept(visit, form) : decline(visit));
  } catch (error) {
    const problem = problemOf(error);
    if (problem === null || !(error instanceof AppError)) {
      throw error;
    }
    return showOffer(visit, problem, error.status);
  }
}

async function decline({ context, open, language, now }: Visit): Promise<Response> {
  const principal = context.get("principal");
  const own = principal?.kind === "session" && principal.accountId === open.account?.id ? principal : null;
  await commitChange(context.get("db"), planDecline(context.get("db"), open, own, toActor(own, context, now)));
  return showInvite({ kind: "declined", workspace: open.workspace.name }, language, 200);
}

async function accept(visit: Visit, form: URLSearchParams): Promise<Response> {
  const { open, now } = visit;
  if (open.account === null) {
    const given = (form.get("name") ?? "").trim();
    const parsed = AcceptInvite.safeParse(given === "" ? {} : { name: given });
    return parsed.success
      ? await join(visit, newInvitee(open, parsed.data.name, now), null)
      : showOffer(visit, "bad_name", 422);
  }
  if (stateOf(visit) === "signed_in") {
    return await join(visit, { account: open.account, isNew: false, getsSession: false }, null);
  }
  const [handle, code] = [form.get("handle"), form.get("code")];
  return handle === null || code === null
    ? await sendCode(visit, open.account.email)
    : await joinByCode(visit, { account: open.account, isNew: false, getsSession: true }, handle, code);
}

async function sendCode(visit: Visit, email: string): Promise<Response> {
  const { context, settings, open, token, now } = visit;
  const db = context.get("db");
  const plan = await planCode(db, settings.mailSecret, toActor(null, context, now), {
    purpose: "sign_in",
    email,
    locale: open.invite.locale,
    letter: "sign_in_code",
    workspaceId: null,
    subjectId: null,
  });
  const { handle, messages } = await commitChange(db, plan);
  context.executionCtx.waitUntil(enqueueLetters(context.env, db, messages, now));
  const view: InviteView = { kind: "code", token, facts: factsOf(visit), handle: handle.reveal(), problem: null };
  return showInvite(view, visit.language, 200);
}

/** A code of another address proves nothing here, and is not used up. */
async function joinByCode(visit: Visit, invitee: Invitee, handle: string, code: string): Promise<Response> {
  const { context, settings, token, now } = visit;
  try {
    const actor = toActor(null, context, now);
    const proven = await tryCode(context.get("db"), settings.mailSecret, actor, "sign_in", { handle, code });
    if (proven.email !== invitee.account.email) {
      throw new AppError("code_refused");
    }
    return await join(visit, invitee, proven);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "code_refused") {
      throw error;
    }
    const view: InviteView = { kind: "code", token, facts: factsOf(visit), handle, problem: "code_refused" };
    return showInvite(view, visit.language, 403);
  }
}

async function join(visit: Visit, invitee: Invitee, proven: ProvenCode | null): Promise<Response> {
  const { context, settings, open, language, now } = visit;
  const db = context.get("db");
  const actor = toActor(null, context, now);
  const userAgent = context.req.header("user-agent") ?? null;
  const change = await planAcceptance(db, settings.authSecret, open, invitee, actor, userAgent);
  const statements = [...(proven?.use ?? []), ...change.statements];
  const { token } = await commitChange(db, { ...change, statements });
  const cookie = token === null ? undefined : sessionCookie(settings.publicUrl, token, sessionMs);
  return showInvite({ kind: "joined", workspace: open.workspace.name }, language, 200, cookie);
}

function showOffer(visit: Visit, problem: PageProblem | "bad_name" | null, status = 200): Response {
  const principal = visit.context.get("principal");
  const invitee = stateOf(visit);
  const isOther = principal?.kind === "session" && invitee !== "signed_in";
  const otherEmail = isOther ? principal.email : null;
  const { token, language } = visit;
  return showInvite({ kind: "offer", token, facts: factsOf(visit), invitee, otherEmail, problem }, language, status);
}

function stateOf({ context, open }: Visit): InviteeState {
  const principal = context.get("principal");
  if (open.account === null) {
    return "new";
  }
  return principal?.kind === "session" && principal.accountId === open.account.id ? "signed_in" : "signed_out";
}

function factsOf({ open, language }: Visit): OfferFacts {
  const { invite, inviter, workspace } = open;
  const expiresAt = writeTime(invite.expiresAt, language);
  return { inviter, workspace: workspace.name, email: invite.email, role: invite.role, expiresAt };
}

/** Losing a race for the address's account reads as any other change meanwhile. */
function problemOf(error: unknown): PageProblem | null {
  const code = error instanceof AppError ? (error.code === "unauthenticated" ? "conflict" : error.code) : "";
  return pageProblems.find((problem) => problem === code) ?? null;
}
