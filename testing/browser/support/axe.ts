// The accessibility checks of axe-core, over what is shown now.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Page, expect } from "@playwright/test";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

type Violation = { id: string; help: string; nodes: { target: unknown[]; failureSummary?: string }[] };

/** Fails on each violation, and on text whose contrast is below 7:1. */
export async function expectAccessible(page: Page, what: string): Promise<void> {
  await page.evaluate(`if (!globalThis.axe) { ${source} }`);
  const violations = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(root: Document, options: object): Promise<{ violations: Violation[] }> } };
    // With the best practices, and the contrast of level AAA.
    const options = { resultTypes: ["violations"], rules: { "color-contrast-enhanced": { enabled: true } } };
    return (await axe.run(document, options)).violations;
  });
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.map((node) => `    ${node.target.join(" ")}: ${node.failureSummary ?? ""}`).join("\n")}`);
  expect(found, `accessibility of ${what}`).toEqual([]);
}
