/** The catalogue's answers: what each provider asks for and serves, as one workspace sees it. */
import { z } from "@hono/zod-openapi";
import type { Provider } from "../providers/contract.js";
import type { KnownModel } from "../providers/known-models.js";

const FormField = z
  .object({
    name: z.string(),
    label: z.string(),
    secret: z.boolean(),
    required: z.boolean(),
    help: z.string(),
    default: z.string().optional(),
    required_unless: z.string().optional().describe("A field that, once filled in, makes this one needless."),
    choices: z
      .array(z.object({ value: z.string(), label: z.string() }))
      .optional()
      .describe("The only values it takes."),
    pattern: z.string().optional().describe("A regular expression that the whole value must match."),
    placeholder: z.string().optional(),
    multiline: z.boolean().optional(),
  })
  .openapi("CredentialFormField");

/** A provider's entry in the catalogue, as one workspace sees it. */
export const ModelProvider = z
  .object({
    provider_name: z.string(),
    provider_type: z.literal("model"),
    title: z.string(),
    icon: z.string().describe("Path of an SVG picture on this service."),
    docs_url: z.string(),
    default_base_url: z
      .string()
      .nullable()
      .describe("Null when the form asks for it; `{name}` stands for a field of the form."),
    regions: z
      .array(z.object({ name: z.string(), title: z.string(), base_url: z.string() }))
      .describe(
        "Addresses that the form's `region` chooses from; empty for a vendor with one. Keys of one are refused by the others.",
      ),
    form: z.array(FormField),
    auth: z.string().describe("How the secret travels."),
    key_hint: z
      .object({ pattern: z.string(), text: z.string() })
      .nullable()
      .describe("How its keys usually look. One that does not is taken all the same, with a warning."),
    endpoints: z
      .array(z.string())
      .describe("What it serves: OpenAI's endpoints by path, `messages` in Anthropic's wire format."),
    models_count: z.int().describe("How many of its models the catalogue knows; others can be called too."),
    configured: z.boolean().describe("Whether the workspace has a credential for it."),
  })
  .openapi("ModelProvider");
export type ModelProvider = z.infer<typeof ModelProvider>;

export const ModelProviderDetail = ModelProvider.extend({
  models: z.array(z.object({ model: z.string(), type: z.string() })).describe("The models that the catalogue knows."),
}).openapi("ModelProviderDetail");
export type ModelProviderDetail = z.infer<typeof ModelProviderDetail>;

/** The answer's view of a provider. */
export function toModelProvider(
  provider: Provider,
  models: readonly KnownModel[],
  isConfigured: boolean,
): ModelProvider {
  return {
    provider_name: provider.name,
    provider_type: provider.type,
    title: provider.title,
    icon: provider.icon,
    docs_url: provider.docs_url,
    default_base_url: provider.default_base_url,
    regions: provider.regions.map((region) => ({ ...region })),
    form: provider.form.map(({ choices, ...field }) => ({
      ...field,
      ...(choices === undefined ? {} : { choices: choices.map((choice) => ({ ...choice })) }),
    })),
    auth: provider.auth,
    key_hint: provider.key_hint === null ? null : { ...provider.key_hint },
    endpoints: [...provider.endpoints],
    models_count: models.length,
    configured: isConfigured,
  };
}

/** The same with its models by name. */
export function toModelProviderDetail(
  provider: Provider,
  models: readonly KnownModel[],
  isConfigured: boolean,
): ModelProviderDetail {
  const names = models.map(({ model, type }) => ({ model, type }));
  return { ...toModelProvider(provider, models, isConfigured), models: names };
}
