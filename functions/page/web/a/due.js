// When a task is due: date, time and zone.

import { html, useState } from "./vendor/preact.js";
import { Button, Field, useId } from "./controls.js";
import { Outcome } from "./edit.js";
import { Property } from "./property.js";
import { commands } from "./store.js";
import { capital } from "./text.js";
import { task as text } from "./text-task.js";
import { date, day, dayAndClock, exact, fromInput, isZone, monday, startOf, toInput, zone as ownZone } from "./times.js";

const words = text.due;

/** @typedef {import("./store.js").Row} Row */

const MORNING = "09:00";

/** The due time of a task. @param {{ row: Row }} props */
export function Due({ row }) {
    const { task } = row;
    const late = task.due_at && !task.completed && Date.parse(task.due_at) < Date.now();
    const elsewhere = task.due_at && task.time_zone !== ownZone() && words.there(dayAndClock(task.due_at, task.time_zone), task.time_zone);
    const shown = task.due_at && html`<time datetime=${task.due_at} title=${exact(task.due_at)} class=${late && "late"}>
            ${late ? words.overdue(dayAndClock(task.due_at)) : capital(dayAndClock(task.due_at))}</time
        >${elsewhere && html`<span class="small muted"> ${elsewhere}</span>`}`;
    return html`<${Property}
        name="due" icon="calendar" label=${words.label} value=${shown} add=${words.add}
        editor=${(/** @type {() => void} */ close) => html`<${DueForm} row=${row} close=${close} />`}
    >
        <${Outcome} row=${row} fields=${["due_at", "time_zone"]} say=${(/** @type {any} */ mine) => (mine.due_at ? dayAndClock(mine.due_at) : mine.due_at === null ? words.none : mine.time_zone)} />
    <//>`;
}

/** @param {{ row: Row, close: () => void }} props */
function DueForm({ row: { task }, close }) {
    const [zone, setZone] = useState(task.time_zone || ownZone());
    const [{ on, time }, setWhen] = useState(() => {
        const due = task.due_at ? toInput(task.due_at, zone) : { date: date(0), time: MORNING };
        return { on: due.date, time: due.time };
    });
    const before = task.due_at ? toInput(task.due_at, task.time_zone) : null;
    const moves = zone !== task.time_zone || on !== before?.date || time !== before.time;
    const valid = on && time && isZone(zone);
    const zones = useId();

    const save = (/** @type {"this" | "following"} */ scope) => {
        // An input shows no seconds: a due time that stays keeps its own.
        const patch = moves ? { due_at: fromInput(on, time, zone), time_zone: zone } : { due_at: task.due_at };
        if (moves || scope === "following") commands.change(task.id, patch, { scope: task.recurrence ? scope : undefined });
        close();
    };
    const remove = () => {
        commands.change(task.id, task.recurrence ? { due_at: null, recurrence: null } : { due_at: null });
        close();
    };
    const submit = (/** @type {Event} */ event) => {
        event.preventDefault();
        if (valid) save("this");
    };
    /** @type {[string, string][]} */
    const days = [
        [date(0), capital(day(startOf(date(0))))],
        [date(1), capital(day(startOf(date(1))))],
        ...(toInput(monday()).date === date(1) ? [] : [/** @type {[string, string]} */ ([toInput(monday()).date, words.nextMonday])]),
    ];
    return html`<form class="form" onSubmit=${submit}>
        <div class="chips">
            ${days.map(([value, name]) => html`<button type="button" class="chip" aria-pressed=${String(value === on)} onClick=${() => setWhen({ on: value, time })}>${name}</button>`)}
        </div>
        <div class="fields">
            <${Field} label=${words.date} type="date" value=${on} min="1970-01-01" max="9999-12-30" required onValue=${(/** @type {string} */ value) => setWhen({ on: value, time })} />
            <${Field} label=${words.time} type="time" value=${time} required onValue=${(/** @type {string} */ value) => setWhen({ on, time: value })} />
        </div>
        <${Field} label=${words.zone} value=${zone} list=${zones} spellcheck=${false} autocapitalize="off" onValue=${setZone} error=${!isZone(zone) && words.unknownZone} hint=${clockMoves(on, time, zone)} />
        <datalist id=${zones}>${Intl.supportedValuesOf("timeZone").map((name) => html`<option value=${name} />`)}</datalist>
        <div class="actions">
            <${Button} kind="primary" type="submit" disabled=${!valid}>${task.recurrence ? words.saveThis : text.save}<//>
            ${task.recurrence && html`<${Button} disabled=${!valid} onClick=${() => save("following")}>${words.saveFollowing}<//>`}
            <div class="rest">
                <${Button} kind="quiet" onClick=${close}>${text.cancel}<//>
                ${task.due_at && html`<${Button} kind="quiet" class="last" onClick=${remove}>${task.recurrence ? words.removeBoth : words.remove}<//>`}
            </div>
        </div>
    </form>`;
}

/** Says so if the clocks of the zone skip the time that is entered. @param {string} date @param {string} time @param {string} zone */
function clockMoves(date, time, zone) {
    if (!date || !time || !isZone(zone)) return null;
    const shown = toInput(fromInput(date, time, zone), zone).time;
    return shown !== time && words.skipped(time, shown);
}
