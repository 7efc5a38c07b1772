// How the page is made: policies, weight, caches, the offline shell, motion.
import { type Page } from "@playwright/test";
import { serviceWorker } from "../support/devices.ts";
import { inBerlin, product } from "../support/product.ts";
import { connection, list, newTask, openTask, row, titles } from "../support/page.ts";
import { expect, go, signIn, test } from "../support/test.ts";

const BUDGET = 60_000;

test("everything on first load is at most 60 KB compressed", async ({ context, user }) => {
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  /** What the browser asked the page's origin for, and when. */
  const asked = new Map<string, { url: string; at: number; bytes: number }>();
  devtools.on("Network.requestWillBeSent", ({ requestId, request, wallTime }) => {
    const url = new URL(request.url);
    if (url.origin === product.url && !url.pathname.startsWith("/v1/")) asked.set(requestId, { url: url.pathname, at: wallTime * 1000, bytes: 0 });
  });
  devtools.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    const request = asked.get(requestId);
    if (request) request.bytes = encodedDataLength;
  });
  const sentence = "Nothing is due today";
  await page.addInitScript((wanted) => {
    new MutationObserver((_, observer) => {
      if (!document.body?.textContent?.includes(wanted)) return;
      observer.disconnect();
      Object.assign(globalThis, { shownAt: performance.timeOrigin + performance.now() });
    }).observe(document, { childList: true, subtree: true, characterData: true });
  }, sentence);
  await page.goto(`${product.url}/#token=${user.token}`);
  await expect(page.getByText(sentence)).toBeVisible();
  const shownAt = await page.evaluate(() => (globalThis as unknown as { shownAt: number }).shownAt);
  // With the headers. What is asked for when the list is there already is no part of the first load.
  const first = [...asked.values()].filter(({ at }) => at <= shownAt);
  const weight = first.reduce((sum, { bytes }) => sum + bytes, 0);
  const list = first.map(({ url, bytes }) => `${url} ${bytes}`).join("\n");
  expect(first.filter(({ bytes }) => bytes === 0), "all of it has arrived").toEqual([]);
  expect(first.length, "the files were loaded").toBeGreaterThan(20);
  expect(weight, list).toBeLessThanOrEqual(BUDGET);
  test.info().annotations.push({ type: "weight", description: `${weight} bytes in ${first.length} files` });
  // Nothing of this is part of the first load, and all of it comes by itself.
  for (const name of ["live", "commands", "task", "quick-add-parts", "sign-in"]) {
    expect(list).not.toContain(`/${name}.js`);
    await expect.poll(() => [...asked.values()].some(({ url }) => url.endsWith(`/${name}.js`))).toBe(true);
  }
});

test("files are compressed and kept forever, and the document is asked for each time", async ({ request, page }) => {
  const script = await page.evaluate(() => [...document.scripts].map(({ src }) => src).find((src) => src.endsWith("/app.js"))!);
  const file = await request.get(script, { headers: { "accept-encoding": "br" } });
  expect(file.headers()).toMatchObject({ "cache-control": "public, max-age=31536000, immutable", "content-encoding": "br" });
  const index = await request.get(`${product.url}/`);
  expect(index.headers()["cache-control"]).toBe("no-cache");
  const again = await request.get(`${product.url}/`, { headers: { "if-none-match": index.headers().etag! } });
  expect(again.status()).toBe(304);
  expect((await request.get(`${product.url}/sw.js`)).headers()["cache-control"]).toBe("no-cache");
});

test("every module of the first paint is preloaded, so that no request waits for another", async ({ page }) => {
  const late = await page.evaluate(() => {
    const preloaded = new Set([...document.querySelectorAll<HTMLLinkElement>("link[rel=modulepreload]")].map(({ href }) => href));
    const named = new Set([...document.scripts].map(({ src }) => src));
    const painted = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Infinity;
    const scripts = performance.getEntriesByType("resource").filter(({ name, startTime }) => name.endsWith(".js") && startTime < painted);
    return scripts.map(({ name }) => name).filter((name) => !preloaded.has(name) && !named.has(name));
  });
  expect(late).toEqual([]);
});

/** Where the lasting parts of the page are, and what they say. */
function parts(page: Page, root: string): Promise<unknown[]> {
  return page.locator(root).evaluate((element) => {
    const all = [
      ".top .name", ".search input", ".search path", ".search kbd", ".lists a", ".lists path", ".lists .label",
      ".quick-title path", ".quick-title input", ".quick-parts .part button", ".quick-parts .part path",
    ];
    return all.flatMap((selector) => [...element.querySelectorAll<HTMLInputElement>(selector)].filter((part) => part.checkVisibility()).map((part) => {
      const { x, y, width, height } = part.getBoundingClientRect();
      const { color, fontWeight, backgroundColor } = getComputedStyle(part);
      const says = part.getAttribute("d") ?? part.placeholder ?? part.textContent?.trim();
      return { selector, says, place: [x, y, width, height].map(Math.round), style: [color, fontWeight, backgroundColor] };
    }));
  });
}

for (const [device, viewport] of Object.entries({ desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } })) {
  for (const route of ["today", "all", "done"]) {
    test(`the frame of ${route} is painted before the page itself is there, and nothing of it moves then (${device})`, async ({ open, user, problems }) => {
      // It would answer from its cache, where no test holds a file back.
      problems.expect(/Service Worker registration blocked/);
      const context = (await open(user, "#/today", { viewport, serviceWorkers: "block" })).context();
      const page = await context.newPage();
      let answer = () => {};
      const held = new Promise<void>((resolve) => { answer = resolve; });
      await context.route("**/app.js", async (script) => { await held; await script.continue(); });
      await page.goto(`${product.url}/#/${route}`, { waitUntil: "commit" });
      await expect(page.locator("#frame .search")).toBeVisible();
      await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
      const before = await parts(page, "#frame");
      expect(before.length).toBeGreaterThan(10);
      answer();
      await expect(connection(page)).toHaveText(/^Live: /);
      await expect(page.locator("#frame")).toHaveCount(0);
      expect(await parts(page, "#app")).toEqual(before);
    });
  }
}

test("who has signed out sees no frame of lists", async ({ open, user, problems }) => {
  problems.expect(/Service Worker registration blocked/);
  const page = await open(user, "#/settings", { serviceWorkers: "block" });
  await page.getByRole("main").getByRole("button", { name: "Sign out here" }).click();
  await expect(page.getByLabel("Token", { exact: true })).toBeVisible();
  // Its answer never comes.
  await page.context().route("**/app.js", () => {});
  const next = await page.context().newPage();
  await next.goto(product.url, { waitUntil: "commit" });
  await expect(next.locator("#frame")).toBeAttached();
  await next.waitForFunction(() => getComputedStyle(document.body).marginTop === "0px");
  await expect(next.locator("#frame")).toBeHidden();
});

test("a page whose files the server no longer has reloads once", async ({ context, user, problems }) => {
  // Its style sheets are missing as well, until it has reloaded.
  problems.expect(/Failed to load resource|Refused to apply style|MIME type/);
  const page = await context.newPage();
  await signIn(page, user);
  let documents = 0;
  await context.route(`${product.url}/`, async (route) => {
    // The service worker fetches the document as well.
    if (!route.request().isNavigationRequest()) return route.continue();
    documents += 1;
    if (documents > 1) return route.continue();
    const answer = await route.fetch();
    const body = (await answer.text()).replaceAll(/\/a\/[0-9a-f]+\//g, "/a/0000000000000000/");
    return route.fulfill({ response: answer, body });
  });
  await page.evaluate(async () => {
    for (const registration of await navigator.serviceWorker.getRegistrations()) await registration.unregister();
    for (const name of await caches.keys()) await caches.delete(name);
  });
  const other = await context.newPage();
  await other.goto(`${product.url}/`);
  await expect(other.getByText("Nothing is due today")).toBeVisible();
  expect(documents).toBe(2);
});

test("the page opens without a network once it was open", async ({ context, user, problems }) => {
  problems.expectOffline();
  const page = await context.newPage();
  await signIn(page, user);
  await serviceWorker(page);
  await expect.poll(() => page.evaluate(async () => (await caches.keys()).some((name) => name.startsWith("shell-")))).toBe(true);
  await page.reload();
  await context.setOffline(true);
  await page.reload();
  await expect(newTask(page)).toBeVisible();
  await expect(page.getByRole("main")).toContainText("You are offline.");
  await list(page, "Done").click();
  await go(page, "#/settings");
  await context.setOffline(false);
  await expect(page.getByText("You are offline.")).toHaveCount(0);
});

test("the service worker answers for the page and its files alone", async ({ context, user }) => {
  const page = await context.newPage();
  await signIn(page, user);
  await serviceWorker(page);
  await page.reload();
  const answered: Record<string, boolean> = {};
  page.on("response", (response) => { answered[new URL(response.url()).pathname] = response.fromServiceWorker(); });
  await page.reload();
  await expect(page.getByText("Nothing is due today")).toBeVisible();
  const byWorker = Object.entries(answered).filter(([, is]) => is).map(([path]) => path);
  expect(byWorker).toContain("/");
  expect(byWorker.some((path) => path.startsWith("/a/"))).toBe(true);
  expect(byWorker.filter((path) => path !== "/" && !path.startsWith("/a/"))).toEqual([]);
});

test("the page can be installed", async ({ page, request }) => {
  const href = await page.locator("link[rel=manifest]").getAttribute("href");
  const manifest = await (await request.get(product.url + href!)).json() as { name: string; start_url: string; display: string; icons: { src: string; sizes: string; purpose?: string }[] };
  expect(manifest).toMatchObject({ name: "Punctual", display: "standalone" });
  expect(manifest.icons.map(({ sizes }) => sizes)).toEqual(expect.arrayContaining(["192x192", "512x512"]));
  expect(manifest.icons.some(({ purpose }) => purpose?.includes("maskable"))).toBe(true);
  for (const { src } of manifest.icons) expect((await request.get(new URL(src, `${product.url}/`).href)).status()).toBe(200);
  const devtools = await page.context().newCDPSession(page);
  const { installabilityErrors } = await devtools.send("Page.getInstallabilityErrors");
  // Chromium says this of every window without an own profile.
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito")).toEqual([]);
});

test("the policy is the one that was decided", async ({ request }) => {
  const headers = (await request.get(`${product.url}/`)).headers();
  const policy = headers["content-security-policy"]!;
  for (const part of [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "manifest-src 'self'", "worker-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types punctual",
  ]) expect(policy.split("; ")).toContain(part);
  expect(headers["referrer-policy"]).toBe("no-referrer");
  expect(headers["permissions-policy"]).toContain("camera=()");
});

test("markup and scripts of strangers do not run", async ({ page, problems }) => {
  problems.expect(/^policy: require-trusted-types-for/, /^policy: script-src/, /^policy: trusted-types/, /TrustedHTML|TrustedScript|TrustedTypePolicy|Content Security Policy/);
  await serviceWorker(page);
  const outcomes = await page.evaluate(() => {
    const attempt = (act: () => void) => { try { act(); return "allowed"; } catch (error) { return (error as Error).name; } };
    return {
      html: attempt(() => { document.body.innerHTML = "<img src=x onerror=alert(1)>"; }),
      script: attempt(() => { document.createElement("script").text = "alert(1)"; }),
      policy: attempt(() => { (globalThis as any).trustedTypes.createPolicy("other", { createHTML: (html: string) => html }); }),
      again: attempt(() => { (globalThis as any).trustedTypes.createPolicy("punctual", {}); }),
    };
  });
  expect(outcomes).toEqual({ html: "TypeError", script: "TypeError", policy: "TypeError", again: "TypeError" });
  await expect(newTask(page)).toBeVisible();
});

test("the page cannot be framed", async ({ context, problems }) => {
  problems.expect(/frame-ancestors|ERR_BLOCKED_BY_RESPONSE|refused to connect/i);
  const page = await context.newPage();
  await page.setContent(`<iframe src="${product.url}/"></iframe>`);
  const frame = page.frames().find((one) => one !== page.mainFrame());
  await expect.poll(async () => frame?.evaluate(() => document.body.innerText).catch(() => "")).not.toContain("Punctual");
});

/** The longest motion of anything on the page, in milliseconds. */
function longestMotion(page: Page): Promise<number> {
  return page.evaluate(() => {
    const times = (text: string) => text.split(",").map((part) => parseFloat(part) * (part.trim().endsWith("ms") ? 1 : 1000));
    const of = (element: Element, pseudo?: string) => {
      const style = getComputedStyle(element, pseudo);
      const isAnimated = style.animationName !== "none";
      const isMoved = style.transitionProperty !== "none";
      return Math.max(0, ...(isMoved ? times(style.transitionDuration) : []), ...(isAnimated ? times(style.animationDuration) : []));
    };
    return Math.max(...[...document.querySelectorAll("*")].flatMap((element) => [of(element), of(element, "::before"), of(element, "::after")]));
  });
}

test("motion takes at most 150 ms, and there is none for who prefers that", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: inBerlin(0, 23, 59).toISOString(), reminders: [{ before_due: "PT15M" }] });
  await openTask(page, "dentist");
  expect(await longestMotion(page)).toBeLessThanOrEqual(150);
  await page.emulateMedia({ reducedMotion: "reduce" });
  expect(await longestMotion(page)).toBeLessThanOrEqual(1);
});

test("rows are at least 44 px high on touch", async ({ open, user }) => {
  await user.create({ title: "dentist", due_at: inBerlin(0, 23, 59).toISOString() });
  const page = await open(user, "#/today", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await expect(row(page, "dentist")).toBeVisible();
  const small = await page.evaluate(() => [...document.querySelectorAll<HTMLElement>("main .row, nav a")]
    .filter((element) => element.offsetParent !== null && element.getBoundingClientRect().height < 44)
    .map((element) => `${element.className} ${element.getBoundingClientRect().height}`));
  expect(small).toEqual([]);
});

test("no view is wider than a phone", async ({ open, user }) => {
  const task = await user.create({ title: "dentist", due_at: inBerlin(1, 9).toISOString(), tags: ["garden", "household", "somewhere", "tomorrow"].map((name) => `${name} of many words`) });
  const page = await open(user, "#/today", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  for (const route of ["#/today", "#/all", "#/tag/garden of many words", "#/search?q=dentist", `#/all/task/${task.id}`, "#/settings"]) {
    await go(page, route);
    await expect(page.getByText(route === "#/settings" ? "Time zone" : "dentist").first()).toBeAttached();
    expect(await page.evaluate(() => [innerWidth, document.documentElement.scrollWidth]), route).toEqual([390, 390]);
  }
});

test("a phone has the navigation at the bottom", async ({ open, user }) => {
  const page = await open(user, "#/today", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  const bar = (await page.getByRole("navigation", { name: "Lists" }).boundingBox())!;
  expect(bar.y + bar.height).toBeGreaterThan(800);
  await expect(page.getByRole("navigation", { name: "Lists" }).getByRole("link")).toHaveText([/Today/, /Upcoming/, /All/, /Done/]);
});

test("times are said in the person's language", async ({ open, user }) => {
  await user.create({ title: "Zahnarzt", due_at: inBerlin(1, 9).toISOString() });
  const page = await open(user, "#/upcoming", { locale: "de-DE" });
  await expect(page.getByRole("heading", { name: /^Morgen · / })).toBeVisible();
  await expect(titles(page)).toHaveText(["Zahnarzt"]);
});

// The entry imports the first, and asks for the second when it runs.
for (const file of ["store", "row"]) {
  test(`the page loads although ${file}.js does not arrive twice`, async ({ context, user, problems }) => {
    problems.expectOffline();
    const page = await context.newPage();
    let asked = 0;
    await page.route(`**/a/*/${file}.js`, (route) => (asked++ < 2 ? route.abort("failed") : route.continue()));
    await signIn(page, user);
    await expect(newTask(page)).toBeEnabled();
    expect(asked).toBe(3);
  });
}

test("a page whose files never arrive says so, and offers another attempt", async ({ context, user, problems }) => {
  problems.expectOffline();
  const page = await context.newPage();
  await page.clock.install();
  let gone = true;
  await page.route("**/a/*/row.js", (route) => (gone ? route.abort("failed") : route.continue()));
  await page.goto(`${product.url}/#token=${user.token}`);
  // Between two attempts, before its styles are there, the document has the sentence too.
  const said = page.locator("html[data-unloaded]").getByText("Punctual did not load.");
  await expect(async () => {
    await page.clock.runFor(16_000);
    await expect(said).toBeVisible({ timeout: 200 });
  }).toPass();
  gone = false;
  await page.getByRole("link", { name: "Try again" }).click();
  await expect(newTask(page)).toBeEnabled();
});
