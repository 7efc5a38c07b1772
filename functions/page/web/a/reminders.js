// The reminders of a task: each with its state, and what can be done with it.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { Button, Field, Menu } from "./controls.js";
import { part } from "./edit.js";
import { Icon } from "./icons.js";
import { Property, useFocusInside } from "./property.js";
import { go, withTask } from "./route.js";
import { commands, useStore } from "./store.js";
import { capital } from "./text.js";
import { task as text } from "./text-task.js";
import { clock, date, dayAndClock, duration, evening, exact, fromInput, monday, toInput, tomorrow } from "./times.js";

const words = text.reminders;

/** @typedef {import("./store.js").Row} Row */
/** @typedef {import("./store.js").Task} Task */
/** @typedef {import("./store.js").Reminder} Reminder */
/** @typedef {import("./store.js").NewReminder} NewReminder */

export const Timeline = part(() => import("./timeline.js"), { styles: ["timeline.css"] });

const SNOOZES = [10, 60];
const CHANNELS = ["email", "push"];

/** @param {{ row: Row, opened: string | undefined }} props `opened`: the id of the reminder whose timeline is shown */
export function Reminders({ row: { task }, opened }) {
    const list = useFocusOfList(task.reminders.length);
    const isFormer = opened && !task.reminders.some(({ id }) => id === opened);
    return html`<section class="reminders">
        <h3>${words.label}</h3>
        <ul ref=${list}>
            ${task.reminders.map((reminder) => html`<${ReminderLine} key=${reminder.id} task=${task} reminder=${reminder} isOpen=${reminder.id === opened} />`)}
            ${isFormer && html`<li class="remind is-open"><p class="remind-line"><${Icon} name="alarm" /><span class="muted">${words.former}</span></p><${Timeline} task=${task} reminder=${{ id: opened }} /></li>`}
        </ul>
        <${Property}
            name="reminder" icon="plus" label=${words.add} add=${words.add} value=${null} disabled=${task.completed}
            editor=${(/** @type {() => void} */ close) => html`<${AddReminder} task=${task} close=${close} />`}
        />
    </section>`;
}

/** Moves the focus to the next reminder when the one that had it is gone. Returns the ref of the list. @param {number} length */
function useFocusOfList(length) {
    const list = useRef(/** @type {HTMLUListElement | null} */ (null));
    const at = useRef(0);
    useEffect(() => {
        const remember = () => {
            const item = document.activeElement?.closest("li.remind");
            if (item && list.current?.contains(item)) at.current = [...list.current.children].indexOf(item);
        };
        list.current?.addEventListener("focusin", remember);
        return () => list.current?.removeEventListener("focusin", remember);
    }, []);
    const before = useRef(length);
    useLayoutEffect(() => {
        const shrank = length < before.current;
        before.current = length;
        if (!shrank || document.activeElement !== document.body) return;
        const next = list.current?.children[Math.min(at.current, length - 1)]?.querySelector("a") ?? list.current?.parentElement?.querySelector("button");
        /** @type {HTMLElement | null | undefined} */ (next)?.focus();
    }, [length]);
    return list;
}

/** What a reminder will do, or has done. @param {Reminder} reminder */
export function stateOf({ state, overdue, channels, cancel_reason }) {
    if (state === "scheduled") return overdue ? words.overdue : words.scheduled(channels);
    if (state === "sent") return words.sent(channels);
    if (state === "failed") return words.failed;
    if (state === "cancelled") return words.cancelled[cancel_reason ?? ""] ?? words.cancelledOther;
    return words.other;
}

/** @param {{ task: Task, reminder: Reminder, isOpen: boolean }} props */
function ReminderLine({ task, reminder, isOpen }) {
    const [until, setUntil] = useState(false);
    const { remind_at: at, before_due: before } = reminder;
    const when = dayAndClock(at);
    const snooze = (/** @type {import("./store.js").Snooze} */ body) => void commands.snooze(task, reminder, body);
    const tonight = evening();
    const items = [
        { heading: words.snooze },
        ...SNOOZES.map((minutes) => ({ label: words.inMinutes(minutes), onSelect: () => snooze({ minutes }) })),
        ...(tonight ? [{ label: words.evening(clock(tonight)), onSelect: () => snooze({ until: tonight }) }] : []),
        { label: words.tomorrow(clock(tomorrow())), onSelect: () => snooze({ until: tomorrow() }) },
        ...(monday() === tomorrow() ? [] : [{ label: words.monday(clock(monday())), onSelect: () => snooze({ until: monday() }) }]),
        { label: words.until, onSelect: () => setUntil(true) },
        /** @type {const} */ ("-"),
        { label: words.sendNow, icon: "send", onSelect: () => void commands.sendNow(task, reminder) },
        { label: reminder.state === "scheduled" ? words.cancel : words.remove, icon: "trash", danger: true, onSelect: () => void commands.cancelReminder(task, reminder) },
    ];
    // The server has not answered yet: there is no timeline, and nothing to do with it.
    const isNew = reminder.version === 0;
    const href = isNew ? undefined : isOpen ? withTask(task.id) : withTask(task.id, reminder.id);
    return html`<li class=${`remind ${reminder.state} ${isOpen ? "is-open" : ""}`}>
        <div class="remind-line">
            <${Icon} name=${{ sent: "send", failed: "warning", cancelled: "close" }[/** @type {string} */ (reminder.state)] ?? "alarm"} />
            <a class="remind-what" href=${href} aria-expanded=${String(isOpen)} onClick=${(/** @type {Event} */ event) => href && replace(event, href)}>
                <span class="unseen">${words.timeline}</span>
                <span>
                    <time datetime=${at} title=${exact(at)}>${capital(when)}</time>
                    ${before && isAtDistance(reminder, task) && html`<span class="muted">, ${duration(before)}</span>`}
                </span>
                <span class="remind-state small">
                    <span class=${reminder.state === "failed" || reminder.overdue ? "alert" : "muted"}>${stateOf(reminder)}</span>
                    ${!isNew && html` · <span class="remind-why">${words.why[/** @type {string} */ (reminder.state)] ?? words.whyOther}</span>`}
                </span>
            </a>
            <span class="remind-open" aria-hidden="true"><${Icon} name="open" /></span>
            ${!task.completed && !isNew && html`<${Menu} icon="more" label=${words.menu(when)} items=${items} align="end" />`}
        </div>
        ${until && html`<${At} label=${words.snoozeUntil} action=${words.snooze} onAt=${(/** @type {string} */ at) => snooze({ until: at })} close=${() => setUntil(false)} />`}
        ${isOpen && html`<${Timeline} task=${task} reminder=${reminder} />`}
    </li>`;
}

/** Opening a timeline is no step that Back should undo. @param {Event} event @param {string} href */
function replace(event, href) {
    const { ctrlKey, metaKey, shiftKey } = /** @type {MouseEvent} */ (event);
    if (ctrlKey || metaKey || shiftKey) return;
    event.preventDefault();
    go(href, { replace: true });
}

/** Whether a reminder is still at its distance to the due time: snoozing leaves it. Days follow the clock of the task's zone. @param {Reminder} reminder @param {Task} task */
function isAtDistance({ remind_at, before_due }, { due_at, time_zone }) {
    const match = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/.exec(before_due ?? "");
    if (!match || !due_at) return false;
    const [weeks, days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0));
    const due = toInput(due_at, time_zone);
    const day = new Date(Date.parse(due.date) - (weeks * 7 + days) * 86_400_000).toISOString().slice(0, 10);
    const planned = Date.parse(fromInput(day, due.time, time_zone)) - ((hours * 60 + minutes) * 60 + seconds) * 1000;
    // An input shows no seconds.
    return Math.abs(planned - Date.parse(remind_at)) < 60_000;
}

/** @param {{ task: Task, close: () => void }} props */
function AddReminder({ task, close }) {
    const me = useStore((state) => state.me);
    const [channels, setChannels] = useState(me?.channels ?? ["email"]);
    const [at, setAt] = useState(!task.due_at);
    const pushes = (me?.vapid_public_keys.length ?? 0) > 0;
    const add = (/** @type {Partial<NewReminder>} */ reminder) => {
        commands.addReminder(task.id, /** @type {NewReminder} */ ({ ...reminder, channels }));
        close();
    };
    const toggle = (/** @type {any} */ channel) => {
        const chosen = CHANNELS.filter((other) => (other === channel) !== channels.includes(/** @type {any} */ (other)));
        if (chosen.length > 0) setChannels(/** @type {typeof channels} */ (chosen));
    };
    return html`<div class="form">
        <fieldset class="chips">
            <legend class="small muted">${words.channels}</legend>
            ${CHANNELS.map((channel) => html`<button
                type="button" class="chip" aria-pressed=${String(channels.includes(/** @type {any} */ (channel)))} disabled=${channel === "push" && !pushes}
                title=${channel === "push" && !pushes ? words.noPush : undefined} onClick=${() => toggle(channel)}
            >
                <${Icon} name=${channel === "push" ? "phone" : "mail"} />${words.channel[channel]}
            </button>`)}
        </fieldset>
        <div class="chips">
            ${task.due_at && words.presets.map(([before_due, label]) => html`<button type="button" class="chip" key=${before_due} onClick=${() => add({ before_due })}>${label}</button>`)}
            ${task.due_at && html`<button type="button" class="chip" aria-expanded=${String(at)} onClick=${() => setAt(!at)}>${words.at}</button>`}
        </div>
        ${at && html`<${At} label=${words.at} action=${words.addAt} onAt=${(/** @type {string} */ instant) => add({ remind_at: instant })} close=${close} />`}
        ${!at && html`<div class="actions"><${Button} kind="quiet" onClick=${close}>${text.cancel}<//></div>`}
    </div>`;
}

/**
 * Asks for an instant.
 * @param {{ label: string, action: string, onAt: (instant: string) => void, close: () => void }} props
 */
function At({ label, action, onAt, close }) {
    const [on, setOn] = useState(date(1));
    const [time, setTime] = useState("09:00");
    const form = useFocusInside();
    const submit = (/** @type {Event} */ event) => {
        event.preventDefault();
        onAt(fromInput(on, time));
        close();
    };
    const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        close();
    };
    return html`<form class="form" ref=${form} aria-label=${label} onSubmit=${submit} onKeyDown=${onKeyDown}>
        <div class="fields">
            <${Field} label=${words.date} type="date" required value=${on} onValue=${setOn} />
            <${Field} label=${words.time} type="time" required value=${time} onValue=${setTime} />
        </div>
        <div class="actions">
            <${Button} kind="primary" type="submit">${action}<//>
            <${Button} kind="quiet" onClick=${close}>${text.cancel}<//>
        </div>
    </form>`;
}
