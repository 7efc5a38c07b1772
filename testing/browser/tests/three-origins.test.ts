// The same page where API and stream have origins of their own.
import { inBerlin, product } from "../support/product.ts";
import { check, connection, newTask, openTask, row } from "../support/page.ts";
import { expect, test } from "../support/test.ts";

test("a task is written, changed, merged and seen live across three origins", async ({ open, user }) => {
  const page = await open(user, "#/today", { url: product.threeOrigins });
  const asked = new Set<string>();
  page.on("request", (request) => { if (request.url().includes("/v1/")) asked.add(new URL(request.url()).port); });
  await expect(connection(page)).toHaveText(/^Live: /);
  await user.create({ title: "made elsewhere", due_at: inBerlin(0, 23, 59).toISOString() });
  await expect(row(page, "made elsewhere")).toBeVisible();
  const task = await openTask(page, "made elsewhere");
  await task.getByLabel("Title").fill("changed here");
  await task.getByLabel("Title").press("Enter");
  await expect.poll(async () => (await user.tasks()).map(({ title }) => title)).toEqual(["changed here"]);
  await check(page, "changed here").click();
  await expect.poll(async () => (await user.named("changed here")).completed).toBe(true);
  await page.reload();
  await expect(connection(page)).toHaveText(/^Live: /);
  expect([...asked].sort()).toEqual([new URL(product.url).port, String(product.streamPort)].sort());
});

test("the policy names the API and the stream and nobody else", async ({ request }) => {
  const policy = (await request.get(`${product.threeOrigins}/`)).headers()["content-security-policy"]!;
  const connect = policy.split("; ").find((part) => part.startsWith("connect-src"))!;
  expect(connect.split(" ").slice(1).sort()).toEqual(["'self'", product.url, `http://127.0.0.1:${product.streamPort}`].sort());
});

test("a refusal and its Retry-After can be read across origins", async ({ open, user, problems }) => {
  problems.expectStatus(429);
  const page = await open(user, "#/today", { url: product.threeOrigins });
  await expect(newTask(page)).toBeVisible();
  const seconds = await page.evaluate(async ([url, token]) => {
    const ask = () => fetch(`${url}/v1/tags`, { headers: { authorization: `Bearer ${token}` } });
    const answers = await Promise.all(Array.from({ length: 200 }, ask));
    return answers.find(({ status }) => status === 429)?.headers.get("retry-after");
  }, [product.url, user.token]);
  expect(Number(seconds)).toBeGreaterThan(0);
});
