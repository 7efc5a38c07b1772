// The task that is being written. It survives a reload of the tab and a session that ends.

import { text } from "./text.js";
import { dayAndClock, duration } from "./times.js";

const KEY = "punctual.draft";

/**
 * `remind`: undefined leaves it to the person's default, null is none.
 * @typedef {object} Draft
 * @property {string} title
 * @property {string} [due]
 * @property {import("./store.js").NewReminder | null} [remind]
 * @property {keyof typeof text.list.repeats} [repeat]
 */

/** @returns {Draft} */
export function kept() {
    try {
        return JSON.parse(sessionStorage.getItem(KEY) ?? "") ?? { title: "" };
    } catch {
        return { title: "" };
    }
}

/** @param {Draft} draft */
export function keep(draft) {
    try {
        if (draft.title || draft.due || draft.remind || draft.repeat) sessionStorage.setItem(KEY, JSON.stringify(draft));
        else sessionStorage.removeItem(KEY);
    } catch {
        // Storage may be blocked. The draft then lives as long as the page.
    }
}

/**
 * The body of the request that creates it.
 * @param {Draft} draft
 * @param {string} [tag]
 * @returns {import("./store.js").NewTask}
 */
export function draftOf({ title, due, remind, repeat }, tag) {
    /** @type {import("./store.js").NewTask} */
    const body = { title: title.trim() };
    if (due) body.due_at = due;
    if (remind !== undefined) body.reminders = remind ? [remind] : [];
    if (repeat === "weekdays") body.recurrence = { type: "custom", rule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR" };
    else if (repeat) body.recurrence = { type: repeat };
    if (tag) body.tags = [tag];
    return body;
}

/**
 * What the buttons say, or null where nothing is chosen.
 * @param {Draft} draft
 * @param {import("./store.js").Me | null} me
 */
export function labels({ due, remind, repeat }, me) {
    const defaultReminder = due && remind === undefined ? me?.default_reminder : null;
    const before = remind?.before_due ?? defaultReminder;
    let reminding = null;
    if (before) reminding = text.list.remindBefore(duration(before));
    else if (remind?.remind_at) reminding = text.list.remindAt(dayAndClock(remind.remind_at));
    else if (remind === null && me?.default_reminder) reminding = text.list.noReminder;
    return {
        due: due ? text.list.dueAt(dayAndClock(due)) : null,
        remind: reminding,
        repeat: repeat ? text.list.repeats[repeat] : null,
    };
}
