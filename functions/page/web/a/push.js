// Push messages to this device.

import { request } from "./api.js";
import { session } from "./session.js";
import { store } from "./store.js";
import { alone } from "./tabs.js";
import { isSupported, register } from "./worker.js";

/** @typedef {import("./store.js").Me} Me */
/** @typedef {import("../api-types").components["schemas"]["PushSubscription"]} Device */
/** @typedef {"insecure" | "unsupported" | "install" | "none" | "denied" | "off" | "on"} PushState */

/** Which user of the session this device is subscribed for, and by which endpoint: `{ user, endpoint }`. */
const KEPT = "punctual.push";
const PATH = "/v1/push-subscriptions";
/** One tab at a time changes the subscription: two would replace each other's. */
const LOCK = "punctual-push";

const isApple = /iPhone|iPad|iPod/.test(navigator.userAgent) || (navigator.platform === "MacIntel" && navigator.maxTouchPoints > 1);
const isInstalled = matchMedia("(display-mode: standalone)").matches || /** @type {any} */ (navigator).standalone === true;

/** What this browser can, before anybody is asked. @param {Me} me @returns {Exclude<PushState, "on"> | null} */
function obstacle(me) {
    if (!isSecureContext) return "insecure";
    if (isApple && !isInstalled) return "install";
    if (!isSupported || !("PushManager" in window) || !("Notification" in window)) return "unsupported";
    if (me.vapid_public_keys.length === 0) return "none";
    return Notification.permission === "denied" ? "denied" : null;
}

/**
 * Whether messages reach this device, and by which of the devices that the server knows.
 * @param {Me} me
 * @param {Device[]} devices
 * @returns {Promise<{ state: PushState, endpoint?: string }>}
 */
export async function present(me, devices) {
    const wrong = obstacle(me);
    if (wrong) return { state: wrong };
    const endpoint = (await subscription())?.endpoint;
    const isKnown = devices.some((device) => device.endpoint === endpoint);
    return { state: isKnown ? "on" : "off", endpoint };
}

/** What people should know about notifications of this browser. @returns {("buttons" | "noButtons" | "always" | "running")[]} */
export function limits() {
    const isPhone = isApple || /Android/.test(navigator.userAgent);
    return [/** @type {any} */ (Notification).maxActions > 0 ? "buttons" : "noButtons", isPhone ? "always" : "running"];
}

/** The devices of the person, the oldest first. @returns {Promise<Device[]>} */
export const devices = async () => (await request("GET", PATH)).body.items;

/** The push service of a device tells the browser. @param {string} endpoint @returns {"google" | "mozilla" | "apple" | "microsoft" | "other"} */
export function browserOf(endpoint) {
    const { host } = new URL(endpoint);
    const ends = /** @type {const} */ ({ "googleapis.com": "google", "mozilla.com": "mozilla", "push.apple.com": "apple", "notify.windows.com": "microsoft" });
    for (const [end, name] of Object.entries(ends)) if (host.endsWith(end)) return name;
    return "other";
}

/** The subscription of this browser. Asks for no worker, so that looking installs nothing. */
async function subscription() {
    const registration = isSupported ? await navigator.serviceWorker.getRegistration("/") : undefined;
    return registration?.pushManager?.getSubscription();
}

/**
 * Asks the person, subscribes with the newest key and registers the device. Must begin in a click. Returns whether the person allowed it.
 * @param {Me} me
 */
export async function subscribe(me) {
    const { user } = session;
    if ((await Notification.requestPermission()) !== "granted") return false;
    await alone(LOCK, {}, () => adopt(me, user));
    return true;
}

/** Subscribes and registers. @param {Me} me @param {string} user */
async function adopt(me, user) {
    const { pushManager } = await register();
    const found = await fresh(pushManager, me);
    try {
        await post(found, me, user);
    } catch (error) {
        // The endpoint belongs to somebody who used this browser before.
        if (/** @type {any} */ (error).status !== 409) throw error;
        await found.unsubscribe();
        await post(await fresh(pushManager, me), me, user);
    }
}

/** The subscription, made again if the server no longer has its key. @param {PushManager} manager @param {Me} me */
async function fresh(manager, { vapid_public_keys: keys }) {
    const found = await manager.getSubscription();
    if (found && keys.includes(keyOf(found))) return found;
    await found?.unsubscribe();
    return manager.subscribe({ userVisibleOnly: true, applicationServerKey: keys[0] });
}

/** @param {PushSubscription} found */
function keyOf(found) {
    const bytes = new Uint8Array(found.options?.applicationServerKey ?? []);
    return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** @param {PushSubscription} found @param {Me} me @param {string} user */
async function post(found, me, user) {
    // Before the answer, because the page may be left sooner, and the next person must not get these messages.
    const known = noted();
    note(user, known?.user === user ? known.endpoint : found.endpoint);
    if (session.user !== user) throw new Error("somebody else has signed in");
    const { p256dh, auth } = found.toJSON().keys ?? {};
    await request("POST", PATH, { body: { endpoint: found.endpoint, p256dh, auth, vapid_key: keyOf(found) || me.vapid_public_keys[0] } });
    note(user, found.endpoint);
}

/** @returns {{ user: string, endpoint: string } | null} */
const noted = () => JSON.parse(localStorage.getItem(KEPT) ?? "null");

/** @param {string} user @param {string} endpoint */
const note = (user, endpoint) => localStorage.setItem(KEPT, JSON.stringify({ user, endpoint }));

/**
 * Brings the subscription in line with the server: one that the browser renewed or lost, or whose key is gone, is replaced. One that the
 * person removed on another device, or that is another person's, ends. Returns whether messages reach this device.
 */
export const keep = () => alone(LOCK, {}, bringInLine);

async function bringInLine() {
    const kept = noted();
    const { user } = session;
    if (!kept || session.state !== "signed-in") return false;
    if (kept.user !== user) return forget();
    const me = store.get().me ?? (await request("GET", "/v1/me")).body;
    if (obstacle(me)) return false;
    const known = await devices();
    const found = await subscription();
    const isKnown = known.some((device) => device.endpoint === found?.endpoint);
    if (found && !isKnown && found.endpoint === kept.endpoint) return forget();
    if (!isKnown || !found || !me.vapid_public_keys.includes(keyOf(found))) await adopt(me, user);
    if ((await subscription())?.endpoint !== kept.endpoint) await removeEndpoint(known, kept.endpoint);
    return true;
}

/** Ends the subscription of this browser and removes the device. Called by signing out, too. */
export const unsubscribe = () => alone(LOCK, {}, end);

async function end() {
    const endpoint = (await subscription())?.endpoint;
    const ended = forget();
    if (endpoint) await removeEndpoint(await devices(), endpoint);
    await ended;
}

/** Ends the subscription of this browser, and takes away what it shows. The server learns of it when it sends the next message. @returns {Promise<false>} */
export async function forget() {
    localStorage.removeItem(KEPT);
    const registration = isSupported ? await navigator.serviceWorker.getRegistration("/") : undefined;
    for (const shown of (await registration?.getNotifications()) ?? []) shown.close();
    await (await registration?.pushManager?.getSubscription())?.unsubscribe();
    return false;
}

/** @param {string} id */
export const remove = (id) => request("DELETE", `${PATH}/${id}`);

/** @param {Device[]} known @param {string} endpoint */
async function removeEndpoint(known, endpoint) {
    const device = known.find((device) => device.endpoint === endpoint);
    if (device) await remove(device.id);
}
