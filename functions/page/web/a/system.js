// The operator's view: whether the deployment keeps up, and what needs a person.

import { html, useEffect, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { Button, ErrorState, Spinner } from "./controls.js";
import { Letters } from "./letters.js";
import { system as text } from "./text-settings.js";
import { ago, clock, exact, lateness as delay } from "./times.js";

/** @typedef {import("../api-types").components["schemas"]["System"]} State */
/** @typedef {import("../api-types").components["schemas"]["Waiting"]} Waiting */
/** @typedef {import("../api-types").components["schemas"]["Delivery"]} Delivery */
/** @typedef {{ items: Delivery[], next_cursor: string | null }} Messages */

export default function System() {
    const [state, setState] = useState(/** @type {State | null} */ (null));
    const [messages, setMessages] = useState(/** @type {Messages | null} */ (null));
    const [at, setAt] = useState(0);
    const [error, setError] = useState(/** @type {any} */ (null));
    const [busy, setBusy] = useState(false);
    const load = async () => {
        setBusy(true);
        setError(null);
        try {
            const [found, sent] = await Promise.all([request("GET", "/v1/system"), request("GET", "/v1/deliveries", { query: { limit: 100 } })]);
            setState(found.body);
            setMessages(sent.body);
            setAt(Date.now());
        } catch (failure) {
            setError(failure);
        }
        setBusy(false);
    };
    useEffect(() => void load(), []);

    return html`<div class="settings">
        <h1>${text.title}</h1>
        ${error ? html`<${Failure} error=${error} retry=${load} />` : !state && html`<${Spinner} />`}
        ${state &&
        html`<div class="system-verdict">
                <p>${verdict(state)} <span class="muted">${text.at(clock(at))}</span></p>
                <${Button} busy=${busy} onClick=${load}>${text.refresh}<//>
            </div>
            <dl class="facts">
                <${Lateness} lateness=${state.lateness} />
                ${text.parts.map(([key, name, hint]) => html`<${Fact} key=${key} ...${{ name, hint }} waiting=${state[key]} />`)}
                ${messages && html`<${Outcomes} messages=${messages} />`}
            </dl>
            <${Letters} key=${at} />`}
    </div>`;
}

/** To ask again is no use to somebody who may not see it. @param {{ error: any, retry: () => void }} props */
function Failure({ error, retry }) {
    if (error.status !== 403) return html`<${ErrorState} error=${error} onRetry=${retry} />`;
    return html`<${ErrorState} error=${error} /><a class="button" href="#/today">${text.back}</a>`;
}

/** @param {State} state */
function verdict(state) {
    if (state.dead_letters.count > 0) return text.letters(state.dead_letters.count);
    return text.parts.some(([key]) => state[key].count > 0) ? text.behind : text.healthy;
}

/** @param {{ name: string, hint: string, children?: any }} props */
const Line = ({ name, hint, children }) => html`<div class="fact">
    <dt>${name}<span class="hint">${hint}</span></dt>
    <dd>${children}</dd>
</div>`;

/** @param {{ name: string, hint: string, waiting: Waiting }} props */
function Fact({ name, hint, waiting: { count, oldest } }) {
    if (count === 0) return html`<${Line} name=${name} hint=${hint}>${text.nothing}<//>`;
    return html`<${Line} name=${name} hint=${hint}>
        <strong>${text.waiting(count)}</strong>
        ${oldest && html`<br /><time class="hint" datetime=${oldest} title=${exact(oldest)}>${text.oldest(ago(oldest))}</time>`}
    <//>`;
}

/** @param {{ lateness: State["lateness"] }} props */
function Lateness({ lateness: { reminders, median_ms, p99_ms, max_ms } }) {
    const parts = /** @type {const} */ ([
        [text.median, median_ms],
        [text.p99, p99_ms],
        [text.max, max_ms],
    ]);
    return html`<${Line} name=${text.lateness} hint=${text.latenessHint}>
        ${reminders === 0
            ? text.noReminders
            : html`${text.fired(reminders)}
                  <ul class="numbers">
                      ${parts.map(([name, ms]) => html`<li key=${name}><span class="hint">${name}</span> ${delay(ms ?? 0)}</li>`)}
                  </ul>`}
    <//>`;
}

/** @param {{ messages: Messages }} props */
function Outcomes({ messages: { items, next_cursor } }) {
    const counts = Object.entries(text.outcome).map(([state, name]) => ({ name, count: items.filter((item) => item.state === state).length }));
    return html`<${Line} name=${text.outcomes} hint=${text.outcomesHint}>
        ${items.length === 0
            ? text.noMessages
            : html`${text.ofLast(items.length, Boolean(next_cursor))}
                  <ul class="numbers">
                      ${counts.filter(({ count }) => count > 0).map(({ name, count }) => html`<li key=${name}><span class="hint">${name}</span> ${count}</li>`)}
                  </ul>
                  <a href="#/settings?messages">${text.all}</a>`}
    <//>`;
}
