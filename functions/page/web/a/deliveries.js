// The messages that were sent to the person, or were not, and why.

import { html, useEffect, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { Button, Empty, ErrorState, Spinner, errorText } from "./controls.js";
import { browserOf, devices } from "./push.js";
import { withTask } from "./route.js";
import { deliveries as text, settings } from "./text-settings.js";
import { clock, day, dayAndClock, exact } from "./times.js";

/** @typedef {import("../api-types").components["schemas"]["Delivery"]} Delivery */
/** @typedef {import("../api-types").components["schemas"]["Task"]} Task */

/** As many tasks can be asked for at a time. */
const PAGE = 50;

export default function Deliveries() {
    const [items, setItems] = useState(/** @type {Delivery[] | null} */ (null));
    const [names, setNames] = useState(/** @type {Record<string, string>} */ ({}));
    const [cursor, setCursor] = useState(/** @type {string | null} */ (null));
    const [error, setError] = useState(/** @type {unknown} */ (null));
    const [busy, setBusy] = useState(false);

    const load = async (/** @type {string | undefined} */ from) => {
        setBusy(true);
        setError(null);
        try {
            const { body } = await request("GET", "/v1/deliveries", { query: { limit: PAGE, cursor: from } });
            const found = await namesOf(body.items);
            setNames((before) => ({ ...before, ...found }));
            setItems((before) => [...(from ? (before ?? []) : []), ...body.items]);
            setCursor(body.next_cursor);
        } catch (failure) {
            setError(failure);
        }
        setBusy(false);
    };
    useEffect(() => void load(undefined), []);

    if (error && !items) return html`<${ErrorState} error=${error} onRetry=${() => load(undefined)} />`;
    if (!items) return html`<${Spinner} />`;
    if (items.length === 0) return html`<${Empty}>${text.empty}<//>`;
    return html`<ul class="lines">
            ${items.map((delivery) => html`<${Line} key=${delivery.id} ...${{ delivery, names }} />`)}
        </ul>
        ${error && html`<p class="hint alert" role="alert">${errorText(error)}</p>`}
        ${cursor && html`<${Button} busy=${busy} onClick=${() => load(cursor)}>${text.more}<//>`}`;
}

/** The titles of the tasks, and the names of the devices, by their ids. @param {Delivery[]} items @returns {Promise<Record<string, string>>} */
async function namesOf(items) {
    const tasks = [...new Set(items.map(({ task_id }) => task_id))];
    const isPushed = items.some(({ target }) => target);
    const [titles, known] = await Promise.all([titlesOf(tasks), isPushed ? devices() : []]);
    return Object.fromEntries([...titles, ...known.map(({ id, endpoint }) => [id, settings.browsers[browserOf(endpoint)]])]);
}

/** @param {string[]} tasks @returns {Promise<[string, string][]>} */
async function titlesOf(tasks) {
    /** @type {[string, string][]} */
    const titles = [];
    // A page of very long tasks ends early.
    for (let cursor; tasks.length > 0 && cursor !== null; ) {
        const { body } = await request("GET", "/v1/tasks", { query: { id: tasks.join(","), cursor } });
        titles.push(...body.items.map((/** @type {Task} */ { id, title }) => [id, title]));
        cursor = body.next_cursor ?? null;
    }
    return titles;
}

/** @param {{ delivery: Delivery, names: Record<string, string> }} props */
function Line({ delivery, names }) {
    const { task_id, reminder_id, channel, target, state, attempts, reason, sent_at, created_at, action, acted_at } = delivery;
    const title = names[task_id];
    const how = channel === "push" ? text.to(names[target ?? ""] ?? text.formerDevice) : text.channel.email;
    const isWrong = state === "failed" || state === "unknown";
    const at = sent_at ?? created_at;
    const more = [attempts > 1 && text.attempts(attempts), action && acted_at && (action === "complete" ? text.completedBy : text.snoozedBy)(dayAndClock(acted_at))];
    return html`<li class="message">
        <p>${title ? html`<a href=${withTask(task_id, reminder_id)} dir="auto">${title}</a>` : html`<a href=${withTask(task_id, reminder_id)}>${text.goneTask}</a>`}</p>
        <time class="hint" datetime=${at} title=${exact(at)}>${day(at)} ${clock(at)}</time>
        <p class=${isWrong ? "hint alert" : "hint"}>${[`${text.state[state] ?? text.state.other} ${how}`, ...more.filter(Boolean)].join(" · ")}${reason && state !== "sent" && html`<br />${reason}`}</p>
    </li>`;
}
