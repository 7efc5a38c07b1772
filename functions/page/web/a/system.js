// The operator's view: whether the deployment keeps up, and what needs a person.

import { html, useEffect, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { Button, ErrorState, Spinner } from "./controls.js";
import { Letters } from "./letters.js";
import { system as text } from "./text-settings.js";
import { ago, clock, exact, lateness as delay } from "./times.js";

/** @typedef {import("../api-types").components["schemas"]["System"]} State */
/** @typedef {import("../api-types").components["schemas"]["Waiting"]} Waiting */

export default function System() {
    const [state, setState] = useState(/** @type {State | null} */ (null));
    const [at, setAt] = useState(0);
    const [error, setError] = useState(/** @type {any} */ (null));
    const [busy, setBusy] = useState(false);
    const load = async () => {
        setBusy(true);
        setError(null);
        try {
            setState((await request("GET", "/v1/system")).body);
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
            <${Parts} key=${at} state=${state} />`}
    </div>`;
}

/** What needs a person comes first. @param {{ state: State }} props */
function Parts({ state }) {
    const letters = html`<${Letters} />`;
    const facts = html`<dl class="facts">
        <${Lateness} lateness=${state.lateness} />
        <${Outcomes} outcomes=${state.deliveries} />
        <${GivenUp} given=${state.deliveries_given_up} />
        ${text.parts.map(([key, name, hint]) => html`<${Fact} key=${key} ...${{ name, hint }} waiting=${state[key]} />`)}
    </dl>`;
    return state.dead_letters.count > 0 ? [letters, facts] : [facts, letters];
}

/** To ask again is no use to somebody who may not see it. @param {{ error: any, retry: () => void }} props */
function Failure({ error, retry }) {
    if (error.status !== 403) return html`<${ErrorState} error=${error} onRetry=${retry} />`;
    return html`<${ErrorState} error=${error} /><a class="button" href="#/today">${text.back}</a>`;
}

/** @param {State} state */
function verdict(state) {
    if (state.dead_letters.count > 0) return text.letters(state.dead_letters.count);
    if (text.parts.some(([key]) => state[key].count > 0)) return text.behind;
    return state.deliveries_given_up.count > 0 ? text.gaveUp(state.deliveries_given_up.count) : text.healthy;
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
        ${oldest && html`<br /><${Oldest} at=${oldest} />`}
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
                  <${Numbers} numbers=${parts.map(([name, ms]) => [name, delay(ms ?? 0)])} />`}
    <//>`;
}

/** @param {{ outcomes: State["deliveries"] }} props */
function Outcomes({ outcomes }) {
    const counts = text.outcome.map(([key, name]) => ({ name, count: outcomes[key] })).filter(({ count }) => count > 0);
    return html`<${Line} name=${text.outcomes} hint=${text.outcomesHint}>
        ${counts.length === 0 ? text.none : html`<${Numbers} numbers=${counts.map(({ name, count }) => [name, text.number(count)])} />`}
    <//>`;
}

/** @param {{ given: State["deliveries_given_up"] }} props */
function GivenUp({ given: { count, oldest, reasons } }) {
    if (count === 0) return html`<${Line} name=${text.givenUp} hint=${text.givenUpHint}>${text.none}<//>`;
    return html`<${Line} name=${text.givenUp} hint=${text.givenUpHint}>
        <strong>${text.messages(count)}</strong>
        ${oldest && html`<br /><${Oldest} at=${oldest} />`}
        <${Numbers} numbers=${reasons.map(({ state, reason, count }) => [text.why(state, reason ?? null), text.number(count)])} />
    <//>`;
}

/** @param {{ at: string }} props */
const Oldest = ({ at }) => html`<time class="hint" datetime=${at} title=${exact(at)}>${text.oldest(ago(at))}</time>`;

/** @param {{ numbers: [string, string][] }} props */
const Numbers = ({ numbers }) => html`<ul class="numbers">
    ${numbers.map(([name, number]) => html`<li key=${name}><span class="hint">${name}</span> ${number}</li>`)}
</ul>`;
