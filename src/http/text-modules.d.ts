/** A document of docs/, bundled as text (wrangler.toml's rule for *.md). */
declare module "*.md" {
  const text: string;
  // oxlint-disable-next-line import/no-default-export -- the platform's form of a text module
  export default text;
}
