// Reads an AsyncAPI document from the standard input, and prints what @asyncapi/parser finds wrong with it, as JSON.
// Usage: node asyncapi.cjs FOLDER, the folder in which npm installed the parser.
const path = require("node:path");
const { Parser } = require(path.resolve(process.argv[2], "node_modules", "@asyncapi", "parser"));

let text = "";
process.stdin.on("data", (chunk) => { text += chunk; });
process.stdin.on("end", async () => {
  const { document, diagnostics } = await new Parser().parse(text);
  const found = diagnostics.map((it) => ({ severity: it.severity, code: it.code, message: it.message, path: it.path.join("/") }));
  const channels = document === undefined ? [] : document.channels().all().map((it) => it.id());
  process.stdout.write(JSON.stringify({ diagnostics: found, channels }));
});
