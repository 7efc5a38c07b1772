// A device that gets push messages. Two parts of it are doubles: Chromium without a push service cannot subscribe, and no test can press a
// notification. Everything between them is real: the subscription at the server, the delivery into the worker, and what the worker does.
import { type BrowserContext, type Page, type Worker } from "@playwright/test";
import { product } from "./product.ts";

/** Supplies the result of `subscribe()` and of `getSubscription()`: a device of the push service push.test. */
export async function supplySubscription(context: BrowserContext): Promise<void> {
  await context.grantPermissions(["notifications"]);
  await context.addInitScript(() => {
    const KEPT = "test.subscription";
    type Kept = { endpoint: string; p256dh: string; auth: string; key: string };
    const base64url = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const bytes = (text: string) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
    const subscription = (kept: Kept) => ({
      endpoint: kept.endpoint,
      expirationTime: null,
      options: { userVisibleOnly: true, applicationServerKey: bytes(kept.key).buffer },
      getKey: (name: "p256dh" | "auth") => bytes(kept[name]).buffer,
      toJSON: () => ({ endpoint: kept.endpoint, expirationTime: null, keys: { p256dh: kept.p256dh, auth: kept.auth } }),
      unsubscribe: async () => { localStorage.removeItem(KEPT); return true; },
    });
    const present = () => JSON.parse(localStorage.getItem(KEPT) ?? "null") as Kept | null;
    Object.assign(PushManager.prototype, {
      async getSubscription() {
        const kept = present();
        return kept && subscription(kept);
      },
      async subscribe({ applicationServerKey }: { applicationServerKey: string | Uint8Array }) {
        const pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"]);
        const kept = {
          endpoint: `https://push.test/${crypto.randomUUID()}`,
          p256dh: base64url(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey))),
          auth: base64url(crypto.getRandomValues(new Uint8Array(16))),
          key: typeof applicationServerKey === "string" ? applicationServerKey : base64url(new Uint8Array(applicationServerKey)),
        };
        localStorage.setItem(KEPT, JSON.stringify(kept));
        return subscription(kept);
      },
    });
  });
}

/** Waits for the service worker of a window. */
export async function serviceWorker(page: Page): Promise<Worker> {
  await page.evaluate(async () => {
    const { active } = await navigator.serviceWorker.ready;
    if (active?.state === "activating") await new Promise((done) => active.addEventListener("statechange", done, { once: true }));
  });
  const context = page.context();
  return context.serviceWorkers().find((worker) => worker.url().startsWith(new URL(page.url()).origin)) ?? context.waitForEvent("serviceworker");
}

/** Delivers a push message to the worker of a window, as the browser does when the push service sends one. */
export async function deliver(page: Page, message: unknown): Promise<void> {
  const devtools = await page.context().newCDPSession(page);
  const registered = new Promise<string>((found) => {
    devtools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
      const own = registrations.find(({ scopeURL, isDeleted }) => !isDeleted && scopeURL.startsWith(product.url));
      if (own) found(own.registrationId);
    });
  });
  await devtools.send("ServiceWorker.enable");
  const data = typeof message === "string" ? message : JSON.stringify(message);
  await devtools.send("ServiceWorker.deliverPushMessage", { origin: product.url, registrationId: await registered, data });
  await devtools.detach();
}

export type Shown = { title: string; body: string; tag: string; actions: string[] };

/** The notifications that are shown. */
export function notifications(page: Page): Promise<Shown[]> {
  return page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready;
    const shown = await registration.getNotifications();
    return shown.map((one) => ({ title: one.title, body: one.body, tag: one.tag, actions: (one as unknown as { actions: { action: string }[] }).actions.map(({ action }) => action) }));
  });
}

/** Presses a notification, or one of its buttons: dispatches `notificationclick` in the worker, and waits until it has done its work. */
export async function press(page: Page, tag: string, action = ""): Promise<void> {
  const worker = await serviceWorker(page);
  await worker.evaluate(async ([wanted, button]) => {
    const scope = self as unknown as { registration: ServiceWorkerRegistration; dispatchEvent(event: Event): boolean };
    const [notification] = await scope.registration.getNotifications({ tag: wanted! });
    const event = new Event("notificationclick");
    const work: Promise<unknown>[] = [];
    const waitUntil = (promise: Promise<unknown>) => work.push(promise);
    Object.defineProperties(event, { notification: { value: notification }, action: { value: button }, waitUntil: { value: waitUntil } });
    scope.dispatchEvent(event);
    await Promise.all(work);
  }, [tag, action]);
}
