// Writes are sent one after the other, in the order in which the person made them, each until it is answered. While there is no
// connection they wait in this tab. Each has one Idempotency-Key, so it takes effect once, however often it is sent.

import { Problem, Unreachable, newKey, observe, request } from "./api.js";
import { kinds } from "./kinds.js";
import { merge } from "./merge.js";
import { go, hashOf, route } from "./route.js";
import { KEPT, accept, acceptMe, effect, entryOf, gone, idOf, isPreliminary, lastVersionOf, queue, rename, show, showMe, taskOf, versionOf } from "./rows.js";
import { session } from "./session.js";
import { announce, get, notify, set } from "./state.js";
import { tab } from "./tabs.js";
import { commands as text } from "./text-commands.js";

/** @typedef {import("./kinds.js").Write} Write */
/** @typedef {import("./state.js").Task} Task */
/** @typedef {Pick<Write, "kind"> & Partial<Write>} Wanted */

/** After this time the person decides whether a write is still meant. */
const STALE = 12 * 60 * 60 * 1000;
const LONGEST_PAUSE = 60_000;
/** How often a failure that may pass is tried again before the person is told. */
const REFUSALS = 3;

/** @type {WeakMap<Write, { resolve: (answer: any) => void, reject: (error: unknown) => void }>} */
const callers = new WeakMap();
let isDraining = false;
let failures = 0;
/** Why nothing is sent now. @type {null | "network" | "server"} */
let pausedBy = null;
/** The server wants nothing before. */
let resumesAt = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/**
 * Adds a write, which the person sees at once.
 * @param {Wanted} wanted
 * @returns {{ write: Write, done: Promise<any> }}
 */
export function enqueue(wanted) {
    const task = idOf(wanted.task ?? "");
    /** @type {Write} */
    const write = {
        target: "",
        args: {},
        base: task ? taskOf(task) : null,
        shows: null,
        after: null,
        version: task ? versionOf(task) : null,
        inverse: null,
        ...wanted,
        task,
        key: newKey(),
        at: Date.now(),
        tries: 0,
        refusals: 0,
    };
    const done = new Promise((resolve, reject) => callers.set(write, { resolve, reject }));
    // The row says what was refused, so a caller need not.
    done.catch(() => {});
    queue.push(write);
    if (task) entryOf(task).failed = null;
    look(write);
    void drain();
    return { write, done };
}

/** Shows what a write changes. @param {Write} write */
function look(write) {
    if (write.task) show([write.task]);
    else if (write.kind === "changeMe") showMe();
    if (get().waiting > 0) set({ waiting: queue.length });
}

/** Takes back a write that was never sent. @param {Write} write */
export function cancel(write) {
    if (write.tries > 0 || !queue.includes(write)) return false;
    drop(write);
    callers.get(write)?.resolve(null);
    if (write.kind === "create") dropOthers(write.task);
    look(write);
    return true;
}

/** @param {Write} write */
function drop(write) {
    const at = queue.indexOf(write);
    if (at >= 0) queue.splice(at, 1);
}

/** Drops the writes of a task that does not exist. @param {string} id @param {unknown} [error] */
function dropOthers(id, error) {
    for (const other of queue.filter(({ task }) => task === id)) {
        drop(other);
        if (error) callers.get(other)?.reject(error);
        else callers.get(other)?.resolve(null);
    }
}

/** Sends what waits. */
export async function drain() {
    if (isDraining || session.state !== "signed-in" || Date.now() < resumesAt) return;
    isDraining = true;
    clearTimeout(timer);
    let pause = 0;
    try {
        while (queue.length > 0 && pause === 0) pause = await attempt(queue[0]);
    } finally {
        isDraining = false;
    }
    if (pause === 0) pausedBy = null;
    resumesAt = pausedBy === "server" && pause < Infinity ? Date.now() + pause : 0;
    if (pause > 0 && pause < Infinity) timer = setTimeout(drain, pause + 5);
    const waiting = pause === 0 ? 0 : queue.length;
    if (waiting !== get().waiting) set({ waiting });
}

/** Sends a write. @param {Write} write @returns {Promise<number>} how long to wait before the next one */
async function attempt(write) {
    if (Date.now() - write.at > STALE) return ask();
    const kind = kinds[write.kind];
    if (write.kind === "restore" && !write.args.version) {
        const version = lastVersionOf(write.task);
        // The deletion that it undoes was refused.
        if (version === null) return settled(write, null);
        write.args = { version };
    }
    write.tries += 1;
    try {
        const { body } = await request(kind.method, kind.path(write), {
            body: Object.keys(write.args).length > 0 ? write.args : undefined,
            ifMatch: write.version ?? undefined,
            key: write.key,
        });
        failures = 0;
        return queue.includes(write) ? succeeded(write, body) : 0;
    } catch (error) {
        return queue.includes(write) ? refused(write, error) : 0;
    }
}

/** @param {Write} write @param {any} answer */
function succeeded(write, answer) {
    const { kind, task: id, version } = write;
    if (kind === "changeMe") {
        drop(write);
        acceptMe(answer);
        callers.get(write)?.resolve(answer);
        return 0;
    }
    if (kind === "create") {
        rename(id, answer.id);
        if (route().task === id) go(hashOf({ ...route(), task: answer.id }), { replace: true });
    }
    write.after = answer?.version ?? null;
    // The writes behind it were made on what it made.
    const behind = queue.filter((other) => other !== write && other.task === write.task && other.version === version);
    if (answer?.version) for (const other of behind) other.version = answer.version;
    return settled(write, answer);
}

/** @param {Write} write @param {any} answer */
function settled(write, answer) {
    drop(write);
    if (write.kind === "remove") gone([write.task]);
    else if (answer?.reminders) accept([answer]);
    if (write.task) show([write.task]);
    callers.get(write)?.resolve(answer);
    return 0;
}

/** @param {Write} write @param {unknown} error @returns {Promise<number>} */
async function refused(write, error) {
    if (!(error instanceof Problem)) {
        pausedBy = "network";
        return backoff();
    }
    const { status, retryAfter } = error;
    pausedBy = "server";
    // It is sent after the person has signed in again.
    if (status === 401) return Infinity;
    if (retryAfter !== null && (status === 429 || status === 503)) return retryAfter * 1000 + 100;
    const mayPass = status === 429 || status >= 500 || (status === 409 && /retry$/.test(error.detail));
    if (mayPass && ++write.refusals < REFUSALS) return backoff();
    if (status === 412 && write.refusals++ < REFUSALS) return meet(write, error);
    if (status === 404 && write.task && !write.target) {
        gone([write.task]);
        if (write.kind === "remove") return settled(write, null);
    }
    return failed(write, error);
}

/** Two seconds, then four, up to a minute. */
function backoff() {
    failures += 1;
    return Math.min(LONGEST_PAUSE, 2 ** failures * 1000);
}

/** Somebody else has changed the task meanwhile. @param {Write} write @param {Problem} problem @returns {Promise<number>} */
async function meet(write, problem) {
    let theirs;
    try {
        theirs = (await request("GET", `/v1/tasks/${write.task}`)).body;
    } catch (error) {
        return refused(write, error);
    }
    accept([theirs]);
    if (write.kind === "restore" && write.inverse) {
        write.kind = "change";
        write.args = write.inverse;
    }
    if (write.kind === "change" && write.base) {
        const { scope, ...mine } = write.args;
        const { again, beside } = merge(mine, write.base, theirs);
        putBeside(write.task, beside);
        if (Object.keys(again).length === 0) return settled(write, theirs);
        write.args = scope ? { ...again, scope } : again;
    } else {
        const outcome = kinds[write.kind].meets?.(write, theirs) ?? "ask";
        if (outcome === "done") return settled(write, theirs);
        // The server's words are about versions, which people do not see.
        if (outcome === "ask") return failed(write, new Problem(412, { ...problem, detail: text.changedSince, errors: [] }));
    }
    Object.assign(write, { version: theirs.version, base: theirs, key: newKey() });
    return 0;
}

/** Lets the person's values stand beside the server's. @param {string} id @param {Record<string, any>} values */
function putBeside(id, values) {
    if (Object.keys(values).length === 0) return;
    const entry = entryOf(id);
    const mine = { ...entry.conflict?.mine, ...values };
    const without = (/** @type {string} */ field) => {
        const { [field]: value, ...others } = mine;
        entry.conflict = null;
        putBeside(id, others);
        show([id]);
        return value;
    };
    entry.conflict = {
        mine,
        keep: (field) => void enqueue({ kind: "change", task: id, args: { [field]: without(field) } }),
        drop: (field) => void without(field),
    };
    announce(text.conflict(taskOf(id)?.title ?? ""));
}

/** The server refused: the row goes back and says so. @param {Write} write @param {Problem} problem */
function failed(write, problem) {
    const { kind, task: id, args, target } = write;
    drop(write);
    if (kind === "create") dropOthers(id, problem);
    callers.get(write)?.reject(problem);
    if (!id) {
        showMe();
        notify({ text: text.refused(problem.message), error: true });
        return 0;
    }
    const entry = entryOf(id);
    const { scope: _, ...mine } = kind === "complete" ? { completed: true } : kind === "reopen" ? { completed: false } : args;
    const discard = () => {
        Object.assign(entry, { failed: null, draft: null });
        show([id]);
    };
    const retry = () => {
        Object.assign(entry, { failed: null, draft: null });
        enqueue({ kind, task: id, args, target, shows: write.shows });
    };
    if (kind === "create") entry.draft = write;
    entry.failed = { problem, mine, retry, discard };
    show([id]);
    const title = write.base?.title ?? "";
    const words = taskOf(id) ? problem.message : problem.status === 404 ? text.gone(title) : text.refusedOf(title, problem.message);
    if (taskOf(id)) announce(words);
    else notify({ text: words, error: true });
    return 0;
}

/** Asks the person about writes that have waited for long. */
function ask() {
    pausedBy = "server";
    const send = () => {
        for (const write of queue) write.at = Date.now();
        set({ stale: null });
        void drain();
    };
    const discard = () => {
        const ids = queue.map(({ task }) => task).filter(Boolean);
        for (const write of queue.splice(0)) callers.get(write)?.resolve(null);
        set({ stale: null, waiting: 0 });
        show(ids);
        showMe();
    };
    set({ stale: { count: queue.length, send, discard } });
    return Infinity;
}

/** Whether the server may have made a task whose id is not known here yet. */
export const isCreating = () => queue.some(({ kind, tries }) => kind === "create" && tries > 0);

/** Keeps what waits while the page is left, to sign in again or to reload it. */
function keep() {
    if (queue.length > 0 && session.user) tab.set(KEPT, JSON.stringify({ user: session.user, writes: queue }));
}

/** Takes up what waited when this tab left the page. */
export function takeUp() {
    const kept = JSON.parse(tab.get(KEPT) ?? "null");
    tab.remove(KEPT);
    if (kept?.user === session.user && queue.length === 0) {
        const writes = /** @type {Write[]} */ (kept.writes);
        queue.push(...writes);
        accept(writes.flatMap(({ base }) => (base && !isPreliminary(base.id) && !versionOf(base.id) ? [base] : [])));
        show(writes.map(({ task }) => task).filter(Boolean));
    }
    void drain();
}

/** Forgets that anything waits. */
export function clearWrites() {
    clearTimeout(timer);
    failures = resumesAt = 0;
    pausedBy = null;
}

effect.of = (before, write) => kinds[write.kind].apply(before, write);
observe((isReachable) => {
    if (!isReachable || pausedBy !== "network") return;
    pausedBy = null;
    failures = 0;
    void drain();
});
addEventListener("online", () => void drain());
addEventListener("pagehide", keep);
addEventListener("beforeunload", (event) => {
    if (get().waiting > 0 && session.state === "signed-in") event.preventDefault();
});
