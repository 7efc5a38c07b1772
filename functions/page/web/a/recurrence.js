// How a task repeats: the form, and the next dates with the reason for each shift.

import { html, useEffect, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { Button, Field, Select, TextArea } from "./controls.js";
import { reasonOf } from "./edit.js";
import { WEEKDAYS, patternOf, recurrenceOf } from "./rule.js";
import { commands } from "./store.js";
import { capital } from "./text.js";
import { task as text } from "./text-task.js";
import { clock, exact, toInput } from "./times.js";

const words = text.repeat;

/** @typedef {import("./store.js").Row} Row */
/** @typedef {import("./store.js").Task} Task */
/** @typedef {import("./rule.js").Recurrence} Recurrence */
/** @typedef {import("./rule.js").Pattern} Pattern */
/** @typedef {import("../api-types").components["schemas"]["PlannedDate"]} PlannedDate */

const DATES = 5;
/** How long the form waits for the next keystroke before it asks for the dates. */
const PAUSE = 250;

const BY_RULE = "rule";
const DEFAULT_TIMES = 10;
const A_YEAR = 365 * 86_400_000;

/** @param {{ row: Row, close: () => void }} props */
export default function RecurrenceForm({ row: { task }, close }) {
    const due = task.due_at ?? "";
    const [pattern, setPattern] = useState(
        () => (task.recurrence && patternOf(task.recurrence)) ?? /** @type {Pattern} */ ({ frequency: "WEEKLY", interval: 1, on: "", count: 0, until: "", anchor: task.recurrence?.anchor ?? "due" }),
    );
    const [byRule, setByRule] = useState(() => task.recurrence?.type === "custom" && !patternOf(task.recurrence));
    const [rule, setRule] = useState(task.recurrence?.rule ?? "");
    const change = (/** @type {Partial<Pattern>} */ part) => setPattern({ ...pattern, ...part });
    const recurrence = /** @type {Recurrence} */ (
        byRule ? { type: "custom", interval: 1, rule: rule.trim(), anchor: pattern.anchor } : recurrenceOf(pattern, due, task.time_zone)
    );

    const chooseUnit = (/** @type {string} */ unit) => {
        setByRule(unit === BY_RULE);
        if (unit !== BY_RULE) return change({ frequency: /** @type {Pattern["frequency"]} */ (unit), on: "" });
        if (!rule) setRule(recurrenceOf(pattern, due, task.time_zone).rule ?? `FREQ=${pattern.frequency}`);
    };
    const chooseEnd = (/** @type {string} */ end) =>
        change({ count: end === "count" ? DEFAULT_TIMES : 0, until: end === "until" ? toInput(Date.parse(due) + A_YEAR, task.time_zone).date : "" });
    const submit = (/** @type {Event} */ event) => {
        event.preventDefault();
        commands.change(task.id, { recurrence });
        close();
    };
    const stop = () => {
        commands.change(task.id, { recurrence: null });
        close();
    };
    const { frequency, interval, count, until, anchor } = pattern;
    const units = Object.entries(words.units).map(([unit, word]) => /** @type {[string, string]} */ ([unit, interval === 1 ? word : `${word}s`]));
    const end = count ? "count" : until ? "until" : "";
    /** @type {[string, string][]} */
    const ends = [["", words.never], ...(anchor === "due" ? [/** @type {[string, string]} */ (["count", words.afterTimes])] : []), ["until", words.onDate]];
    return html`<form class="form" onSubmit=${submit}>
        <div class="fields">
            ${!byRule && html`<${Field} label=${words.everyLabel} type="number" min="1" max="999" required value=${interval} onValue=${(/** @type {string} */ value) => change({ interval: Number(value) || 1 })} />`}
            <${Select} label=${byRule ? words.label : words.unitLabel} value=${byRule ? BY_RULE : frequency} onValue=${chooseUnit} options=${[...units, [BY_RULE, words.byRuleOption]]} />
        </div>
        ${byRule && html`<${TextArea} label=${words.rule} class="rule" rows="2" value=${rule} spellcheck=${false} hint=${words.ruleHint} onValue=${setRule} />`}
        ${!byRule && frequency === "WEEKLY" && html`<${Weekdays} on=${pattern.on} due=${due} zone=${task.time_zone} onChange=${(/** @type {string} */ on) => change({ on })} />`}
        ${!byRule && frequency === "MONTHLY" && html`<${Select} label=${words.onLabel} value=${pattern.on} onValue=${(/** @type {string} */ on) => change({ on })} options=${monthDays(due, task.time_zone, pattern.on)} />`}
        <div class="fields">
            ${!byRule && html`<${Select} label=${words.ends} value=${end} onValue=${chooseEnd} options=${ends} />`}
            ${!byRule && count > 0 && html`<${Field} label=${words.timesLabel} type="number" min="1" max="9999" required value=${count} onValue=${(/** @type {string} */ value) => change({ count: Number(value) || 1 })} />`}
            ${!byRule && until && html`<${Field} label=${words.lastDate} type="date" required value=${until} onValue=${(/** @type {string} */ value) => value && change({ until: value })} />`}
            <${Select} label=${words.anchorLabel} value=${anchor} options=${Object.entries(words.anchorOptions)} onValue=${(/** @type {any} */ value) => change({ anchor: value, count: value === "due" ? count : 0 })} />
        </div>
        <${NextDates} recurrence=${recurrence} task=${task} />
        <div class="actions">
            <${Button} kind="primary" type="submit">${text.save}<//>
            <div class="rest">
                <${Button} kind="quiet" onClick=${close}>${text.cancel}<//>
                ${task.recurrence && html`<${Button} kind="quiet" class="last" onClick=${stop}>${words.stop}<//>`}
            </div>
        </div>
    </form>`;
}

/** @param {{ on: string, due: string, zone: string, onChange: (on: string) => void }} props */
function Weekdays({ on, due, zone, onChange }) {
    const own = WEEKDAYS[(new Date(toInput(due, zone).date).getUTCDay() + 6) % 7];
    const chosen = on ? on.slice("BYDAY=".length).split(",") : [own];
    const toggle = (/** @type {string} */ name) => {
        const names = WEEKDAYS.filter((other) => (other === name) !== chosen.includes(other));
        if (names.length > 0) onChange(names.join() === own ? "" : `BYDAY=${names}`);
    };
    return html`<fieldset class="chips weekdays">
        <legend class="unseen">${words.onLabel}</legend>
        ${WEEKDAYS.map((name) => html`<button type="button" class="chip" aria-pressed=${String(chosen.includes(name))} aria-label=${words.weekdays[name]} onClick=${() => toggle(name)}>
            ${words.weekdays[name].slice(0, 2)}
        </button>`)}
    </fieldset>`;
}

/** The days of a month that one can mean by a due time, and the one that is chosen. @param {string} due @param {string} zone @param {string} chosen @returns {[string, string][]} */
function monthDays(due, zone, chosen) {
    const { date } = toInput(due, zone);
    const at = Number(date.slice(8));
    const weekday = WEEKDAYS[(new Date(date).getUTCDay() + 6) % 7];
    const nth = Math.ceil(at / 7);
    /** @type {[string, string][]} */
    const options = [
        ["", words.on(words.dayOrLast(at))],
        ["BYMONTHDAY=-1", words.on(words.lastDay)],
        [`BYDAY=${nth}${weekday}`, words.on(words.nth(nth, words.weekdays[weekday]))],
        [`BYDAY=-1${weekday}`, words.on(words.nth(-1, words.weekdays[weekday]))],
        ["BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1", words.on(words.nth(1, words.workday))],
        ["BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", words.on(words.nth(-1, words.workday))],
    ];
    return options.some(([value]) => value === chosen) ? options : [[chosen, words.asBefore], ...options];
}

/**
 * The next dates of a recurrence, each with the reason for a shift.
 * @param {{ recurrence: Recurrence, task: Task, waits?: boolean }} props `waits`: the task will change
 */
export function NextDates({ recurrence, task, waits = false }) {
    const [shown, show] = useState(/** @type {{ items: PlannedDate[], problem?: any } | null} */ (null));
    const saved = recurrence === task.recurrence;
    const about = JSON.stringify([recurrence, task.due_at, task.time_zone, saved && task.next_occurrence_at]);
    useEffect(() => {
        if (waits) return;
        const abort = new AbortController();
        const ask = () =>
            datesOf(recurrence, task, saved, abort.signal).then(
                (items) => show({ items }),
                (problem) => abort.signal.aborted || show({ items: [], problem }),
            );
        const timer = setTimeout(ask, shown ? PAUSE : 0);
        return () => {
            clearTimeout(timer);
            abort.abort();
        };
    }, [about, waits]);
    if (shown?.problem) return html`<p class="dates small alert" role="alert">${reasonOf(shown.problem)}</p>`;
    return html`<div class="dates small">
        <ol aria-label=${words.next}>
            ${shown?.items.map((date) => html`<li class=${date.due_at ? "" : "muted"}><${PlannedTime} date=${date} zone=${task.time_zone} /></li>`)}
        </ol>
        ${shown?.items.length === 0 && html`<p class="muted">${words.lastOne}</p>`}
        ${recurrence.anchor === "completion" && html`<p class="muted">${words.ifOnTime}</p>`}
    </div>`;
}

/**
 * Asks for the dates after a task. The series of a saved recurrence may not go through the due time: this occurrence was moved, or a short
 * month has shortened it. Then it goes on from the next occurrence, which the server knows.
 * @param {Recurrence} recurrence
 * @param {Task} task
 * @param {boolean} saved
 * @param {AbortSignal} signal
 * @returns {Promise<PlannedDate[]>}
 */
async function datesOf(recurrence, { due_at, time_zone, next_occurrence_at, completed }, saved, signal) {
    if (saved && !next_occurrence_at && !completed) return [];
    const ask = async (/** @type {string | null | undefined} */ from, /** @type {number} */ count) =>
        (await request("POST", "/v1/recurrence/preview", { body: { recurrence, due_at: from, time_zone, count }, signal })).body.items;
    /** @type {PlannedDate[]} */
    const items = await ask(due_at, DATES);
    const first = items.find((date) => date.due_at)?.due_at;
    if (!saved || recurrence.anchor !== "due" || !next_occurrence_at || !first || Date.parse(first) === Date.parse(next_occurrence_at)) return items;
    const { date, time } = toInput(next_occurrence_at, time_zone);
    return [{ named: `${date}T${time}:00`, due_at: next_occurrence_at, local: null, reasons: [] }, ...(await ask(next_occurrence_at, DATES - 1))];
}

/** A date with its weekday, and its year if that is another one. @param {string | number} instant @param {string} timeZone */
function dateOf(instant, timeZone) {
    const isThisYear = toInput(instant, timeZone).date.slice(0, 4) === toInput(Date.now(), timeZone).date.slice(0, 4);
    const options = /** @type {const} */ ({ weekday: "short", day: "numeric", month: "short", year: isThisYear ? undefined : "numeric", timeZone });
    return new Intl.DateTimeFormat([...navigator.languages], options).format(new Date(instant)).replaceAll(",", "");
}

/** @param {{ date: PlannedDate, zone: string }} props */
function PlannedTime({ date: { named, due_at, reasons }, zone }) {
    const { reasons: say } = words;
    const [year, month, last] = named.slice(0, 10).split("-").map(Number);
    const instant = Date.UTC(year, month - 1, last);
    const monthName = new Intl.DateTimeFormat("en", { month: "long", timeZone: "UTC" }).format(Date.UTC(year, month - 1, 1));
    const time = clock(`1970-01-01T${named.slice(11)}Z`, "UTC");
    const night = Number(named.slice(11, 13)) < 6;
    /** @type {Record<string, string>} */
    const says = {
        gap: say.gap(time, night),
        fold: say.fold(time, night),
        month_end: due_at ? say.lastDay(monthName, last) : say.leftOut(monthName, last),
        count: say.count,
        until: say.until,
    };
    const why = reasons.map((reason) => says[reason] ?? reason).join("; ");
    const exists = new Date(instant).getUTCDate() === last;
    const shown = due_at
        ? html`<time datetime=${due_at} title=${exact(due_at, zone)}>${dateOf(due_at, zone)} ${clock(due_at, zone)}</time>`
        : exists && html`<s>${dateOf(instant, "UTC")}</s>`;
    return html`${shown}${why && html`<span class="why">${shown ? `: ${why}` : capital(why)}</span>`}`;
}
