// Recurrences in words, and those that the form can write.

import { task as text } from "./text-task.js";
import { toInput, zone } from "./times.js";

const words = text.repeat;

/** @typedef {import("./store.js").Task} Task */
/** @typedef {NonNullable<Task["recurrence"]>} Recurrence */
/** @typedef {"DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY"} Frequency */
/**
 * A recurrence as the form edits it.
 * @typedef {object} Pattern
 * @property {Frequency} frequency
 * @property {number} interval
 * @property {string} on the `BY…` parts of the rule; empty: the weekday, the day of the month or the date of the due time
 * @property {number} count 0: without
 * @property {string} until a date; empty: without
 * @property {"due" | "completion"} anchor
 */

/** @type {Record<string, Frequency>} */
const FREQUENCIES = { daily: "DAILY", weekly: "WEEKLY", monthly: "MONTHLY", yearly: "YEARLY" };
const PARTS = ["BYMONTH", "BYMONTHDAY", "BYDAY", "BYSETPOS"];
export const WEEKDAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
const WORKDAYS = WEEKDAYS.slice(0, 5).join();
/** A month's day as a simple recurrence means it: the last one of a shorter month. */
const CLAMPED = /^BYMONTHDAY=28(,29(,30(,31)?)?)?;BYSETPOS=-1$/;

/** The form's view of a recurrence. Null if only its rule can say what it is. @param {Recurrence} recurrence @returns {Pattern | null} */
export function patternOf({ type, interval, rule, anchor }) {
    const simple = FREQUENCIES[type];
    if (simple) return { frequency: simple, interval, on: "", count: 0, until: "", anchor };
    const parts = new Map((rule ?? "").split(";").map((part) => /** @type {[string, string]} */ (part.split("=", 2))));
    const { FREQ = "", INTERVAL = "1", COUNT = "0", UNTIL = "", WKST = "MO" } = Object.fromEntries(parts);
    const frequency = /** @type {Frequency} */ (FREQ);
    const until = /^(\d{4})(\d\d)(\d\d)$/.exec(UNTIL);
    if (WKST !== "MO" || (UNTIL && !until)) return null;
    let on = PARTS.flatMap((name) => (parts.has(name) ? [`${name}=${parts.get(name)}`] : [])).join(";");
    if (frequency === "MONTHLY" && CLAMPED.test(on)) on = "";
    const pattern = { frequency, interval: Number(INTERVAL), on, count: Number(COUNT), until: until ? until.slice(1).join("-") : "", anchor };
    return onWords(pattern, null) === null ? null : pattern;
}

/** What the API gets: a simple recurrence where that says it, a rule otherwise. @param {Pattern} pattern @param {string} due @param {string} timeZone */
export function recurrenceOf({ frequency, interval, on, count, until, anchor }, due, timeZone) {
    if (!on && !count && !until) return { type: frequency.toLowerCase(), interval, rule: null, anchor };
    const day = Number(toInput(due, timeZone).date.slice(8));
    const days = [28, 29, 30, 31].filter((other) => other <= day);
    const clamped = !on && frequency === "MONTHLY" && day > 28 ? `BYMONTHDAY=${days};BYSETPOS=-1` : on;
    const parts = [
        `FREQ=${frequency}`, interval > 1 && `INTERVAL=${interval}`, clamped,
        count && `COUNT=${count}`, until && `UNTIL=${until.replaceAll("-", "")}`,
    ];
    return { type: "custom", interval: 1, rule: parts.filter(Boolean).join(";"), anchor };
}

/** How a task repeats, in one sentence. @param {Recurrence} recurrence @param {Pick<Task, "due_at" | "time_zone" | "next_occurrence_at"> | null} [task] */
export function sentence(recurrence, task = null) {
    const pattern = patternOf(recurrence);
    const anchor = words.anchors[recurrence.anchor];
    if (!pattern) return words.byRule(recurrence.rule ?? "", anchor);
    const workdays = pattern.frequency === "WEEKLY" && pattern.on === `BYDAY=${WORKDAYS}`;
    const every = workdays && pattern.interval === 1 ? words.everyWorkday : words.every(words.units[pattern.frequency], pattern.interval);
    const on = workdays && pattern.interval === 1 ? "" : onWords(pattern, task);
    const end = pattern.count ? words.times(pattern.count) : pattern.until ? words.until(dateWords(pattern.until)) : "";
    return [[every, on].filter(Boolean).join(" "), end, anchor].filter(Boolean).join(", ");
}

/** @param {string} date */
const dateWords = (date) => new Intl.DateTimeFormat([...navigator.languages], { dateStyle: "medium", timeZone: "UTC" }).format(new Date(date));

/**
 * Which days of its period a pattern names. Null if there are no words for it.
 * @param {Pattern} pattern
 * @param {Pick<Task, "due_at" | "time_zone" | "next_occurrence_at"> | null} task
 * @returns {string | null}
 */
function onWords({ frequency, on, anchor }, task) {
    if (!on) return !["DAILY", "WEEKLY", "MONTHLY", "YEARLY"].includes(frequency) ? null : task && anchor === "due" ? dayOfSeries(frequency, task) : "";
    const days = /^BYDAY=([A-Z,]+)$/.exec(on)?.[1].split(",");
    if (frequency === "WEEKLY" && days) return days.join() === WORKDAYS ? words.onWorkdays : words.on(listed(days.map((day) => words.weekdays[day])));
    if (frequency !== "MONTHLY") return null;
    const monthDays = /^BYMONTHDAY=([\d,-]+)$/.exec(on)?.[1].split(",").map(Number);
    if (monthDays?.every((day) => day >= -1)) return words.on(listed(monthDays.map((day) => (day < 0 ? words.lastDay : words.day(day)))));
    const nth = /^BYDAY=(-1|[1-5])([A-Z]{2})$/.exec(on);
    if (nth) return words.on(words.nth(Number(nth[1]), words.weekdays[nth[2]]));
    const workday = /^BYDAY=MO,TU,WE,TH,FR;BYSETPOS=(1|-1)$/.exec(on);
    return workday && words.on(words.nth(Number(workday[1]), words.workday));
}

/** @param {string[]} parts */
const listed = (parts) => new Intl.ListFormat("en").format(parts);

/**
 * The day that a simple recurrence takes from its series. A single occurrence may be moved, so the next one tells it; but a short month
 * hides a late day, so of two late days the later one is meant.
 * @param {Frequency} frequency
 * @param {Pick<Task, "due_at" | "time_zone" | "next_occurrence_at">} task
 */
function dayOfSeries(frequency, { due_at, next_occurrence_at, time_zone }) {
    const at = next_occurrence_at ?? due_at;
    if (!at) return "";
    const dates = [next_occurrence_at, due_at].flatMap((instant) => (instant ? [toInput(instant, time_zone).date] : []));
    if (frequency === "WEEKLY") return words.on(words.weekdays[WEEKDAYS[(new Date(dates[0]).getUTCDay() + 6) % 7]]);
    const days = dates.map((date) => Number(date.slice(8)));
    if (frequency === "MONTHLY") return words.on(words.dayOrLast(days.every((day) => day >= 28) ? Math.max(...days) : days[0]));
    if (frequency === "YEARLY") return words.on(new Intl.DateTimeFormat([...navigator.languages], { day: "numeric", month: "long", timeZone: time_zone || zone() }).format(new Date(at)));
    return "";
}
