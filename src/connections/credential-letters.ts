/** The letters to a workspace's owner and admins about a credential: that it cannot be used as it is, and that it is about to run out. Written from the record alone, so a redelivery says the same. */
import { and, eq, sql } from "drizzle-orm";
import { hideSql, type Database, type Statement } from "../base/database.js";
import { users } from "../identity/model.js";
import { languageOf, layOut, writeTime, type LetterLanguage, type LetterTexts } from "../mail/layout.js";
import type { LetterSubject, WrittenLetter } from "../mail/letter.js";
import { outbox } from "../mail/model.js";
import { members, workspaces } from "../tenancy/model.js";
import { isAdmin, newLetterId } from "./credential-admins.js";
import { isRemindable } from "./credential-reminders.js";
import { credentials, type CredentialRow } from "./model.js";
import type { Standing } from "./validation.js";

/** The statuses that admins are told of; a letter's version is the place in this list, from 1. */
const toldStatuses = ["invalid", "exhausted", "undecryptable"] as const;
type ToldStatus = (typeof toldStatuses)[number];

/** One that comes back and goes out again by itself is told of once in this time. */
const quietMs = 24 * 3_600_000;

interface Facts {
  readonly language: LetterLanguage;
  readonly credential: string;
  readonly provider: string;
  readonly workspace: string;
}

interface ExpiryFacts extends Facts {
  readonly expiresAt: number;
  readonly isOver: boolean;
}

/**
 * Plans the letters about a credential that gets a standing in which it needs somebody; none for any other. Put them right after
 * the audit row of the change: they are written exactly when that is. The outbox sweep sends them.
 */
export function planStateLetters(db: Database, row: CredentialRow, standing: Standing, at: number): Statement[] {
  const version = toldStatuses.findIndex((status) => status === standing.status) + 1;
  if (version === 0 || standing.status === row.status) {
    return [];
  }
  const isNews =
    row.refusals === 0
      ? sql`1`
      : sql`NOT EXISTS (SELECT 1 FROM ${outbox} AS o WHERE o.subject_id = ${row.id} AND o.version = ${version}
          AND o.kind = 'credential_state' AND o.created_at > ${at - quietMs})`;
  return [
    db.insert(outbox).select(
      sql`SELECT ${newLetterId}, 'credential_state', ${members.workspaceId}, ${row.id}, ${version}, ${users.email},
        'queued', NULL, 0, ${at}, NULL, NULL FROM ${members} JOIN ${users} ON ${users.id} = ${members.userId}
        JOIN ${workspaces} ON ${workspaces.id} = ${members.workspaceId}
        WHERE changes() > 0 AND ${isNews} AND ${members.workspaceId} = ${row.workspaceId} AND ${isAdmin}`,
    ),
  ];
}

/** Writes the letter about a credential that needs somebody. Not current once it stands otherwise; null when it, or the reader's place, is gone. */
export async function writeCredentialState(
  _env: Env,
  db: Database,
  subject: LetterSubject,
): Promise<WrittenLetter | null> {
  const found = await readFacts(db, subject);
  const status = toldStatuses[subject.version - 1];
  if (found === null || status === undefined) {
    return null;
  }
  const { facts, row } = found;
  const texts = stateTexts[facts.language](facts, status);
  return { letter: layOut(subject.recipient, texts), isCurrent: row.status === status };
}

/** Writes the reminder that a credential runs out; the letter's version is the days ahead. Not current once the date moved or the next reminder is due. */
export async function writeCredentialExpiring(
  _env: Env,
  db: Database,
  subject: LetterSubject,
): Promise<WrittenLetter | null> {
  const found = await readFacts(db, subject);
  if (found === null || found.row.expiresAt === null) {
    return null;
  }
  const { facts, row } = found;
  const expiresAt = found.row.expiresAt;
  const texts = expiryTexts[facts.language]({ ...facts, expiresAt, isOver: subject.version === 0 });
  const isCurrent = row.status !== "disabled" && isRemindable(expiresAt, subject.version, Date.now());
  return { letter: layOut(subject.recipient, texts), isCurrent };
}

async function readFacts(
  db: Database,
  subject: LetterSubject,
): Promise<{ readonly facts: Facts; readonly row: CredentialRow } | null> {
  const query = db
    .select({ row: credentials, workspace: workspaces.name, locale: users.locale, houseLocale: workspaceLocale })
    .from(credentials)
    .innerJoin(workspaces, eq(workspaces.id, credentials.workspaceId))
    .innerJoin(users, eq(users.email, subject.recipient))
    .innerJoin(members, and(eq(members.workspaceId, credentials.workspaceId), eq(members.userId, users.id), isAdmin))
    .where(and(eq(credentials.workspaceId, subject.workspaceId ?? ""), eq(credentials.id, subject.subjectId)));
  const [found] = await hideSql(query.limit(1).all());
  if (found === undefined) {
    return null;
  }
  const { row, workspace } = found;
  const language = languageOf(found.locale ?? found.houseLocale ?? "");
  return { row, facts: { language, credential: row.name, provider: row.providerName, workspace } };
}

const workspaceLocale = sql<string | null>`${workspaces.settings} ->> 'locale'`;

type Texts<F extends readonly unknown[]> = Readonly<Record<LetterLanguage, (...facts: F) => LetterTexts>>;

const states: Readonly<Record<LetterLanguage, Readonly<Record<ToldStatus, { subject: string; notes: string[] }>>>> = {
  "en-US": {
    invalid: {
      subject: "was refused by its provider",
      notes: [
        "Calls go to the other instances of its pools. A pool without another one refuses its calls.",
        "Rotate the credential to a key that is good, or validate it again once it is.",
      ],
    },
    exhausted: {
      subject: "has no credit or quota left",
      notes: [
        "Calls go to the other instances of its pools, and try this one again after a pause.",
        "Top up the account at the provider, or rotate the credential to a key of another account.",
      ],
    },
    undecryptable: {
      subject: "can no longer be opened",
      notes: [
        "The stored secret does not open, so nothing is sent with it. Calls go to the other instances of its pools.",
        "Rotate the credential: enter its secret again. If several are reported at once, ask who operates this service.",
      ],
    },
  },
  "zh-CN": {
    invalid: {
      subject: "被提供商拒绝",
      notes: [
        "调用会转到模型池中的其他实例；没有其他实例的模型池会拒绝调用。",
        "请将该凭据轮换为有效的密钥，或在其恢复有效后重新验证。",
      ],
    },
    exhausted: {
      subject: "的额度或余额已用尽",
      notes: [
        "调用会转到模型池中的其他实例，并在一段时间后重新尝试该凭据。",
        "请在提供商处充值，或将该凭据轮换为其他账户的密钥。",
      ],
    },
    undecryptable: {
      subject: "无法再解密",
      notes: [
        "已存储的密钥无法打开，因此不会用它发送任何内容。调用会转到模型池中的其他实例。",
        "请轮换该凭据，重新输入密钥。如果同时收到多封此类通知，请联系本服务的运维人员。",
      ],
    },
  },
};

const stateTexts: Texts<[Facts, ToldStatus]> = {
  "en-US": ({ language, credential, provider, workspace }, status) => ({
    language,
    subject: `Credential ${credential} of ${workspace} ${states[language][status].subject}`,
    lead: `The credential ${credential} (${provider}) of the workspace ${workspace} ${states[language][status].subject}.`,
    action: null,
    notes: states[language][status].notes,
  }),
  "zh-CN": ({ language, credential, provider, workspace }, status) => ({
    language,
    subject: `${workspace} 的凭据 ${credential} ${states[language][status].subject}`,
    lead: `工作区 ${workspace} 的凭据 ${credential}（${provider}）${states[language][status].subject}。`,
    action: null,
    notes: states[language][status].notes,
  }),
};

const expiryTexts: Texts<[ExpiryFacts]> = {
  "en-US": ({ language, credential, provider, workspace, expiresAt, isOver }) => {
    const verb = isOver ? "expired" : "expires";
    return {
      language,
      subject: `Credential ${credential} of ${workspace} ${verb} on ${writeTime(expiresAt, language)}`,
      lead: `The credential ${credential} (${provider}) of the workspace ${workspace} ${verb} on ${writeTime(expiresAt, language)}, by the date that was entered for it.`,
      action: null,
      notes: [
        "This service goes on using it: whether it still works is its provider's to say.",
        "Rotate it to a new key with a new date. If the date is wrong, change it or take it away.",
      ],
    };
  },
  "zh-CN": ({ language, credential, provider, workspace, expiresAt, isOver }) => {
    const verb = isOver ? "已于" : "将于";
    return {
      language,
      subject: `${workspace} 的凭据 ${credential} ${verb} ${writeTime(expiresAt, language)} 过期`,
      lead: `按照录入的日期，工作区 ${workspace} 的凭据 ${credential}（${provider}）${verb} ${writeTime(expiresAt, language)} 过期。`,
      action: null,
      notes: [
        "本服务会继续使用它，是否仍然有效由提供商决定。",
        "请轮换为新密钥并录入新日期。如果日期有误，请修改或清除。",
      ],
    };
  },
};
