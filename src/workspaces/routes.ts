/** Doors of set-up and workspaces. */
import { AppError } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import { prepareCredential } from "../connections/credential-entry.js";
import { bearerToken } from "../http/authenticate.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { pageOf, readCursor, toPage } from "../http/page.js";
import { reply, type Reply } from "../http/reply.js";
import { toWorkspace, Workspace } from "../tenancy/model.js";
import { planWorkspace, slugOf, withSuffix, type NamedCredential } from "./create.js";
import { guardCreator } from "./creators.js";
import { planDemoSession } from "./demo.js";
import { WorkspacesQuery } from "./life-schema.js";
import { CreateWorkspace, DemoSession, Setup, SetupResult, UpdateWorkspace } from "./model.js";
import { refuseAuditChange, refuseLooserLimits } from "./settings.js";
import { checkSetupToken, planSetup, refuseSecondSetup } from "./setup.js";
import { findWorkspace, listWorkspaces, planUpdateWorkspace } from "./workspaces.js";

const setUp = endpoint(
  {
    method: "post",
    path: "/setup",
    operation: "setUp",
    summary: "Make the first account and its workspace",
    description: "First run only. Send the set-up token that the first start printed as `Authorization: Bearer …`.",
    tag: "Set-up",
    permission: { kind: "public" },
    storedAnswer: "never",
    body: Setup,
    responses: { 201: { description: "Set up; the session token is shown this once.", schema: SetupResult } },
    errors: ["invalid_setup_token", "already_set_up", "workspace_exists"],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    checkSetupToken(settings, bearerToken(call.request));
    await refuseSecondSetup(call.db);
    const change = await planSetup(call.db, settings, call.actor, call.request.headers.get("user-agent"), call.body);
    const body = { ...change.value.result, session_token: change.value.token.reveal() };
    return await call.commit(change, reply(201, body, { location: `/workspaces/${body.workspace.id}` }));
  },
);

const openDemo = endpoint(
  {
    method: "post",
    path: "/dev/demo-session",
    operation: "openDemoSession",
    summary: "Open a session for the demo account of a local run",
    description:
      "Local runs with the sandbox only; elsewhere it is not there. Send the set-up token as `Authorization: Bearer …`.",
    tag: "Local",
    permission: { kind: "public" },
    storedAnswer: "never",
    responses: { 201: { description: "A session of the demo account.", schema: DemoSession } },
    errors: ["invalid_setup_token", "not_found"],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    if (!settings.isLocal || !settings.sandbox) {
      throw new AppError("not_found");
    }
    checkSetupToken(settings, bearerToken(call.request));
    const change = await planDemoSession(call.db, settings, call.actor);
    return await call.commit(
      change,
      reply(201, { session_token: change.value.reveal() }, { location: "/auth/sessions" }),
    );
  },
);

const createWorkspace = endpoint(
  {
    method: "post",
    path: "/workspaces",
    operation: "createWorkspace",
    summary: "Create a workspace",
    description: "Tenant, owner, data key and the credentials of `providers[]`, all or nothing.",
    tag: "Workspaces",
    permission: { kind: "session", tokens: "workspaces:create" },
    publishes: true,
    body: CreateWorkspace,
    etag: "told",
    responses: { 201: { description: "Created.", schema: Workspace } },
    errors: ["workspace_exists"],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    const { accountId } = call.person();
    const guard = await guardCreator(call.db, settings, accountId);
    const credentials = await Promise.all(
      (call.body.providers ?? []).map(async (provider, index): Promise<NamedCredential> => {
        const prepared = await prepareCredential(settings, provider.provider_name, provider, `/providers/${index}`);
        return { name: provider.name ?? provider.provider_name, prepared };
      }),
    );
    const create = async (slug: string): Promise<Reply> => {
      const input = { ...call.body, slug, seatLimit: settings.seatLimit };
      const change = await planWorkspace(call.db, settings.keyring, accountId, call.actor, input, credentials);
      const { row } = change.value;
      const options = { etag: toEtag(row.revision), location: `/workspaces/${row.id}`, publish: row.id };
      const guarded = { ...change, statements: [...guard, ...change.statements] };
      return await call.commit(guarded, reply(201, toWorkspace(row, "OWNER", 1), options));
    };
    if (call.body.slug !== undefined) {
      return await create(call.body.slug);
    }
    const made = slugOf(call.body.name);
    try {
      return await create(made);
    } catch (error) {
      // A slug that we made up clashed: another one cannot hurt. A taken name fails again and says so.
      if (error instanceof AppError && error.code === "workspace_exists") {
        return await create(withSuffix(made));
      }
      throw error;
    }
  },
);

const listOwn = endpoint(
  {
    method: "get",
    path: "/workspaces",
    operation: "listWorkspaces",
    summary: "List your workspaces",
    tag: "Workspaces",
    permission: { kind: "session", tokens: "workspace:read" },
    query: WorkspacesQuery,
    responses: { 200: { description: "Your workspaces, the one joined last first.", schema: pageOf(Workspace) } },
    errors: [],
  },
  async (call) => {
    const { state, limit, cursor } = call.query;
    const from = readCursor(cursor);
    const rows = await listWorkspaces(call.db, call.person().accountId, state, from, limit, call.now);
    return reply(
      200,
      toPage(
        rows,
        limit,
        (row) => row.position,
        (row) => row.answer,
      ),
    );
  },
);

const readWorkspace = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}",
    operation: "readWorkspace",
    summary: "Read a workspace",
    tag: "Workspaces",
    permission: { kind: "workspace", scope: "workspace:read", keys: true },
    etag: true,
    responses: { 200: { description: "The workspace.", schema: Workspace } },
    errors: [],
  },
  async (call) => {
    const { row, answer } = await findWorkspace(call.db, call.access());
    return reply(200, answer, { etag: toEtag(row.revision) });
  },
);

const updateWorkspace = endpoint(
  {
    method: "patch",
    path: "/workspaces/{ws}",
    operation: "updateWorkspace",
    summary: "Rename a workspace or change its settings",
    description:
      "What is left out stays. `settings.limits` hold all calls of the workspace together, whatever its keys may do; they are in force from the answer on. A key or token can only tighten them. How long the audit log is kept, and where its checkpoints are mailed, is the owner's to change.",
    tag: "Workspaces",
    permission: { kind: "workspace", scope: "workspace:manage", keys: true },
    publishes: true,
    etag: true,
    body: UpdateWorkspace,
    responses: { 200: { description: "The workspace as it is now.", schema: Workspace } },
    errors: ["workspace_exists", "conflict", "seats_taken", "limit_too_high"],
  },
  async (call) => {
    const access = call.access();
    const seen = await findWorkspace(call.db, access);
    const change = planUpdateWorkspace(call.db, seen, call.actor, access.memberId, call.body, call.ifMatch);
    const { row, answer } = change.value;
    refuseAuditChange(seen.answer.settings, answer.settings, access.role);
    if (call.principal?.kind !== "session") {
      refuseLooserLimits(seen.answer.settings.limits, answer.settings.limits);
    }
    return await call.commit(change, reply(200, answer, { etag: toEtag(row.revision) }));
  },
);

export const workspaceEndpoints: readonly Endpoint[] = [
  setUp,
  openDemo,
  createWorkspace,
  listOwn,
  readWorkspace,
  updateWorkspace,
];
