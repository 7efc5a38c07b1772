// The state of the page. Only the modules behind `store.js` change it.

import { useLayoutEffect, useRef, useState } from "./vendor/preact.js";

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
 * @property {Task} task as the person sees it: with the changes that are not answered yet
 * @property {boolean} saving whether a change of it is not answered yet
 * @property {null | { problem: Failure, mine: Record<string, any>, retry(): void, discard(): void }} failed the change that was refused
 * @property {null | { mine: Record<string, any>, keep(field: string): void, drop(field: string): void }} conflict
 *   the person's values of fields that somebody else has changed meanwhile
 */
/** @typedef {{ ids: string[], more: boolean, state: "loading"|"ready"|"error", error?: Failure, slow: boolean }} View */
/** @typedef {{ id: string, text: string, undo?: () => void, error?: boolean }} Notice */
/**
 * @typedef {object} State
 * @property {Me | null} me
 * @property {Map<string, Row>} tasks
 * @property {Map<string, View>} views
 * @property {Tag[]} tags
 * @property {{ today: number, overdue: number }} counts open tasks of today, with those that are overdue; and the latter
 * @property {"live"|"connecting"|"offline"|"manual"} connection
 * @property {Notice[]} notices
 * @property {number} waiting changes that cannot be sent now
 * @property {null | { count: number, send(): void, discard(): void }} stale changes that waited for so long that the person decides
 * @property {string} announcement for screen readers
 */

/** @returns {State} */
const empty = () => ({
    me: null,
    tasks: new Map(),
    views: new Map(),
    tags: [],
    counts: { today: 0, overdue: 0 },
    connection: "connecting",
    notices: [],
    waiting: 0,
    stale: null,
    announcement: "",
});

let state = empty();
/** @type {Set<() => void>} */
const listeners = new Set();

export const get = () => state;

/** @type {ReturnType<typeof setTimeout> | undefined} */
let telling;
let isFirst = true;

/** @param {Partial<State>} change */
export function set(change) {
    state = { ...state, ...change };
    // Until the first list is there, it is shown in a task of its own: a slow phone can answer a tap before it.
    if (isFirst) telling ??= setTimeout(tell);
    else tell();
}

function tell() {
    telling = undefined;
    for (const listener of listeners) listener();
}

/** From now on changes are shown at once. */
export const endFirst = () => void (isFirst = false);

/** Forgets everything. */
export const clear = () => set(empty());

export const store = {
    get,
    /** @param {() => void} listener @returns {() => void} ends it */
    subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
    },
};

/** Whether two values are the same, or have the same parts. @param {any} a @param {any} b */
function isSame(a, b) {
    if (Object.is(a, b)) return true;
    if (typeof a !== "object" || typeof b !== "object" || !a || !b || a.constructor !== b.constructor) return false;
    if (a instanceof Map || a instanceof Set) return false;
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => Object.is(a[key], b[key]));
}

/**
 * A part of the state; renders again when it changes.
 * @template T
 * @param {(state: State) => T} select
 * @returns {T}
 */
export function useStore(select) {
    const [, render] = useState(0);
    const value = select(state);
    const shown = useRef({ select, value });
    shown.current = { select, value };
    useLayoutEffect(() => {
        const look = () => {
            if (isSame(shown.current.select(state), shown.current.value)) return;
            render((count) => count + 1);
        };
        look();
        return store.subscribe(look);
    }, []);
    return value;
}

/** How long a notice is shown, and an act can be undone. */
export const NOTICE = 10_000;
let notices = 0;

/** Shows a notice. @param {Omit<Notice, "id">} notice @returns {string} its id */
export function notify(notice) {
    const id = `notice-${++notices}`;
    set({ notices: [...state.notices, { id, ...notice }] });
    setTimeout(dismiss, NOTICE, id);
    return id;
}

/** Removes a notice. @param {string} id */
export function dismiss(id) {
    if (state.notices.some((notice) => notice.id === id)) set({ notices: state.notices.filter((notice) => notice.id !== id) });
}

/** Lets screen readers say something. An empty text first, because the same text twice is no change. @param {string} words */
export function announce(words) {
    if (state.announcement) set({ announcement: "" });
    setTimeout(set, 50, { announcement: words });
}
