// The filters of a search. The address holds all of them.

import { html, useState } from "./vendor/preact.js";
import { Button, Field, classes } from "./controls.js";
import { date, startOf } from "./presets.js";
import { go, hashOf } from "./route.js";
import { useStore } from "./store.js";
import { text } from "./text.js";
import { day, toInput } from "./times.js";

/** @typedef {import("./route.js").Route} Route */

/** Whether days order the results. @param {Route} route */
export const isByDue = (route) => route.query?.get("sort") === "due_at";

/** @param {{ route: Route, count: number | null, more?: boolean }} props */
export function Filters({ route, count, more }) {
    const tags = useStore((state) => state.tags);
    const [between, setBetween] = useState(false);
    const query = route.query ?? new URLSearchParams();
    const get = (/** @type {string} */ name) => query.get(name) ?? "";
    const set = (/** @type {Record<string, string | null | undefined>} */ change) => {
        const next = new URLSearchParams(query);
        for (const [name, value] of Object.entries(change)) value ? next.set(name, value) : next.delete(name);
        go(hashOf({ view: "search", query: next }), { replace: true });
    };
    const { status, priorities, sorts } = text.search;
    const due = dueOf(query);
    const dues = /** @type {[string, string][]} */ (Object.entries(text.search.dues));
    const tag = get("tag");
    const tagNames = [...new Set([...tags.map(({ name }) => name), ...(tag ? [tag] : [])])];
    const chooseDue = (/** @type {string} */ chosen) => {
        setBetween(chosen === "between");
        if (chosen !== "between") set(dueFilter(chosen));
    };
    const isFiltered = ["status", "priority", "tag", "due_after", "due_before"].some((name) => query.has(name));
    const clear = () => {
        setBetween(false);
        set({ status: null, priority: null, tag: null, due_after: null, due_before: null });
    };
    return html`<div class="filters" role="group" aria-label=${text.search.filters}>
            <${Chip} label=${text.search.statusLabel} value=${get("status")} none=${status.all} options=${[["open", status.open], ["completed", status.completed]]} onValue=${(/** @type {string} */ value) => set({ status: value })} />
            <${Chip} label=${text.search.priorityLabel} value=${get("priority")} none=${text.search.anyPriority} options=${Object.entries(priorities)} onValue=${(/** @type {string} */ value) => set({ priority: value })} />
            <${Chip} label=${text.search.tagLabel} value=${tag} none=${text.search.anyTag} options=${tagNames.map((name) => [name, `#${name}`])} onValue=${(/** @type {string} */ value) => set({ tag: value })} />
            <${Chip} label=${text.search.dueLabel} value=${between ? "between" : due} none=${text.search.anyDue}
                options=${[...dues, ...(due === "custom" ? [["custom", rangeText(query)]] : []), ["between", text.search.between]]} onValue=${chooseDue} />
            <${Chip} label=${text.search.sortLabel} value=${get("sort")} none=${sorts["-created_at"]} isSort=${true}
                options=${Object.entries(sorts).filter(([name]) => name !== "-created_at")} onValue=${(/** @type {string} */ value) => set({ sort: value })} />
            ${isFiltered && html`<${Button} kind="quiet" onClick=${clear}>${text.search.clear}<//>`}
        </div>
        ${between && html`<${Between} query=${query} onApply=${(/** @type {Record<string, string | null>} */ filter) => (set(filter), setBetween(false))} />`}
        ${count !== null && count > 0 && html`<p class="result-count" role="status">${more ? text.list.resultsMore(count) : text.list.results(count)}</p>`}`;
}

/**
 * A filter: a native select, which every device knows how to show.
 * @param {{ label: string, value: string, none: string, options: [string, string][], isSort?: boolean, onValue: (value: string) => void }} props
 */
function Chip({ label, value, none, options, isSort, onValue }) {
    return html`<label class=${classes("chip", value && !isSort && "set")}>
        <span class="unseen">${label}</span>
        <select value=${value} onChange=${(/** @type {any} */ e) => onValue(e.currentTarget.value)}>
            <option value="" selected=${value === ""}>${none}</option>
            ${options.map(([key, shown]) => html`<option key=${key} value=${key} selected=${key === value}>${shown}</option>`)}
        </select>
    </label>`;
}

/** @param {{ query: URLSearchParams, onApply: (filter: Record<string, string | null>) => void }} props */
function Between({ query, onApply }) {
    const { after, before } = daysOf(query);
    const [from, setFrom] = useState(after || date(0));
    const [to, setTo] = useState(before || date(7));
    const apply = (/** @type {Event} */ event) => {
        event.preventDefault();
        onApply({ due_after: from ? justBefore(from) : null, due_before: to ? startOf(next(to)) : null });
    };
    return html`<form class="pick" onSubmit=${apply}>
        <${Field} type="date" label=${text.search.from} value=${from} max=${to} onValue=${setFrom} />
        <${Field} type="date" label=${text.search.to} value=${to} min=${from} onValue=${setTo} />
        <${Button} kind="primary" type="submit">${text.search.apply}<//>
    </form>`;
}

/** `due_after` leaves out its own instant, so it names the last millisecond of the day before. @param {string} day */
const justBefore = (day) => new Date(Date.parse(startOf(day)) - 1).toISOString();

/** @param {string} day */
const next = (day) => new Date(Date.parse(day) + 86_400_000).toISOString().slice(0, 10);

/** @param {string} name @returns {Record<string, string | null>} */
function dueFilter(name) {
    const today = justBefore(date(0));
    /** @type {Record<string, Record<string, string | null>>} */
    const filters = {
        before: { due_after: null, due_before: startOf(date(0)) },
        today: { due_after: today, due_before: startOf(date(1)) },
        week: { due_after: today, due_before: startOf(date(8)) },
        month: { due_after: today, due_before: startOf(date(31)) },
    };
    return filters[name] ?? { due_after: null, due_before: null };
}

/** Which choice the address holds: its name, "custom", or "" for none. @param {URLSearchParams} query */
function dueOf(query) {
    const after = query.get("due_after");
    const before = query.get("due_before");
    if (!after && !before) return "";
    const found = Object.keys(text.search.dues).find((name) => {
        const filter = dueFilter(name);
        return filter.due_after === after && filter.due_before === before;
    });
    return found ?? "custom";
}

/** The first and the last day of the range. @param {URLSearchParams} query */
function daysOf(query) {
    const after = Date.parse(query.get("due_after") ?? "");
    const before = Date.parse(query.get("due_before") ?? "");
    return { after: after ? toInput(after + 1).date : "", before: before ? toInput(before - 1).date : "" };
}

/** @param {URLSearchParams} query */
function rangeText(query) {
    const after = Date.parse(query.get("due_after") ?? "");
    const before = Date.parse(query.get("due_before") ?? "");
    return text.search.range(after ? day(after + 1) : "…", before ? day(before - 1) : "…");
}
