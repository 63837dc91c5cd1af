/** What the package `workerd` gives to Node: its binary's path. It brings no types. */
declare module "workerd" {
  const workerd: { readonly default: string };
  export default workerd;
}
