// Prints `{ tokenizer, config }` of the package named by the argument. A program of its own, with a
// config and a lock of its own: these packages are large, and no other command may download them.

const [name] = Deno.args;
const part = async (file: string) =>
  (await import(`${name}/models/${file}.json`, { with: { type: "json" } })).default;
const text = JSON.stringify({
  tokenizer: await part("tokenizer"),
  config: await part("tokenizer_config"),
});
await Deno.stdout.write(new TextEncoder().encode(text));
