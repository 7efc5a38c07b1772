// What the page shows, and the commands that change it.

import { useEffect, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { setZone } from "./times.js";

/** @typedef {import("../api-types").components["schemas"]["Task"]} Task */
/** @typedef {import("../api-types").components["schemas"]["NewTask"]} NewTask */
/** @typedef {import("../api-types").components["schemas"]["TaskPatch"]} TaskPatch */
/** @typedef {import("../api-types").components["schemas"]["Reminder"]} Reminder */
/** @typedef {import("../api-types").components["schemas"]["NewReminder"]} NewReminder */
/** @typedef {import("../api-types").components["schemas"]["Snooze"]} Snooze */
/** @typedef {import("../api-types").components["schemas"]["Me"]} Me */
/** @typedef {import("../api-types").components["schemas"]["MePatch"]} MePatch */
/** @typedef {import("../api-types").components["schemas"]["Tag"]} Tag */
/** @typedef {import("./api.js").Problem | import("./api.js").Unreachable} Failure */
/**
 * @typedef {object} Row
 * @property {Task} task
 * @property {boolean} saving
 * @property {null | { problem: Failure, mine: Record<string, any>, retry(): void, discard(): void }} failed
 * @property {null | { mine: Record<string, any>, keep(field: string): void, drop(field: string): void }} conflict
 */
/** @typedef {{ ids: string[], more: boolean, state: "loading"|"ready"|"error", error?: Failure, slow: boolean }} View */
/** @typedef {{ id: string, text: string, undo?: () => void, error?: boolean }} Notice */
/**
 * @typedef {object} State
 * @property {Me | null} me
 * @property {Map<string, Row>} tasks
 * @property {Map<string, View>} views
 * @property {Tag[]} tags
 * @property {{ today: number, overdue: number }} counts
 * @property {"live"|"connecting"|"offline"|"manual"} connection
 * @property {Notice[]} notices
 * @property {number} waiting writes that wait for the network
 * @property {string} announcement for screen readers
 */

/** @type {State} */
let state = { me: null, tasks: new Map(), views: new Map(), tags: [], counts: { today: 0, overdue: 0 }, connection: "connecting", notices: [], waiting: 0, announcement: "" };
/** @type {Set<() => void>} */
const listeners = new Set();

/** @param {Partial<State>} change */
function set(change) {
    state = { ...state, ...change };
    for (const listener of listeners) listener();
}

export const store = {
    get: () => state,
    /** @param {() => void} listener @returns {() => void} ends it */
    subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
    },
};

/**
 * A part of the state; renders again when it changes.
 * @template T
 * @param {(state: State) => T} select
 * @returns {T}
 */
export function useStore(select) {
    const [, render] = useState(0);
    const value = select(state);
    useEffect(() => store.subscribe(() => render((count) => count + 1)), []);
    return value;
}

/** @param {import("./route.js").Route} route */
export function viewOf(route) {
    if (route.view === "tag") return `tag ${route.tag}`;
    if (route.view === "search") return `search ${route.query}`;
    return route.view;
}

/** @param {string} key */
export async function load(key) {
    const query = new URLSearchParams({ sort: key === "done" ? "-created_at" : "due_at", status: key === "done" ? "completed" : "open" });
    if (key.startsWith("tag ")) query.set("tag", key.slice(4));
    if (key.startsWith("search ")) for (const [name, value] of new URLSearchParams(key.slice(7))) query.set(name, value);
    try {
        const { body } = await request("GET", "/v1/tasks", { query });
        const tasks = new Map(state.tasks);
        for (const task of body.items) tasks.set(task.id, row(task));
        const ids = body.items.map((/** @type {Task} */ task) => task.id);
        set({ tasks, views: new Map(state.views).set(key, { ids, more: Boolean(body.next_cursor), state: "ready", slow: false }) });
        if (!state.me) {
            const [me, tags] = await Promise.all([request("GET", "/v1/me"), request("GET", "/v1/tags")]);
            setZone(me.body.time_zone);
            set({ me: me.body, tags: tags.body.items });
        }
    } catch (error) {
        set({ views: new Map(state.views).set(key, { ids: [], more: false, state: "error", error: /** @type {Failure} */ (error), slow: false }) });
    }
}

/** @param {string} _key */
export async function loadMore(_key) {}

/** @param {string} id */
export async function openTask(id) {
    keep((await request("GET", `/v1/tasks/${id}`)).body);
}

/** @param {Task} task @returns {Row} */
const row = (task) => ({ task, saving: false, failed: null, conflict: null });

/** @param {Task} task */
const keep = (task) => set({ tasks: new Map(state.tasks).set(task.id, row(task)) });

/** @param {string} method @param {string} path @param {unknown} [body] */
const write = async (method, path, body) => keep((await request(method, path, { body })).body);

/** @param {string} announcement */
export const announce = (announcement) => set({ announcement });

export const commands = {
    /** @param {NewTask} draft */
    async create(draft) {
        const { body } = await request("POST", "/v1/tasks", { body: draft });
        keep(body);
        const views = new Map([...state.views].map(([key, view]) => [key, { ...view, ids: [body.id, ...view.ids] }]));
        set({ views });
    },
    /** @param {string} id @param {TaskPatch} patch @param {{ scope?: "this"|"following", quiet?: boolean }} [options] */
    change: (id, patch, { scope } = {}) => write("PATCH", `/v1/tasks/${id}`, scope ? { ...patch, scope } : patch),
    /** @param {string} id */
    complete: (id) => write("POST", `/v1/tasks/${id}/complete`),
    /** @param {string} id */
    reopen: (id) => write("POST", `/v1/tasks/${id}/reopen`),
    /** @param {string} id */
    async remove(id) {
        await request("DELETE", `/v1/tasks/${id}`);
        set({ views: new Map([...state.views].map(([key, view]) => [key, { ...view, ids: view.ids.filter((other) => other !== id) }])) });
    },
    /** @param {string} id @param {number} version */
    restore: (id, version) => write("POST", `/v1/tasks/${id}/restore`, { version }),
    /** @param {string} id @param {NewReminder} reminder */
    addReminder: (id, reminder) => write("POST", `/v1/tasks/${id}/reminders`, reminder),
    /** @param {Task} _task @param {Reminder} reminder */
    cancelReminder: (_task, reminder) => write("DELETE", `/v1/reminders/${reminder.id}`),
    /** @param {Task} _task @param {Reminder} reminder @param {Snooze} body */
    snooze: (_task, reminder, body) => write("POST", `/v1/reminders/${reminder.id}/snooze`, body),
    /** @param {Task} _task @param {Reminder} reminder */
    sendNow: (_task, reminder) => write("POST", `/v1/reminders/${reminder.id}/send-now`),
    async undoLast() {
        state.notices.findLast((notice) => notice.undo)?.undo?.();
    },
    /** @param {MePatch} patch */
    async changeMe(patch) {
        const { body } = await request("PATCH", "/v1/me", { body: patch });
        setZone(body.time_zone);
        set({ me: body });
    },
    /** @param {string} letterId */
    async replay(letterId) {
        await request("POST", `/v1/dead-letters/${letterId}/replay`);
    },
};
