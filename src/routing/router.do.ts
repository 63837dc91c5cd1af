/** The Router: one object per workspace and region. */
import { DurableObject } from "cloudflare:workers";

export class Router extends DurableObject<Env> {}
