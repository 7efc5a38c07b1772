// The service worker: its registration, and what it and the page say to each other.

import { meta } from "./given.js";
import { go } from "./route.js";
import { session } from "./session.js";

/** The one policy of Trusted Types. The only script that the page names at run time is its service worker. */
const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("punctual", { createScriptURL: () => "/sw.js" });

/** Whether there are service workers: not without encryption, and in some browsers not in private windows. */
export const isSupported = "serviceWorker" in navigator;

/** @type {Promise<ServiceWorkerRegistration> | undefined} */
let registering;

/** Makes the page open without a network, and brings the messages to this device in line. For the page to call once it has shown something. */
export async function start() {
    if (!isSupported) return;
    const follow = () => void keepPush().catch(() => {});
    session.subscribe(follow);
    follow();
    await register();
}

/** For whom this device was brought in line. */
let user = "";

/** The next person on this device must not get the messages of the one before. */
async function keepPush() {
    if (session.state !== "signed-in" || session.user === user) return;
    user = session.user;
    try {
        await (await import("./push.js")).keep();
    } catch (error) {
        user = "";
        throw error;
    }
}

/** Registers the service worker and tells it where the API is. Resolves when it runs. */
export function register() {
    registering ??= begin().catch((error) => {
        registering = undefined;
        throw error;
    });
    return registering;
}

async function begin() {
    navigator.serviceWorker.addEventListener("message", heard);
    navigator.serviceWorker.startMessages();
    const registration = await navigator.serviceWorker.register(policy?.createScriptURL("") ?? "/sw.js", { updateViaCache: "none" });
    const worker = registration.active ?? registration.waiting ?? registration.installing;
    if (!worker) throw new Error("the service worker is gone");
    await activated(worker);
    await tell(worker, { api: meta.api });
    return registration;
}

/** Resolves when a worker runs. Rejects if it cannot be installed. @param {ServiceWorker} worker @returns {Promise<void>} */
function activated(worker) {
    return new Promise((resolve, reject) => {
        const look = () => {
            if (worker.state === "activated") resolve();
            if (worker.state === "redundant") reject(new Error("the service worker cannot be installed"));
        };
        worker.addEventListener("statechange", look);
        look();
    });
}

/** @param {ServiceWorker} worker @param {unknown} message */
function tell(worker, message) {
    return new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = resolve;
        worker.postMessage(message, [port2]);
    });
}

/** @param {MessageEvent} event */
async function heard({ data, ports }) {
    if (typeof data?.go === "string") go(data.go);
    if (!data?.renewed) return;
    const { keep } = await import("./push.js");
    if (await keep().catch(() => false)) ports[0]?.postMessage(true);
}
