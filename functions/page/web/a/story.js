// The story of a reminder: whether it came and why not, and what happened, step by step. Pure.

import { timeline as words } from "./text-timeline.js";
import { clock, day, daysFromToday, duration, lateness, preciseClock, zone } from "./times.js";

/** @typedef {import("../api-types").components["schemas"]["Entry"]} Entry */
/** @typedef {import("../api-types").components["schemas"]["ReminderNow"]} ReminderNow */
/** @typedef {"set" | "fired" | "try" | "good" | "bad" | "off" | "acted"} Sign */
/**
 * One step: what it says, and the entries that say it.
 * @typedef {object} Step
 * @property {string} at
 * @property {Sign} sign
 * @property {string} says
 * @property {boolean} precise whether its milliseconds matter
 * @property {Entry[]} entries
 */
/** @typedef {(target: string) => string} NameDevice */

/** Attempts of one kind in a row that are shown one by one. */
const SHOWN = 4;
/** A successor whose reminder had passed has it cancelled as it is made. */
const AT_ONCE = 1_000;

/** A time of the day, as exact as it is: "12:49", "12:49:37", "12:49:37.250". @param {string} at */
const timeOf = (at) => (Date.parse(at) % 60_000 === 0 ? clock(at) : Date.parse(at) % 1_000 === 0 ? seconds(at) : preciseClock(at));

/** A time of the day of another instant, or with its day. @param {string} at @param {string} near */
const when = (at, near) => (daysFromToday(at) === daysFromToday(near) ? timeOf(at) : `${day(at)} ${timeOf(at)}`);

/** A time in a sentence, with its day if that is not today. @param {string} at @param {string} time */
const told = (at, time) => (daysFromToday(at) === 0 ? words.at(time) : `${day(at)} ${words.at(time)}`);

/** A time of the day to the second. @param {string} at */
const seconds = (at) => new Intl.DateTimeFormat([...navigator.languages], { timeStyle: "medium", timeZone: zone() }).format(new Date(at));

/** Why, as a person would say it. @param {Entry | undefined} entry */
const because = (entry) => (entry?.reason ? words.because(entry.reason) : words.gaveUp);

/** Whether a reminder was made with its task although its time had passed. @param {ReminderNow} reminder @param {Entry | undefined} cancelled */
const wasTooLate = ({ version, created_at }, cancelled) =>
    cancelled?.reason === "completed" && version === 1 && Date.parse(cancelled.at) - Date.parse(created_at) < AT_ONCE;

/**
 * Whether it came, and if not, why.
 * @param {ReminderNow} reminder
 * @param {Entry[]} entries oldest first
 * @returns {{ says: string, tone: "good" | "bad" | "off" | "wait" }} `off`: not sent, as somebody wanted
 */
export function verdict(reminder, entries) {
    const { state, channels, cancel_reason, remind_at, version } = reminder;
    const ours = entries.filter((entry) => entry.version === version);
    const last = (/** @type {string} */ what, from = ours) => from.findLast((entry) => entry.what === what);
    const planned = last("fired")?.planned_at ?? remind_at;
    if (state === "sent") {
        const sent = last("sent") ?? last("sent", entries);
        const at = sent?.at ?? reminder.fired_at ?? remind_at;
        const came = channels.filter((channel) => ours.some((entry) => entry.what === "sent" && entry.channel === channel));
        const missed = ours.findLast((entry) => entry.what === "failed" && entry.channel && !came.includes(/** @type {any} */ (entry.channel)));
        const late = lateness(Math.max(0, Date.parse(at) - Date.parse(planned)));
        const says = words.sent(told(at, preciseClock(at)), late, came.length > 0 ? came : channels);
        if (!missed) return { says, tone: "good" };
        return { says: `${says} ${words.butNot(String(missed.channel), because(missed))}`, tone: "good" };
    }
    if (state === "cancelled") {
        const cancelled = last("cancelled");
        const tooLate = wasTooLate(reminder, cancelled);
        const why = tooLate ? words.tooLate : (words.cancelled[cancel_reason ?? ""] ?? words.cancelled.other)(cancelled ? told(cancelled.at, clock(cancelled.at)) : "").trim();
        return { says: last("sent", entries) ? words.notSentAgain(why) : words.notSent(why), tone: tooLate ? "bad" : "off" };
    }
    if (state === "failed") {
        const unknown = last("unknown");
        if (unknown?.reason) return { says: words.maybe(because(unknown)), tone: "bad" };
        return { says: words.notSent(because(last("failed"))), tone: "bad" };
    }
    if (state !== "scheduled") return { says: words.state, tone: "wait" };
    const retry = ours.findLast((entry) => entry.what !== "sending");
    if (retry?.next_attempt_at) return { says: words.notYet(because(retry), seconds(retry.next_attempt_at)), tone: "wait" };
    if (last("fired")) return { says: words.onItsWay, tone: "wait" };
    if (Date.parse(remind_at) < Date.now()) return { says: words.late(`${day(remind_at)} ${timeOf(remind_at)}`), tone: "bad" };
    return { says: words.will(`${day(remind_at)} ${timeOf(remind_at)}`, channels), tone: "wait" };
}

/**
 * What happened, oldest first. An attempt and what became of it are one step, and many attempts with the same answer are one as well.
 * @param {ReminderNow} reminder
 * @param {Entry[]} entries oldest first
 * @param {NameDevice} nameDevice
 * @returns {Step[]}
 */
export function story(reminder, entries, nameDevice) {
    /** @type {Map<string, Step>} Attempts without an outcome, by delivery. */
    const begun = new Map();
    /** @type {Step[]} */
    const steps = [];
    const moves = new Set(entries.filter((entry) => entry.what === "moved").map((entry) => entry.version));
    const plannedFirst = entries.find((entry) => entry.version === 1 && entry.planned_at)?.planned_at;
    // Cancelling a reminder is a version, but moves it nowhere.
    const isUnmoved = reminder.version === 1 || entries.some((entry) => entry.what === "cancelled" && entry.version === 2);
    const tell = teller(reminder, { moves, plannedFirst: plannedFirst ?? (isUnmoved ? reminder.remind_at : undefined), nameDevice });
    for (const entry of entries) {
        const attempt = entry.delivery_id ? begun.get(entry.delivery_id) : undefined;
        const number = attempt?.entries[0].attempt ?? entry.attempt ?? 0;
        const step = { at: entry.at, entries: [entry], precise: PRECISE.has(entry.what), ...tell(entry, number) };
        if (attempt) {
            steps.splice(steps.indexOf(attempt), 1);
            step.entries = [...attempt.entries, entry];
            begun.delete(/** @type {string} */ (entry.delivery_id));
        }
        if (entry.what === "sending") begun.set(entry.delivery_id ?? "", step);
        steps.push(step);
    }
    return fold(steps);
}

const PRECISE = new Set(["fired", "sent", "sending", "retrying", "failed", "unknown"]);

/**
 * Says what an entry is.
 * @param {ReminderNow} reminder
 * @param {{ moves: Set<number | null | undefined>, plannedFirst: string | undefined | null, nameDevice: NameDevice }} known
 * @returns {(entry: Entry, attempt: number) => { sign: Sign, says: string }}
 */
function teller(reminder, { moves, plannedFirst, nameDevice }) {
    return (entry, attempt) => {
        const { at, planned_at, reason, channel, target, provider, next_attempt_at: next } = entry;
        const why = because(entry);
        const what = words.message(channel ?? "");
        switch (entry.what) {
            case "created":
                return { sign: "set", says: plannedFirst ? words.setFor(when(plannedFirst, at), reminder.before_due ? duration(reminder.before_due) : undefined) : words.created };
            case "moved":
                return { sign: "set", says: words.moved(when(planned_at ?? at, at)) };
            case "restored":
                return { sign: "set", says: words.restored };
            case "armed": {
                const moved = planned_at && (entry.version ?? 1) > 1 && !moves.has(entry.version);
                return { sign: "set", says: moved ? words.movedAndArmed(when(planned_at, at)) : words.armed };
            }
            case "fired": {
                // By the times that are shown: `late_ms` is rounded, they are cut.
                const late = planned_at ? Math.max(0, Date.parse(at) - Date.parse(planned_at)) : entry.late_ms;
                return { sign: "fired", says: late ? words.fired(lateness(late)) : words.firedExactly };
            }
            case "skipped":
                return { sign: reason === "moved" ? "set" : "bad", says: channel ? words.skipped(what, why) : words.didNotFire(why) };
            case "sending":
                return { sign: "try", says: words.sending(what, attempt) };
            case "retrying":
                return { sign: "try", says: next ? words.retrying(attempt, why, seconds(next)) : why };
            case "unknown":
                if (!reason) return { sign: "try", says: words.unknownRepeat };
                return next ? { sign: "try", says: words.unknownRetry(why, seconds(next)) } : { sign: "bad", says: words.unknown(why) };
            case "failed":
                return { sign: "bad", says: words.failed(what, why) };
            case "sent": {
                const by = words.providers[provider ?? ""] ?? provider ?? words.someProvider;
                return { sign: "good", says: words.accepted(target ? words.forDevice(by, nameDevice(target)) : by, attempt) };
            }
            case "cancelled": {
                const tooLate = wasTooLate(reminder, entry);
                const cause = tooLate ? words.tooLate : (words.cancelled[reason ?? ""] ?? words.cancelled.other)("").trim();
                return { sign: tooLate ? "bad" : "off", says: words.wasCancelled(cause) };
            }
            case "acted":
                return { sign: "acted", says: words.acted[entry.action ?? ""] ?? words.actedOther };
            default:
                return { sign: "set", says: words.other(entry.what) };
        }
    };
}

/** @param {Step[]} steps */
function fold(steps) {
    /** @type {Step[]} */
    const folded = [];
    for (let from = 0; from < steps.length; ) {
        let to = from + 1;
        while (to < steps.length && isLike(steps[from], steps[to])) to++;
        const run = steps.slice(from, to);
        if (run.length > SHOWN) {
            const middle = run.slice(1, -1);
            const entries = middle.flatMap((step) => step.entries);
            folded.push(run[0], { ...middle[0], says: words.folded(middle.length), entries }, run[run.length - 1]);
        } else {
            folded.push(...run);
        }
        from = to;
    }
    return folded;
}

/** Whether two attempts had the same answer. @param {Step} a @param {Step} b */
function isLike(a, b) {
    const [x, y] = [a, b].map(({ entries }) => entries[entries.length - 1]);
    return x.what === "retrying" && y.what === "retrying" && x.reason === y.reason && x.delivery_id === y.delivery_id;
}
