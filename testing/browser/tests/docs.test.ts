// The API reference.
import { product } from "../support/product.ts";
import { expect, test } from "../support/test.ts";

test("the reference shows every operation, in an origin without a session", async ({ context, page }) => {
  await expect(page.getByRole("main")).toBeVisible();
  const docs = await context.newPage();
  await docs.goto(`${product.url}/docs/`);
  await expect(docs.getByText("/v1/tasks", { exact: true }).first()).toBeVisible({ timeout: 15_000 });
  await expect(docs.getByText("Explain a reminder").first()).toBeAttached();
  expect(await docs.evaluate(() => self.origin)).toBe("null");
  expect(await docs.evaluate(() => { try { return String(localStorage.length); } catch (error) { return (error as Error).name; } })).toBe("SecurityError");
});

test("the reference offers no try-it-out", async ({ context }) => {
  const docs = await context.newPage();
  await docs.goto(`${product.url}/docs/`);
  await expect(docs.getByText("/v1/tasks", { exact: true }).first()).toBeVisible({ timeout: 15_000 });
  await expect(docs.getByRole("button", { name: /^(try|execute|authorize)$/i })).toHaveCount(0);
});

test("openapi.json may be read by any origin", async ({ request }) => {
  const answer = await request.get(`${product.url}/openapi.json`, { headers: { origin: "https://elsewhere.test" } });
  expect(answer.headers()["access-control-allow-origin"]).toBe("*");
  expect((await answer.json() as { openapi: string }).openapi).toMatch(/^3\.1/);
});

test("/docs leads to the reference", async ({ context }) => {
  const page = await context.newPage();
  await page.goto(`${product.url}/docs`);
  // The reference adds the operation that is read.
  await expect(page).toHaveURL(/^[^#]*\/docs\/(#.*)?$/);
});
