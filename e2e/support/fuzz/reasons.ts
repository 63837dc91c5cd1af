/** Operations that a request alone cannot make succeed in a run, each with the reason. */
export const unreachable: Readonly<Record<string, string>> = {
  setUp: "is over once the server has its first account",
  openDemoSession: "wants the token that `npm start` keeps to itself",
  startProviderSignIn: "no sign-in provider is configured",
  finishProviderSignIn: "no sign-in provider is configured",
  confirmOwnershipTransfer: "would take the house from its owner in the middle of the run",
  listenToMcp: "is 405 by the protocol: nothing is said unasked",
  endMcpSession: "is 405 by the protocol: no session is kept",
};
