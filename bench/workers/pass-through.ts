/** The smallest Worker that passes a call on: no framework, no Durable Object, no secret, no routing. */

interface PassThroughEnv {
  readonly UPSTREAM: string;
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    return await fetch(new Request(`${env.UPSTREAM}${pathname}`, request));
  },
} satisfies ExportedHandler<PassThroughEnv>;
