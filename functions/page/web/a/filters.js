// The filters of a search. The address holds all of them.

import { html, useState } from "./vendor/preact.js";
import { Button, Field, classes } from "./controls.js";
import { Icon } from "./icons.js";
import { FILTERS, go, hashOf, isFiltered } from "./route.js";
import { useStore } from "./store.js";
import { capital, text } from "./text.js";
import { search as words } from "./text-search.js";
import { date, day, fromInput } from "./times.js";

/** @typedef {import("./route.js").Route} Route */

/** @param {{ route: Route, count: number | null, more?: boolean }} props */
export default function Filters({ route, count, more }) {
    const tags = useStore((state) => state.tags);
    const [between, setBetween] = useState(false);
    const query = route.query ?? new URLSearchParams();
    const get = (/** @type {string} */ name) => query.get(name) ?? "";
    const set = (/** @type {Record<string, string | null | undefined>} */ change) => {
        const next = new URLSearchParams(query);
        for (const [name, value] of Object.entries(change)) value ? next.set(name, value) : next.delete(name);
        go(hashOf({ view: "search", query: next }), { replace: true });
    };
    const { status, priorities, sorts } = words;
    const due = dueOf(query);
    const dues = /** @type {[string, string][]} */ (Object.entries(words.dues));
    const tag = get("tag");
    const tagNames = [...new Set([...tags.map(({ name }) => name), ...(tag ? [tag] : [])])];
    const chooseDue = (/** @type {string} */ chosen) => {
        setBetween(chosen === "between");
        if (chosen !== "between") set(dueFilter(chosen));
    };
    const clear = () => {
        setBetween(false);
        set(Object.fromEntries(FILTERS.map((name) => [name, null])));
    };
    return html`<div class="filters" role="group" aria-label=${words.filters}>
            <${Chip} label=${words.statusLabel} value=${get("status")} none=${status.all} options=${[["open", status.open], ["completed", status.completed]]} onValue=${(/** @type {string} */ value) => set({ status: value })} />
            <${Chip} label=${words.priorityLabel} value=${get("priority")} none=${words.anyPriority} options=${Object.entries(priorities)} onValue=${(/** @type {string} */ value) => set({ priority: value })} />
            <${Chip} label=${words.tagLabel} value=${tag} none=${words.anyTag} options=${tagNames.map((name) => [name, `#${name}`])} onValue=${(/** @type {string} */ value) => set({ tag: value })} />
            <${Chip} label=${words.dueLabel} value=${between ? "between" : due} none=${words.anyDue}
                options=${[...dues, ...(due === "custom" ? [["custom", rangeText(query)]] : []), ["between", words.between]]} onValue=${chooseDue} />
            <${Chip} label=${words.sortLabel} value=${get("sort")} none=${sorts["-created_at"]} isSort=${true}
                options=${Object.entries(sorts).filter(([name]) => name !== "-created_at")} onValue=${(/** @type {string} */ value) => set({ sort: value })} />
            ${isFiltered(query) && html`<${Button} kind="quiet" onClick=${clear}>${words.clear}<//>`}
        </div>
        ${between && html`<${Between} query=${query} onApply=${(/** @type {Record<string, string | null>} */ filter) => (set(filter), setBetween(false))} />`}
        ${count !== null && count > 0 && html`<p class="result-count" role="status">${more ? text.list.resultsMore(count) : text.list.results(count)}</p>`}`;
}

/**
 * A filter: a native select, which every device knows how to show.
 * @param {{ label: string, value: string, none: string, options: [string, string][], isSort?: boolean, onValue: (value: string) => void }} props
 */
function Chip({ label, value, none, options, isSort, onValue }) {
    return html`<label class=${classes("select chip", value && !isSort && "set")}>
        <span class="unseen">${label}</span>
        <select value=${value} onChange=${(/** @type {any} */ e) => onValue(e.currentTarget.value)}>
            <option value="" selected=${value === ""}>${none}</option>
            ${options.map(([key, shown]) => html`<option key=${key} value=${key} selected=${key === value}>${shown}</option>`)}
        </select>
        <${Icon} name="open" size=${12} />
    </label>`;
}

/** @param {{ query: URLSearchParams, onApply: (filter: Record<string, string | null>) => void }} props */
function Between({ query, onApply }) {
    const [from, setFrom] = useState(query.get("due_after") ?? date(0));
    const [to, setTo] = useState(query.get("due_before") ?? date(7));
    const apply = (/** @type {Event} */ event) => {
        event.preventDefault();
        onApply({ due_after: from || null, due_before: to || null });
    };
    return html`<form class="pick" onSubmit=${apply}>
        <${Field} type="date" label=${words.from} value=${from} max=${to} onValue=${setFrom} />
        <${Field} type="date" label=${words.to} value=${to} min=${from} onValue=${setTo} />
        <${Button} kind="primary" type="submit">${words.apply}<//>
    </form>`;
}

/** The days that a choice names, as the address holds them. @param {string} name @returns {{ due_after: string | null, due_before: string | null }} */
function dueFilter(name) {
    if (name === "before") return { due_after: null, due_before: date(-1) };
    const days = { today: 0, week: 7, month: 30 }[name];
    return days === undefined ? { due_after: null, due_before: null } : { due_after: date(0), due_before: date(days) };
}

/** Which choice the address holds: its name, "custom", or "" for none. @param {URLSearchParams} query */
function dueOf(query) {
    const after = query.get("due_after");
    const before = query.get("due_before");
    if (!after && !before) return "";
    const found = Object.keys(words.dues).find((name) => {
        const filter = dueFilter(name);
        return filter.due_after === after && filter.due_before === before;
    });
    return found ?? "custom";
}

/** @param {URLSearchParams} query */
function rangeText(query) {
    const shown = (/** @type {string | null} */ given) => (given ? day(/^\d{4}-\d{2}-\d{2}$/.test(given) ? fromInput(given, "12:00") : given) : "…");
    return capital(words.range(shown(query.get("due_after")), shown(query.get("due_before"))));
}
