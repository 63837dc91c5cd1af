/** The Worker. */
export { Router } from "./routing/router.do.js";

export default {
  fetch(): Response {
    return new Response("not built yet", { status: 503 });
  },
} satisfies ExportedHandler<Env>;
