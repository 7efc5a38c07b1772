// Changes made elsewhere. One tab of a browser has the stream: a Web Lock chooses it among the visible ones, and a channel tells the
// others. It is closed a minute after the last tab was hidden, so that a forgotten tab lets `updates` sleep.

import { Problem, observe, open } from "./api.js";
import { meta } from "./given.js";
import { fetchTasks, refresh } from "./lists.js";
import { versionOf } from "./rows.js";
import { read } from "./sse.js";
import { get, set } from "./state.js";
import { alone } from "./tabs.js";
import { drain, isCreating } from "./writes.js";

/** @typedef {"live" | "connecting" | "manual"} Status */
/** @typedef {{ task_id: string, version: number }} Change */

const HIDDEN = 60_000;
const POLL = 60_000;
const PROBE = 15_000;
/** Showing a tab and giving it the focus is one return of the person. */
const JUST = 2_000;
const LONGEST_PAUSE = 60_000;
/** The server sends a comment every 15 s. */
const SILENCE = 45_000;
/** Changes that come together are read together. */
const TOGETHER = 40;
const LATER = 500;
/** How long a visible tab waits for an answer of the tab that has the stream, before it takes the stream. */
const ANSWER = 3_000;

/** @type {BroadcastChannel | null} */
let channel = null;
let name = "";
/** Ends this tab's stream. @type {AbortController | null} */
let leading = null;
/** Ends this tab's wait for the lock. @type {AbortController | null} */
let queued = null;
let isLed = false;
/** Whether this tab was told of changes while it was hidden. */
let missed = false;
let lastId = "";
let retry = 3_000;
/** How the stream is. @type {Status} */
let status = "connecting";
let isReachable = true;
let isOn = false;
let isLoading = false;
let loadedAt = -Infinity;
/** @type {Record<string, ReturnType<typeof setTimeout> | undefined>} */
const timers = {};
/** Wakes a pause. */
let wake = () => {};
/** @type {Map<string, number>} */
const changes = new Map();

/** Begins to listen, as a user. @param {string} user */
export function start(user) {
    isOn = true;
    name = `punctual-live ${user}`;
    isReachable = navigator.onLine;
    setStatus(meta.updates ? "connecting" : "manual");
    if ("BroadcastChannel" in globalThis) {
        channel = new BroadcastChannel(name);
        channel.onmessage = ({ data }) => hear(data);
    }
    document.addEventListener("visibilitychange", look);
    addEventListener("focus", poll);
    addEventListener("online", online);
    addEventListener("offline", offline);
    timers.poll = setTimeout(tick, POLL);
    // The page has just loaded what it shows.
    if ([...get().views.values()].every(({ state }) => state === "ready")) loadedAt = performance.now();
    look();
}

/** Stops listening. */
export function stop() {
    isOn = false;
    document.removeEventListener("visibilitychange", look);
    removeEventListener("focus", poll);
    removeEventListener("online", online);
    removeEventListener("offline", offline);
    for (const timer of Object.values(timers)) clearTimeout(timer);
    leave();
    channel?.close();
    channel = null;
    lastId = "";
    missed = false;
    changes.clear();
}

function leave() {
    queued?.abort();
    leading?.abort();
    queued = leading = null;
}

/** @param {any} message */
const tell = (message) => channel?.postMessage(message);

/** The tab was shown or hidden. */
function look() {
    clearTimeout(timers.hidden);
    clearTimeout(timers.steal);
    if (document.hidden) {
        queued?.abort();
        queued = null;
        if (leading) tell({ type: "offer" });
        timers.hidden = setTimeout(leave, HIDDEN);
        return;
    }
    if (missed) void load();
    else poll();
    wake();
    if (meta.updates && !leading) claim();
}

/** Asks for the stream. */
function claim() {
    isLed = false;
    tell({ type: "want" });
    if (!queued) {
        queued = new AbortController();
        void hold({ signal: queued.signal });
    }
    // A tab that is frozen neither answers nor lets go.
    timers.steal = setTimeout(() => isLed || leading || document.hidden || void hold({ steal: true }), ANSWER);
}

/** Leads as long as it has the lock. @param {LockOptions} options */
async function hold(options) {
    let isHeld = false;
    try {
        await alone(name, options, () => {
            isHeld = true;
            queued = null;
            return document.hidden || leading ? undefined : lead();
        });
    } catch {
        // It is not wanted any more, or another tab took it while this one was frozen.
        if (!isHeld) return;
        leave();
        if (isOn && !document.hidden) claim();
    }
}

/** Has the stream until it is given up. */
async function lead() {
    leading = new AbortController();
    const { signal } = leading;
    let failures = 0;
    while (!signal.aborted) {
        let pause = retry;
        try {
            await stream(signal, () => (failures = 0));
            // The server ends each stream after some minutes. Coming back is part of being live.
        } catch (error) {
            if (signal.aborted) break;
            failures += 1;
            pause = Math.min(LONGEST_PAUSE, retry * 2 ** (failures - 1)) * (1 + Math.random() / 5);
            if (failures === 1) poll();
            if (error instanceof Problem && error.retryAfter !== null) pause = error.retryAfter * 1000;
            const isMissing = error instanceof Problem && (error.status === 404 || error.status === 405);
            share(isMissing ? "manual" : "connecting");
            if (isMissing) pause = LONGEST_PAUSE;
        }
        await sleep(pause, signal);
    }
    if (leading?.signal === signal) leading = null;
}

/** Reads one stream to its end. @param {AbortSignal} signal @param {() => void} opened */
async function stream(signal, opened) {
    const silent = new AbortController();
    const heard = () => {
        clearTimeout(timers.silence);
        timers.silence = setTimeout(() => silent.abort(), SILENCE);
    };
    const headers = { accept: "text/event-stream", ...(lastId ? { "last-event-id": lastId } : {}) };
    try {
        const response = await open(meta.updates, { headers, signal: AbortSignal.any([signal, silent.signal]) });
        if (!response.body) return;
        opened();
        reach(true);
        share("live");
        heard();
        for await (const event of read(response.body, heard)) take(event);
    } finally {
        clearTimeout(timers.silence);
    }
}

/** @param {import("./sse.js").ServerEvent} event */
function take({ type, data, id, retry: pause }) {
    if (pause !== undefined) retry = pause;
    if (id !== undefined) lastId = id;
    if (type === "changed") {
        const change = JSON.parse(data);
        tell({ type: "changed", change, lastId });
        changed(change);
    } else if (type === "ready" || type === "reset") {
        tell({ type: "load", lastId });
        void load();
    }
}

/** Another tab says something. @param {any} message */
function hear(message) {
    if (message.lastId) ({ lastId } = message);
    if (message.type === "want" && leading) {
        if (document.hidden) leave();
        else tell({ type: "leading", status, lastId });
    } else if (message.type === "offer" && !document.hidden && !leading) {
        tell({ type: "want" });
    } else if (message.type === "leading" && !leading) {
        isLed = true;
        setStatus(message.status);
    } else if (message.type === "changed") {
        changed(message.change);
    } else if (message.type === "load") {
        void load();
    }
}

/** Says how the stream is, here and in the other tabs. @param {Status} next */
function share(next) {
    tell({ type: "leading", status: next, lastId });
    setStatus(next);
}

/** @param {Status} next */
function setStatus(next) {
    status = next;
    const connection = isReachable ? status : "offline";
    if (get().connection !== connection) set({ connection });
}

/** @param {boolean} next */
function reach(next) {
    if (!isOn || isReachable === next) return;
    isReachable = next;
    setStatus(status);
    clearTimeout(timers.probe);
    if (!next) {
        timers.probe = setTimeout(probe, PROBE);
        return;
    }
    void drain();
    if (!isLoading) void load();
}

/** Looks whether the API is back. */
function probe() {
    timers.probe = setTimeout(probe, PROBE);
    if (!document.hidden) void load();
}

function online() {
    wake();
    void load();
}

const offline = () => reach(false);

/** Without a stream, the page loads again when the person returns to it, and every minute. */
function poll() {
    if (status === "live" || document.hidden || isLoading || performance.now() - loadedAt < JUST) return;
    void load();
}

function tick() {
    timers.poll = setTimeout(tick, POLL);
    poll();
}

async function load() {
    missed = document.hidden;
    if (missed) return;
    // A task that is being created would be there twice.
    if (isCreating() && isReachable) {
        clearTimeout(timers.load);
        timers.load = setTimeout(load, LATER);
        return;
    }
    changes.clear();
    isLoading = true;
    await refresh();
    isLoading = false;
    loadedAt = performance.now();
}

/** A task has a new version. @param {Change} change */
function changed({ task_id: id, version }) {
    // A reminder changes without a new version of its task, so an equal one is read too.
    if (version < (versionOf(id) ?? 0)) return;
    if (document.hidden) {
        missed = true;
        return;
    }
    if (changes.size === 0) setTimeout(readChanges, TOGETHER);
    changes.set(id, version);
}

async function readChanges() {
    // A task that is being created would be there twice.
    const ids = [...changes.keys()].filter((id) => versionOf(id) !== null || !isCreating());
    for (const id of ids) changes.delete(id);
    if (changes.size > 0) setTimeout(readChanges, LATER);
    if (ids.length === 0) return;
    try {
        await fetchTasks(ids);
    } catch (error) {
        const pause = error instanceof Problem && error.retryAfter !== null ? error.retryAfter * 1000 : retry;
        setTimeout(load, pause);
    }
}

/** @param {number} time @param {AbortSignal} signal */
function sleep(time, signal) {
    return new Promise((/** @type {(value?: unknown) => void} */ done) => {
        const timer = setTimeout(done, time);
        wake = () => {
            clearTimeout(timer);
            done();
        };
        signal.addEventListener("abort", wake, { once: true });
    });
}

observe(reach);
