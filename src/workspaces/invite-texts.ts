/** What the invite's page says, in the languages that letters are written in. */
import type { ErrorCode } from "../base/errors.js";
import type { LetterLanguage } from "../mail/layout.js";

/** An invite as its page tells of it. */
export interface OfferFacts {
  readonly inviter: string;
  readonly workspace: string;
  readonly email: string;
  readonly role: "ADMIN" | "MEMBER";
  /** Written for people. */
  readonly expiresAt: string;
}

/** Why an answer could not be taken, as far as the page has words for it. */
export const pageProblems = [
  "already_member",
  "code_refused",
  "conflict",
  "origin_not_allowed",
  "rate_limited",
  "seat_limit_reached",
] as const satisfies readonly ErrorCode[];
export type PageProblem = (typeof pageProblems)[number];

interface PageTexts {
  readonly title: (workspace: string) => string;
  readonly offer: (facts: OfferFacts) => string;
  readonly terms: (facts: OfferFacts) => string;
  readonly name: string;
  readonly accept: string;
  readonly decline: string;
  readonly signInFirst: (facts: OfferFacts) => string;
  readonly signedInAs: (email: string) => string;
  readonly sendCode: string;
  readonly codeSent: (email: string) => string;
  readonly code: string;
  readonly confirm: string;
  readonly joined: (workspace: string) => string;
  readonly goOn: string;
  readonly declined: (workspace: string) => string;
  readonly gone: string;
  readonly goneHelp: string;
  readonly badName: string;
  readonly problems: Readonly<Record<PageProblem, string>>;
}

/** The page's words by language. */
export const pageTexts: Readonly<Record<LetterLanguage, PageTexts>> = {
  "en-US": {
    title: (workspace) => `Join ${workspace}`,
    offer: ({ inviter, workspace, role }) =>
      `${inviter} invites you to join the workspace ${workspace} as ${role === "ADMIN" ? "an admin" : "a member"}.`,
    terms: ({ email, expiresAt }) => `For ${email}, until ${expiresAt}. Nothing happens before you accept.`,
    name: "Your name",
    accept: "Accept",
    decline: "Decline",
    signInFirst: ({ email }) => `${email} has an account here. To join with it, confirm that the address is yours.`,
    signedInAs: (email) => `You are signed in as ${email}, which is another address.`,
    sendCode: "Mail me a code",
    codeSent: (email) => `We sent a code of eight digits to ${email}. It is good for ten minutes.`,
    code: "Code",
    confirm: "Confirm and join",
    joined: (workspace) => `You have joined ${workspace}.`,
    goOn: "Go on",
    declined: (workspace) => `You have declined to join ${workspace}. The link does not work any more.`,
    gone: "This invite is not open",
    goneHelp: "It was answered, taken back or replaced, or its time is over. Ask whoever invited you for a new one.",
    badName: "Please give a name of at most 100 characters.",
    problems: {
      already_member: "You are a member of this workspace already.",
      code_refused: "This code is wrong, used or no longer good. Check it, or ask for a new one.",
      conflict: "Something changed meanwhile. Please try again.",
      origin_not_allowed: "This answer did not come from this page. Open the link of your letter again.",
      rate_limited: "That was often. Please wait an hour, then try again.",
      seat_limit_reached: "The workspace has no seat free. Ask whoever invited you; your invite stays open.",
    },
  },
  "zh-CN": {
    title: (workspace) => `加入 ${workspace}`,
    offer: ({ inviter, workspace, role }) =>
      `${inviter} 邀请您以${role === "ADMIN" ? "管理员" : "成员"}身份加入工作区 ${workspace}。`,
    terms: ({ email, expiresAt }) => `仅限 ${email} 使用，${expiresAt} 之前有效。在您接受之前，不会发生任何变化。`,
    name: "您的姓名",
    accept: "接受",
    decline: "拒绝",
    signInFirst: ({ email }) => `${email} 已有账号。如需用它加入，请先确认该邮箱属于您。`,
    signedInAs: (email) => `您当前登录的是另一个邮箱：${email}。`,
    sendCode: "向我发送验证码",
    codeSent: (email) => `我们已向 ${email} 发送八位数验证码，十分钟内有效。`,
    code: "验证码",
    confirm: "确认并加入",
    joined: (workspace) => `您已加入 ${workspace}。`,
    goOn: "继续",
    declined: (workspace) => `您已拒绝加入 ${workspace}。此链接已失效。`,
    gone: "此邀请已关闭",
    goneHelp: "它已被处理、撤回、替换或已过期。请联系邀请您的人重新发送。",
    badName: "请填写不超过 100 个字符的姓名。",
    problems: {
      already_member: "您已是该工作区的成员。",
      code_refused: "验证码错误、已使用或已失效。请核对，或重新获取。",
      conflict: "状态已发生变化，请重试。",
      origin_not_allowed: "此请求并非来自本页面。请重新打开邮件中的链接。",
      rate_limited: "操作过于频繁，请一小时后再试。",
      seat_limit_reached: "该工作区没有空余席位。请联系邀请您的人；您的邀请仍然有效。",
    },
  },
};
