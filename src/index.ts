/** The Worker: joins the rooms that must not know each other. */
import { app } from "./app.js";

export { Router } from "./routing/router.do.js";

export default {
  fetch: app.fetch,
} satisfies ExportedHandler<Env>;
