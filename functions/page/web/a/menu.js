// A button that opens a menu. The menu is a native popover, so that no scrolling panel cuts it off.
import { html, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { Icon } from "./icons.js";

/**
 * `checked` makes an item one of a group of choices; `"-"` is a line; an item with only `heading` is a caption.
 * @typedef {{ label: any, icon?: string, onSelect: () => void, danger?: boolean, checked?: boolean, disabled?: boolean }} Item
 * @typedef {(Item | { heading: any } | "-")[]} Items
 */

/**
 * @param {{ label?: string, title?: string, class?: string, icon?: string, children?: any,
 *   items: Items, align?: "start" | "end", [attribute: string]: any }} props
 *   `label` names a button that has only an icon; `children` are the button's visible content.
 */
export function Menu({ label, class: extra = "icon-button", icon, children, items, align = "start", ...rest }) {
    const [open, setOpen] = useState(false);
    const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
    const list = useRef(/** @type {HTMLDivElement | null} */ (null));

    useLayoutEffect(() => {
        const menu = list.current;
        if (!open || !menu || !button.current) return;
        menu.showPopover();
        place(menu, button.current.getBoundingClientRect(), align);
        const first = /** @type {HTMLElement | null} */ (menu.querySelector('[aria-checked="true"], [role^="menuitem"]:not(:disabled)'));
        first?.focus({ preventScroll: true });
        const gone = () => setOpen(false);
        addEventListener("resize", gone);
        return () => removeEventListener("resize", gone);
    }, [open]);

    const choose = (/** @type {Item} */ item) => {
        setOpen(false);
        button.current?.focus();
        item.onSelect();
    };
    return html`<button
            type="button"
            ref=${button}
            class=${extra}
            aria-haspopup="menu"
            aria-expanded=${String(open)}
            aria-label=${label}
            title=${label}
            onClick=${() => setOpen(!open)}
            ...${rest}
        >
            ${icon && html`<${Icon} name=${icon} />`}${children}
        </button>
        ${open &&
        html`<div
            ref=${list}
            class="menu"
            role="menu"
            popover="auto"
            onKeyDown=${(/** @type {KeyboardEvent} */ e) => move(e, () => (setOpen(false), button.current?.focus()))}
            onToggle=${(/** @type {any} */ e) => e.newState === "closed" && setOpen(false)}
        >
            ${items.map((item) => {
                if (item === "-") return html`<hr />`;
                if ("heading" in item) return html`<div class="heading">${item.heading}</div>`;
                const choice = item.checked !== undefined;
                return html`<button
                    type="button"
                    role=${choice ? "menuitemradio" : "menuitem"}
                    aria-checked=${choice ? String(item.checked) : undefined}
                    tabindex="-1"
                    disabled=${item.disabled}
                    class=${item.danger && "danger"}
                    onClick=${() => choose(item)}
                >
                    ${(choice || item.icon) && html`<span class="mark">${(item.icon || item.checked) && html`<${Icon} name=${item.icon ?? "check"} />`}</span>`}
                    <span>${item.label}</span>
                </button>`;
            })}
        </div>`}`;
}

/** @param {HTMLElement} menu @param {DOMRect} at @param {"start" | "end"} align */
function place(menu, at, align) {
    const margin = 8;
    const { offsetWidth: width, offsetHeight: height } = menu;
    const below = at.bottom + 4;
    const top = below + height + margin > innerHeight ? Math.max(margin, at.top - height - 4) : below;
    const left = align === "end" ? at.right - width : at.left;
    menu.style.top = `${top}px`;
    menu.style.left = `${Math.min(Math.max(margin, left), innerWidth - width - margin)}px`;
}

/** Arrow keys, Home and End move; Tab and Escape close. @param {KeyboardEvent} event @param {() => void} close */
function move(event, close) {
    const menu = /** @type {HTMLElement} */ (event.currentTarget);
    const items = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll('[role^="menuitem"]:not(:disabled)')]);
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    event.stopPropagation();
    if (event.key === "Escape" || event.key === "Tab") {
        event.preventDefault();
        close();
    } else if (to !== undefined) {
        event.preventDefault();
        items[(to + items.length) % items.length]?.focus();
    }
}
