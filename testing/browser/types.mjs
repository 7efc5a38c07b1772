// Writes functions/page/web/api-types.d.ts, the types of the API's bodies, from the OpenAPI document. With `--check` it only compares.
import { readFile, writeFile } from "node:fs/promises";
import openapi, { astToString } from "openapi-typescript";

const DOCUMENT = new URL("../../functions/tasks/openapi.json", import.meta.url);
const TYPES = new URL("../../functions/page/web/api-types.d.ts", import.meta.url);
const HEAD = "// Generated from functions/tasks/openapi.json by `npm run types` in testing/browser. Do not edit.\n\n";

/** The types as they should be. The page names bodies alone, so operations are left out: they are nine tenths of the document. */
export async function types() {
  const { paths: _, ...document } = JSON.parse(await readFile(DOCUMENT, "utf8"));
  return HEAD + astToString(await openapi({ ...document, paths: {} }));
}

const wanted = await types();
if (process.argv.includes("--check")) {
  if (wanted !== (await readFile(TYPES, "utf8"))) {
    console.error("functions/page/web/api-types.d.ts is out of date: run `npm run types` in testing/browser");
    process.exit(1);
  }
} else {
  await writeFile(TYPES, wanted);
}
