// Times as people say them, and times that they mean: by Intl, in the person's locale and zone.

import { text } from "./text.js";

const LOCALE = navigator.languages?.length ? [...navigator.languages] : undefined;
const DEVICE_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const RELATIVE = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto" });
const MINUTE = 60_000;
const DAY = 86_400_000;

/** @typedef {string | number | Date} Instant RFC 3339, or milliseconds */

let personsZone = DEVICE_ZONE;

/** Sets the zone of the person: `me.time_zone`. @param {string} zone */
export function setZone(zone) {
    if (isZone(zone)) personsZone = zone;
}

/** The person's zone. */
export const zone = () => personsZone;

/** The zone of this device. */
export const deviceZone = () => DEVICE_ZONE;

/** Whether this browser knows the zone. @param {string} name */
export function isZone(name) {
    try {
        formatter({ timeZone: name });
        return true;
    } catch {
        return false;
    }
}

/** @type {Map<string, Intl.DateTimeFormat>} */
const formatters = new Map();

/**
 * A formatter, made once: making one is slow.
 * @param {Intl.DateTimeFormatOptions} options
 * @param {string} [locale]
 */
function formatter(options, locale) {
    const key = `${locale} ${JSON.stringify(options)}`;
    let found = formatters.get(key);
    if (!found) {
        found = new Intl.DateTimeFormat(locale ?? LOCALE, options);
        formatters.set(key, found);
    }
    return found;
}

/** @param {Instant} instant @param {Intl.DateTimeFormatOptions} options @param {string} [timeZone] */
const format = (instant, options, timeZone = personsZone) => formatter({ ...options, timeZone }).format(new Date(instant));

/** How many answers of `offsetOf` are kept. */
const KEPT = 2_000;
/** What the clocks of zones are ahead of UTC, by zone and minute. @type {Map<string, number>} */
const offsets = new Map();

/**
 * What the clocks of a zone are ahead of UTC, in milliseconds. Kept, because Intl is slow and a list asks for the same minutes again and again.
 * @param {number} instant
 * @param {string} timeZone
 */
function offsetOf(instant, timeZone) {
    const minute = Math.floor(instant / MINUTE) * MINUTE;
    const key = `${timeZone} ${minute}`;
    let offset = offsets.get(key);
    if (offset === undefined) {
        const parts = formatter(
            { timeZone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" },
            "en-US",
        ).formatToParts(minute);
        const part = (/** @type {string} */ type) => Number(parts.find((found) => found.type === type)?.value);
        offset = Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second")) - minute;
        if (offsets.size >= KEPT) offsets.clear();
        offsets.set(key, offset);
    }
    return offset;
}

/**
 * The wall clock of an instant in a zone, as if it were UTC: differences of it are differences of the clock.
 * @param {Instant} instant
 * @param {string} [timeZone]
 */
function wallMillis(instant, timeZone = personsZone) {
    const at = new Date(instant).getTime();
    return at + offsetOf(at, timeZone);
}

/** How many days an instant is after today, by the calendar of the zone. @param {Instant} instant @param {string} [timeZone] */
export function daysFromToday(instant, timeZone = personsZone) {
    return Math.floor(wallMillis(instant, timeZone) / DAY) - today(timeZone);
}

/** The number of today's day, by the calendar of the zone. @param {string} timeZone */
const today = (timeZone) => Math.floor(wallMillis(Date.now(), timeZone) / DAY);

/** The date of a day by its number: "2026-11-28". @param {number} day */
const dateOf = (day) => new Date(day * DAY).toISOString().slice(0, 10);

/** The day: "today", "tomorrow", "Tuesday", "Sat 28 Nov", "28 Nov 2031". @param {Instant} instant @param {string} [timeZone] */
export function day(instant, timeZone) {
    const days = daysFromToday(instant, timeZone);
    if (Math.abs(days) <= 1) return RELATIVE.format(days, "day");
    if (days > 1 && days < 7) return format(instant, { weekday: "long" }, timeZone);
    const isThisYear = new Date(wallMillis(instant, timeZone)).getUTCFullYear() === new Date(wallMillis(Date.now(), timeZone)).getUTCFullYear();
    if (isThisYear) return format(instant, { weekday: "short", day: "numeric", month: "short" }, timeZone);
    return format(instant, { day: "numeric", month: "short", year: "numeric" }, timeZone);
}

/** The date: "Sat 28 Nov", with the year if it is another one. @param {Instant} instant @param {"short"} [weekday] */
export function shortDate(instant, weekday) {
    const isThisYear = toInput(instant).date.slice(0, 4) === toInput(Date.now()).date.slice(0, 4);
    return format(instant, { weekday, day: "numeric", month: "short", year: isThisYear ? undefined : "numeric" }).replaceAll(",", "");
}

/** "9:00 am" where people count to twelve, otherwise "09:00". */
const HOUR = new Intl.DateTimeFormat(LOCALE, { hour: "numeric" }).resolvedOptions().hour12 ? "numeric" : "2-digit";

/** The time of day: "09:00". @param {Instant} instant @param {string} [timeZone] */
export const clock = (instant, timeZone) => format(instant, { hour: HOUR, minute: "2-digit" }, timeZone);

/** The time of day with milliseconds: "08:45:00.003". @param {Instant} instant @param {string} [timeZone] */
export const preciseClock = (instant, timeZone) =>
    format(instant, { hour: HOUR, minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 }, timeZone);

/** Day and time: "tomorrow 09:00". @param {Instant} instant @param {string} [timeZone] */
export const dayAndClock = (instant, timeZone) => `${day(instant, timeZone)} ${clock(instant, timeZone)}`;

/** Everything about an instant, for `title`. @param {Instant} instant @param {string} [timeZone] */
export const exact = (instant, timeZone) =>
    format(
        instant,
        {
            weekday: "long", day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
            fractionalSecondDigits: new Date(instant).getUTCMilliseconds() ? 3 : undefined, timeZoneName: "short",
        },
        timeZone,
    );

/** Day and time by the clock of another zone. @param {Instant} instant @param {string} timeZone */
export const wall = (instant, timeZone) => dayAndClock(instant, timeZone);

/** How long ago: "just now", "5 minutes ago", "in 2 hours". @param {Instant} instant */
export function ago(instant) {
    const seconds = Math.round((new Date(instant).getTime() - Date.now()) / 1000);
    /** @type {[Intl.RelativeTimeFormatUnit, number][]} */
    const units = [["day", 86_400], ["hour", 3_600], ["minute", 60]];
    for (const [unit, size] of units) {
        if (Math.abs(seconds) >= size) return RELATIVE.format(Math.trunc(seconds / size), unit);
    }
    return RELATIVE.format(0, "second");
}

/** A delay: "3 ms", "2.1 s", "4 min", "2 h". @param {number} ms */
export function lateness(ms) {
    if (ms < 1000) return `${Math.round(ms)} ms`;
    if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
    if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
    return `${(ms / 3_600_000).toFixed(1)} h`;
}

/**
 * The instant at which the clocks of a zone show this date and time. In a gap, the time after it; of two, the first.
 * @param {string} date "2026-11-28"
 * @param {string} time "09:00"
 * @param {string} [timeZone]
 * @returns {string} RFC 3339
 */
export function fromInput(date, time, timeZone = personsZone) {
    const wanted = Date.parse(`${date}T${time.length === 5 ? `${time}:00` : time}Z`);
    const offsets = [wanted - DAY, wanted + DAY].map((near) => wallMillis(near, timeZone) - near);
    const found = offsets.map((offset) => wanted - offset).filter((instant) => wallMillis(instant, timeZone) === wanted);
    return new Date(found.length > 0 ? Math.min(...found) : wanted - offsets[0]).toISOString();
}

/**
 * The start of a day in the person's zone.
 * @param {number} days after the date
 * @param {string} [date] "2026-11-28"; today if none
 * @returns {string} RFC 3339
 */
export function daysLater(days, date) {
    const day = date === undefined ? today(personsZone) : Date.parse(`${date}T00:00:00Z`) / DAY;
    return fromInput(dateOf(day + days), "00:00");
}

/**
 * The date and time of an instant for inputs.
 * @param {Instant} instant
 * @param {string} [timeZone]
 * @returns {{ date: string, time: string }}
 */
export function toInput(instant, timeZone = personsZone) {
    const [date, time] = new Date(wallMillis(instant, timeZone)).toISOString().split("T");
    return { date, time: time.slice(0, 5) };
}

/** The date some days from today, as an input shows it. @param {number} days */
export const date = (days) => dateOf(today(personsZone) + days);

/** That many minutes from now, to a whole second. @param {number} minutes */
export const inMinutes = (minutes) => new Date(Math.ceil(Date.now() / 1_000 + minutes * 60) * 1_000).toISOString();

/** Today 18:00, until then. */
export function evening() {
    const at = fromInput(date(0), "18:00");
    return Date.parse(at) > Date.now() + 60_000 ? at : null;
}

export const tomorrow = () => fromInput(date(1), "09:00");

/** The Monday after today, 09:00. */
export function monday() {
    const days = (8 - new Date(date(0)).getUTCDay()) % 7 || 7;
    return fromInput(date(days), "09:00");
}

/** The instant at which a day begins. @param {string} day "2026-11-28" */
export const startOf = (day) => fromInput(day, "00:00");

/** A duration before the due time: "15 minutes before". @param {string} iso ISO 8601 */
export function duration(iso) {
    const match = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/.exec(iso);
    if (!match) return iso;
    const units = ["week", "day", "hour", "minute", "second"];
    const parts = units.flatMap((unit, index) => {
        const amount = Number(match[index + 1] ?? 0);
        return amount ? [new Intl.NumberFormat(LOCALE, { style: "unit", unit, unitDisplay: "long" }).format(amount)] : [];
    });
    return parts.length > 0 ? text.times.before(new Intl.ListFormat(LOCALE).format(parts)) : text.times.atDue;
}
