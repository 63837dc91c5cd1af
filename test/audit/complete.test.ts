import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { endpoints } from "../../src/app.js";
import { auditLog } from "../../src/audit/model.js";
import { sandboxInstance } from "../connections/seed.js";
import { call, type Answer } from "../support/client.js";
import { db, seedAccount, seedMember } from "../support/seed.js";
import { toolDocument, schemes } from "../support/tool-document.js";

/** What changes nothing that anybody could ask about later, and why. */
const silent: Readonly<Record<string, string>> = {
  "post /workspaces/{ws}/pools/{pool}/dry-run": "reads only",
  "post /me/passkeys/options": "a challenge, which is derived and stored nowhere",
  "post /auth/passkey/options": "a challenge, which is derived and stored nowhere",
  "post /auth/email-code": "anybody can ask; what comes of it is told of when it is tried",
  "post /auth/sign-in/social": "sends a browser on; the session it leads to is told of by a trigger",
};

/** What needs a browser, a mailed secret or an empty record, and whose own tests look at its rows. */
const elsewhere: Readonly<Record<string, string>> = {
  "post /setup": "test/workspaces/setup.test.ts",
  "post /dev/demo-session": "test/workspaces/setup.test.ts",
  "post /auth/email-code/verify": "test/identity/codes.test.ts",
  "post /auth/passkey/verify": "test/identity/passkeys.test.ts",
  "post /me/passkeys": "test/identity/passkeys.test.ts",
  "delete /me/passkeys/{id}": "test/identity/passkeys.test.ts",
  "post /workspaces/{ws}/ownership-transfer/confirm": "test/workspaces/transfer.test.ts",
  "post /workspaces/{ws}/tool-providers/{provider}/refresh": "test/tools/providers.test.ts",
  "post /invites/{token}/accept": "test/workspaces/invites.test.ts",
  "post /invites/{token}/decline": "test/workspaces/invite-changes.test.ts",
};

const mutating = endpoints.filter(({ spec }) => spec.method !== "get").map(({ spec }) => `${spec.method} ${spec.path}`);

const secret = (name: string) => ({ credentials: { api_key: `sk-sandbox-ok-${name}` }, validate: false });

describe("the audit log is complete", () => {
  it(
    "every route that changes something writes a row with its request's id",
    { timeout: 120_000 },
    async ({ expect }) => {
      const owner = await seedAccount();
      const seen = new Set<string>();
      const lacking: string[] = [];
      /** Calls an operation with its pattern's names filled in, in order. */
      const does = async (
        operation: string,
        names: readonly string[],
        body?: unknown,
        token = owner.token,
      ): Promise<Answer> => {
        const [method = "", pattern = ""] = operation.split(" ");
        let at = 0;
        const path = pattern.replaceAll(/\{\w+\}/g, () => names[at++] ?? "missing");
        const answer = await call(method.toUpperCase(), path, { token, ...(body === undefined ? {} : { body }) });
        if (answer.status >= 300) {
          throw new Error(`${operation} answered ${answer.status} ${answer.text}`);
        }
        seen.add(operation);
        const requestId = answer.headers.get("x-request-id") ?? "";
        if ((await db.$count(auditLog, eq(auditLog.requestId, requestId))) === 0) {
          lacking.push(operation);
        }
        return answer;
      };
      const { id: ws, slug } = (await does("post /workspaces", [], { name: "Complete" })).body;
      const at = "/workspaces/{ws}";

      await does(`patch ${at}`, [ws], { name: "More complete" });
      await does(`post ${at}/switch`, [ws]);
      const invited = await does(`post ${at}/members/invite`, [ws], { emails: ["one@example.com"] });
      await does("post /workspaces/members/invite", [], { emails: ["two@example.com"] });
      const invite = invited.body.results[0].invite_id;
      await does(`post ${at}/invites/{id}/resend`, [ws, invite]);
      await does(`delete ${at}/invites/{id}`, [ws, invite]);
      const member = await seedMember(ws, "MEMBER");
      await does(`patch ${at}/members/{id}`, [ws, member.memberId], { role: "ADMIN" });

      const { id: key } = (await does(`post ${at}/api-keys`, [ws], { name: "k", scopes: ["models:invoke"] })).body;
      await does(`patch ${at}/api-keys/{id}`, [ws, key], { name: "l" });
      await does(`post ${at}/api-keys/{id}/rotate`, [ws, key], {});
      await does(`delete ${at}/api-keys/{id}`, [ws, key]);

      const make = async (kind: string, provider: string, name: string) => {
        const body = { name, credentials: { api_key: `sk-sandbox-ok-${name}` }, validate: false };
        return (await does(`post ${at}/${kind}/{provider}/credentials`, [ws, provider], body)).body.id as string;
      };
      const live = async (one: string, names: readonly string[]) => {
        await does(`patch ${one}`, names, { name: `n${seen.size}` });
        await does(`post ${one}/rotate`, names, secret(`r${seen.size}`));
        await does(`post ${one}/rollback`, names, { validate: false });
        await does(`post ${one}/validate`, names);
      };
      const kept = await make("model-providers", "sandbox", "a");
      await live(`${at}/credentials/{id}`, [ws, kept]);
      const gone = await make("model-providers", "sandbox", "b");
      await does(`delete ${at}/credentials/{id}`, [ws, gone]);
      const other = await make("model-providers", "sandbox", "c");
      const inList = `${at}/model-providers/{provider}/credentials/{id}`;
      await live(inList, [ws, "sandbox", other]);
      await does(`delete ${inList}`, [ws, "sandbox", other]);

      const hook = { url: "https://status-503.upstream.test/v1/hook", events: ["workspace.updated"] };
      const { id: webhook } = (await does(`post ${at}/webhooks`, [ws], hook)).body;
      const ofHook = `${at}/webhooks/{id}`;
      await does(`patch ${ofHook}`, [ws, webhook], { description: "Ours" });
      await does(`post ${ofHook}/rotate-secret`, [ws, webhook], {});
      const { id: delivery } = (await does(`post ${ofHook}/test`, [ws, webhook])).body;
      await does(`post ${ofHook}/deliveries/{delivery}/redeliver`, [ws, webhook, delivery]);
      await does(`delete ${ofHook}`, [ws, webhook]);

      const models = `${at}/model-providers/{provider}/models`;
      await does(`post ${models}`, [ws, "sandbox"], { model: "own", type: "llm" });
      await does(`patch ${models}/{model}`, [ws, "sandbox", "own"], { title: "Own" });
      await does(`delete ${models}/{model}`, [ws, "sandbox", "own"]);
      const pool = { name: "chat", strategy: "weighted", instances: [sandboxInstance(kept)] };
      const made = (await does(`post ${at}/pools`, [ws], pool)).body;
      await does(`put ${at}/pools/{pool}`, [ws, made.id], {
        ...pool,
        instances: [sandboxInstance(kept, { weight: 7 })],
      });
      await does(`put ${at}/default-models`, [ws], { llm: { pool: "chat" } });
      for (const deed of ["drain", "resume", "clear-cooldown"]) {
        await does(`post ${at}/pools/{pool}/instances/{id}/${deed}`, [ws, made.id, made.instances[0].id]);
      }
      await does(`delete ${at}/pools/{pool}`, [ws, made.id]);
      await does(`post ${at}/vault/rotate`, [ws]);

      const tools = `${at}/tool-providers/{provider}`;
      const document = toolDocument({ security: schemes.bearer });
      await does(`post ${at}/tool-providers`, [ws], { kind: "openapi", name: "fake", document });
      await does(`put ${tools}`, [ws, "fake"], {
        kind: "openapi",
        document: toolDocument({ security: schemes.bearer, operations: ["one", "echo"] }),
      });
      await does(`patch ${tools}`, [ws, "fake"], { title: "Fake" });
      await does(`patch ${tools}/tools/{tool}`, [ws, "fake", "one"], { enabled: false });
      const toolKey = await make("tool-providers", "fake", "t");
      await live(`${tools}/credentials/{id}`, [ws, "fake", toolKey]);
      await does(`post ${at}/tools/{provider}/{tool}/invoke`, [ws, "fake", "echo"], { input: { q: "cats" } });
      await does(`delete ${tools}/credentials/{id}`, [ws, "fake", toolKey]);
      await does(`delete ${tools}`, [ws, "fake"]);

      await does("patch /me", [], { name: "Somebody" });
      const pat = (await does("post /me/tokens", [], { name: "t", scopes: ["workspace:read"] })).body;
      await does("delete /me/tokens/{id}", [pat.id]);

      const transfer = `${at}/ownership-transfer`;
      await does(`post ${transfer}`, [ws], { member_id: member.memberId });
      await does(`delete ${transfer}`, [ws]);
      await does(`delete ${at}/members/{id}`, [ws, member.memberId]);
      await does(`delete ${at}`, [ws], { slug });
      await does(`post ${at}/restore`, [ws]);
      const visitor = await seedAccount();
      const [session] = (await call("GET", "/auth/sessions", { token: visitor.token })).body.data;
      await does("delete /auth/sessions/{id}", [session.id], undefined, visitor.token);
      await does("delete /auth/sessions", [], undefined, (await seedAccount()).token);
      await does("post /auth/sign-out", [], undefined, (await seedAccount()).token);
      expect(lacking).toEqual([]);
      const missing = mutating.filter((one) => !seen.has(one) && !(one in silent) && !(one in elsewhere));
      expect(missing).toEqual([]);
      const stale = [...Object.keys(silent), ...Object.keys(elsewhere)].filter((one) => !mutating.includes(one));
      expect(stale).toEqual([]);
    },
  );
});
