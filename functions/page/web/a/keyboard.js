// The keys of the page.

import { useLayoutEffect, useRef } from "./vendor/preact.js";
import { go, route as present, withTask } from "./route.js";
import { commands, store } from "./store.js";

const TYPED_IN = "input, textarea, select, [contenteditable]";

/**
 * @typedef {object} Actions
 * @property {import("./route.js").Route} route
 * @property {() => void} close closes the panel
 * @property {() => void} onHelp
 * @property {(id: string) => void} onSnooze
 */

/** Single keys act unless the person types, or a dialog or menu is open. @param {Actions} actions */
export function useKeyboard(actions) {
    const latest = useRef(actions);
    latest.current = actions;
    // Not an effect: a key that is pressed as soon as the page is seen would be lost.
    useLayoutEffect(() => {
        const press = (/** @type {KeyboardEvent} */ event) => {
            if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
            if (document.querySelector("dialog[open], [popover]:popover-open")) return;
            const target = /** @type {Element} */ (event.target);
            if (event.key === "Escape" && latest.current.route.task) {
                event.preventDefault();
                latest.current.close();
                return;
            }
            const key = keys[event.key];
            if (!key || target.closest?.(TYPED_IN)) return;
            event.preventDefault();
            key(latest.current);
        };
        addEventListener("keydown", press);
        return () => removeEventListener("keydown", press);
    }, []);
}

/** @type {Record<string, (actions: Actions) => void>} */
const keys = {
    n: () => focusNew(),
    "/": () => focusNow("#search"),
    j: () => moveRow(1),
    k: () => moveRow(-1),
    ArrowDown: () => moveRow(1),
    ArrowUp: () => moveRow(-1),
    x: () => {
        const task = store.get().tasks.get(currentTask())?.task;
        if (task) void (task.completed ? commands.reopen : commands.complete)(task.id).catch(() => {});
    },
    e: () => {
        const id = currentTask();
        if (!id) return;
        go(withTask(id));
        focusSoon(".panel .task-title textarea");
    },
    s: ({ onSnooze }) => {
        const id = currentTask();
        if (id) onSnooze(id);
    },
    z: () => void commands.undoLast().catch(() => {}),
    "?": ({ onHelp }) => onHelp(),
};

/** Goes to the field of a new task, from a view without one to Today. */
export function focusNew() {
    if (focusNow("#new-task")) return;
    go("#/today");
    focusSoon("#new-task");
}

/** @param {string} selector */
function focusNow(selector) {
    const found = /** @type {HTMLElement | null} */ (document.querySelector(selector));
    found?.focus();
    return found !== null;
}

/** Focuses what a change of the route is about to show. @param {string} selector */
function focusSoon(selector, tries = 120) {
    if (!focusNow(selector) && tries > 0) setTimeout(() => focusSoon(selector, tries - 1), 25);
}

const rows = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-row]")]);

/** The row that has the focus, or the open task. */
function currentTask() {
    const focused = /** @type {HTMLElement | null | undefined} */ (document.activeElement?.closest(".row")?.querySelector("[data-row]"));
    return focused?.dataset.row ?? present().task ?? "";
}

/** @param {1 | -1} step */
function moveRow(step) {
    const all = rows();
    const at = all.findIndex((row) => row.dataset.row === currentTask());
    const to = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
    all[to]?.focus();
}
