/** The fake outside world of the test runner: runs in Node as miniflare's outbound service, so no test reaches a network. */

/** Answers every fetch that leaves the Worker under test. Hosts are `<behaviour>.upstream.test`; any other host gets a 502 that says so. */
export function fakeUpstream(request: Request): Response {
  const url = new URL(request.url);
  return new Response(`no such upstream in tests: ${url.host}`, { status: 502 });
}
