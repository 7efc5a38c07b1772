// Types: those of the API are current, and nothing contradicts its own. No browser is needed.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "@playwright/test";

const folder = fileURLToPath(new URL("..", import.meta.url));

/** What a program prints if it fails. */
async function complaints(...command: string[]): Promise<string> {
  const run = promisify(execFile)(process.execPath, command, { cwd: folder });
  return run.then(() => "", ({ stdout, stderr }: { stdout: string; stderr: string }) => stdout + stderr || "it failed without a word");
}

test("the types of the API are those of openapi.json", async () => {
  expect(await complaints("types.mjs", "--check")).toBe("");
});

for (const [what, project] of [
  ["the page", "../../functions/page/web/jsconfig.json"],
  ["the service worker", "../../functions/page/web/jsconfig.worker.json"],
  ["these tests", "tsconfig.json"],
] as const) {
  test(`the types of ${what} fit`, async () => {
    test.slow();
    expect(await complaints("node_modules/typescript/bin/tsc", "--project", project)).toBe("");
  });
}
