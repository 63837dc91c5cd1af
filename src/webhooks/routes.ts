/** The doors to webhooks: make and rotate (a secret is shown this once), list, read, change, delete, try, and what became of each message. */
import { z } from "@hono/zod-openapi";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { PageQuery, pageOf, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { loadActiveDataKey } from "../vault/data-keys.js";
import { findDelivery, listDeliveries, planRedelivery, planTest } from "./deliveries.js";
import {
  CreateWebhook,
  CreatedWebhook,
  RotateWebhookSecret,
  toDelivery,
  toWebhook,
  UpdateWebhook,
  Webhook,
  WebhookDelivery,
} from "./webhook-schema.js";
import {
  checkWebhookUrl,
  findWebhook,
  listWebhooks,
  planCreateWebhook,
  planDeleteWebhook,
  planRotateWebhook,
  planUpdateWebhook,
  refuseUnlessReader,
  webhookRules,
} from "./webhooks.js";

const permission = { kind: "workspace", scope: "workspace:manage", keys: true } as const;
const tag = "Webhooks";
const listPath = "/workspaces/{ws}/webhooks";
const onePath = `${listPath}/{id}`;
const WebhookParams = z.object({ id: z.string().describe("The webhook's id, such as wh_…") });
const DeliveryParams = WebhookParams.extend({ delivery: z.string().describe("The delivery's id, such as whd_…") });
const vaultErrors = ["keyring_entry_missing", "undecryptable"] as const;

const createEndpoint = endpoint(
  {
    method: "post",
    path: listPath,
    operation: "createWebhook",
    summary: "Add a webhook",
    description:
      "The answer holds the signing secret, this once. From then on the workspace's events are sent to the address, each in the form of Standard Webhooks. A key or token needs `audit:read` too. A workspace has at most 20 webhooks.",
    tag,
    permission,
    storedAnswer: "sealed",
    body: CreateWebhook,
    etag: "told",
    responses: { 201: { description: "The webhook, with its secret.", schema: CreatedWebhook } },
    errors: ["limit_reached", ...vaultErrors],
  },
  async (call) => {
    refuseUnlessReader(call.principal);
    const settings = requireSettings(call.env);
    const { id: workspaceId } = call.access();
    const url = checkWebhookUrl(webhookRules(settings), call.body.url);
    const dataKey = await loadActiveDataKey(call.db, settings.keyring, workspaceId);
    const plan = await planCreateWebhook(call.db, call.actor, dataKey, url, call.body);
    const { row, secrets, secret } = plan.value;
    const shown = toWebhook(row, secrets, call.now);
    const body: CreatedWebhook = { ...shown, secret: secret.reveal() };
    const location = `/workspaces/${workspaceId}/webhooks/${row.id}`;
    return await call.commit(plan, reply(201, body, { etag: etagOf(row.revision, shown), location }));
  },
);

const listEndpoint = endpoint(
  {
    method: "get",
    path: listPath,
    operation: "listWebhooks",
    summary: "List webhooks",
    tag,
    permission,
    query: PageQuery,
    responses: { 200: { description: "Webhooks, newest first.", schema: pageOf(Webhook) } },
    errors: [],
  },
  async (call) => {
    const { limit, cursor } = call.query;
    const found = await listWebhooks(call.db, call.access().id, readCursor(cursor), limit);
    const page = toPage(
      found,
      limit,
      ({ row }) => ({ time: row.createdAt, id: row.id }),
      ({ row, secrets }) => toWebhook(row, secrets, call.now),
    );
    return reply(200, page);
  },
);

const getEndpoint = endpoint(
  {
    method: "get",
    path: onePath,
    operation: "getWebhook",
    summary: "Read a webhook",
    tag,
    permission,
    etag: true,
    params: WebhookParams,
    responses: { 200: { description: "The webhook, without its secret.", schema: Webhook } },
    errors: [],
  },
  async (call) => {
    const { row, secrets } = await findWebhook(call.db, call.access().id, call.params.id);
    const shown = toWebhook(row, secrets, call.now);
    return reply(200, shown, { etag: etagOf(row.revision, shown) });
  },
);

const updateEndpoint = endpoint(
  {
    method: "patch",
    path: onePath,
    operation: "updateWebhook",
    summary: "Change a webhook",
    description:
      "What is left out stays. `enabled: true` lets one in again that was switched off or went out by itself. A key or token needs `audit:read` too.",
    tag,
    permission,
    etag: true,
    params: WebhookParams,
    body: UpdateWebhook,
    responses: { 200: { description: "The webhook as it is now.", schema: Webhook } },
    errors: ["conflict"],
  },
  async (call) => {
    const found = await findWebhook(call.db, call.access().id, call.params.id);
    refuseUnlessReader(call.principal);
    const { url, ...rest } = call.body;
    const rules = webhookRules(requireSettings(call.env));
    const input = url === undefined ? rest : { ...rest, url: checkWebhookUrl(rules, url) };
    const plan = planUpdateWebhook(call.db, call.actor, found, input, call.ifMatch);
    const shown = toWebhook(plan.value.row, plan.value.secrets, call.now);
    return await call.commit(plan, reply(200, shown, { etag: etagOf(plan.value.row.revision, shown) }));
  },
);

const deleteEndpoint = endpoint(
  {
    method: "delete",
    path: onePath,
    operation: "deleteWebhook",
    summary: "Delete a webhook",
    description: "Its secrets and its deliveries go with it; what is queued is not sent any more.",
    tag,
    permission,
    etag: true,
    params: WebhookParams,
    responses: { 204: { description: "It is gone." } },
    errors: [],
  },
  async (call) => {
    const { row } = await findWebhook(call.db, call.access().id, call.params.id);
    return await call.commit(planDeleteWebhook(call.db, call.actor, row, call.ifMatch), noContent());
  },
);

const rotateEndpoint = endpoint(
  {
    method: "post",
    path: `${onePath}/rotate-secret`,
    operation: "rotateWebhookSecret",
    summary: "Give a webhook a new secret",
    description:
      "The answer holds the new secret, this once. The one before signs along for `overlap_seconds`, a day when left out; a secret left from an earlier rotation ends now. A key or token needs `audit:read` too.",
    tag,
    permission,
    storedAnswer: "sealed",
    etag: true,
    params: WebhookParams,
    body: RotateWebhookSecret,
    optionalBody: true,
    responses: { 200: { description: "The webhook, with its new secret.", schema: CreatedWebhook } },
    errors: ["conflict", ...vaultErrors],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const found = await findWebhook(call.db, workspaceId, call.params.id);
    refuseUnlessReader(call.principal);
    const dataKey = await loadActiveDataKey(call.db, requireSettings(call.env).keyring, workspaceId);
    const { overlap_seconds: overlap } = call.body;
    const plan = await planRotateWebhook(call.db, call.actor, dataKey, found, overlap, call.ifMatch);
    const { row, secrets, secret } = plan.value;
    const shown = toWebhook(row, secrets, call.now);
    const body: CreatedWebhook = { ...shown, secret: secret.reveal() };
    return await call.commit(plan, reply(200, body, { etag: etagOf(row.revision, shown) }));
  },
);

const testEndpoint = endpoint(
  {
    method: "post",
    path: `${onePath}/test`,
    operation: "testWebhook",
    summary: "Send a webhook a test message",
    description: "Of type `webhook.tested`, whatever its events are. The list of deliveries tells what became of it.",
    tag,
    permission,
    params: WebhookParams,
    responses: { 202: { description: "The delivery that is owed.", schema: WebhookDelivery } },
    errors: ["webhook_disabled"],
  },
  async (call) => {
    const { row } = await findWebhook(call.db, call.access().id, call.params.id);
    const plan = planTest(call.db, call.actor, row);
    return await call.commit(plan, reply(202, toDelivery(plan.value)));
  },
);

const deliveriesEndpoint = endpoint(
  {
    method: "get",
    path: `${onePath}/deliveries`,
    operation: "listWebhookDeliveries",
    summary: "List a webhook's deliveries",
    description: "Newest first, kept 30 days.",
    tag,
    permission,
    params: WebhookParams,
    query: PageQuery,
    responses: { 200: { description: "A page of deliveries.", schema: pageOf(WebhookDelivery) } },
    errors: [],
  },
  async (call) => {
    const { limit, cursor } = call.query;
    const { row } = await findWebhook(call.db, call.access().id, call.params.id);
    const rows = await listDeliveries(call.db, row, readCursor(cursor), limit);
    const page = toPage(rows, limit, ({ createdAt, id }) => ({ time: createdAt, id }), toDelivery);
    return reply(200, page);
  },
);

const redeliverEndpoint = endpoint(
  {
    method: "post",
    path: `${onePath}/deliveries/{delivery}/redeliver`,
    operation: "redeliverWebhook",
    summary: "Send a delivery once more",
    description: "From its first attempt on, with the same `webhook-id`, so that a receiver knows it again.",
    tag,
    permission,
    params: DeliveryParams,
    responses: { 202: { description: "The delivery, queued anew.", schema: WebhookDelivery } },
    errors: ["webhook_disabled"],
  },
  async (call) => {
    const { row } = await findWebhook(call.db, call.access().id, call.params.id);
    const delivery = await findDelivery(call.db, row, call.params.delivery);
    const plan = planRedelivery(call.db, call.actor, row, delivery);
    return await call.commit(plan, reply(202, toDelivery(plan.value)));
  },
);

/** Every endpoint of this room. */
export const webhookEndpoints: readonly Endpoint[] = [
  createEndpoint,
  listEndpoint,
  getEndpoint,
  updateEndpoint,
  deleteEndpoint,
  rotateEndpoint,
  testEndpoint,
  deliveriesEndpoint,
  redeliverEndpoint,
];

/** Attempts move what is shown without a change, and so does the end of an overlap. */
function etagOf(revision: number, shown: Webhook): string {
  const failing = shown.failing_since === null ? "up" : String(Date.parse(shown.failing_since));
  return toEtag(revision, `${shown.previous_secret_until === null ? "1" : "2"}.${failing}`);
}
