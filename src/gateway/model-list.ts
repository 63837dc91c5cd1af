/** The list of what a key may call, in the shape of each wire. */

/** A name that can be called. `owner`: the provider of a model, or this service for a pool. */
export interface CallableModel {
  readonly id: string;
  readonly owner: string;
}

/** Where models are listed, how the list looks there, and how one of them does. */
export const modelPaths: readonly (readonly [
  path: string,
  toList: (models: readonly CallableModel[]) => object,
  toOne: (model: CallableModel) => object,
])[] = [
  ["/v1/models", (models) => ({ object: "list", data: models.map(toOpenAi) }), toOpenAi],
  ["/anthropic/v1/models", toAnthropicList, toAnthropic],
];

/** Names are all that a Router knows of what can be called; when it was made is not part of that. */
function toOpenAi({ id, owner }: CallableModel): object {
  return { id, object: "model", created: 0, owned_by: owner };
}

/** All on one page. */
function toAnthropicList(models: readonly CallableModel[]): object {
  return {
    data: models.map(toAnthropic),
    has_more: false,
    first_id: models[0]?.id ?? null,
    last_id: models.at(-1)?.id ?? null,
  };
}

function toAnthropic({ id }: CallableModel): object {
  return { type: "model", id, display_name: id, created_at: "1970-01-01T00:00:00Z" };
}
