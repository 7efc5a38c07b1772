// Groups of a list: one for each day, as people say it.

import { text } from "./text.js";
import { day, daysFromToday, toInput, zone } from "./times.js";

/** @typedef {import("./store.js").Row} Row */
/** @typedef {{ key: string, name: string, date: string, overdue?: boolean, rows: Row[] }} Group */

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** "Sat 28 Nov", with the year if it is another one. @param {string} instant @param {"short"} [weekday] */
function shortDate(instant, weekday) {
    const sameYear = toInput(instant).date.slice(0, 4) === toInput(Date.now()).date.slice(0, 4);
    const key = `${zone()} ${sameYear} ${weekday}`;
    let format = formats.get(key);
    if (!format) {
        format = new Intl.DateTimeFormat([...navigator.languages], { timeZone: zone(), weekday, day: "numeric", month: "short", year: sameYear ? undefined : "numeric" });
        formats.set(key, format);
    }
    return format.format(new Date(instant)).replaceAll(",", "");
}

/** What a row is shown under: its due time, otherwise its next reminder. @param {import("./store.js").Task} task */
const placeOf = (task) => task.due_at ?? nextReminder(task)?.remind_at ?? null;

/** The reminder that fires next. @param {import("./store.js").Task} task */
export function nextReminder(task) {
    let next = null;
    for (const reminder of task.reminders) {
        if (reminder.state === "scheduled" && (!next || Date.parse(reminder.remind_at) < Date.parse(next.remind_at))) next = reminder;
    }
    return next;
}

/**
 * Rows by day: earlier days together, then each day, then the tasks without one. Keeps the order of the rows within a day.
 * @param {Row[]} rows
 * @returns {Group[]}
 */
export function byDay(rows) {
    /** @type {Map<number, Group>} */
    const groups = new Map();
    for (const row of rows) {
        const at = placeOf(row.task);
        const days = at === null ? Infinity : daysFromToday(at);
        const key = days < 0 ? -1 : days;
        let group = groups.get(key);
        if (!group) {
            group = { key: String(key), ...heading(key, at), rows: [] };
            groups.set(key, group);
        }
        group.rows.push(row);
    }
    return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** @param {number} days @param {string | null} at */
function heading(days, at) {
    if (at === null) return { name: text.list.noDate, date: "" };
    if (days < 0) return { name: text.list.overdue, date: "", overdue: true };
    if (days >= 7) return { name: shortDate(at, "short"), date: "" };
    const name = day(at);
    return { name: name.charAt(0).toLocaleUpperCase() + name.slice(1), date: shortDate(at, days < 2 ? "short" : undefined) };
}
