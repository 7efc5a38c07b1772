// The entry of the page.

import { html, render } from "./vendor/preact.js";
import { start, useSession } from "./session.js";
import Shell from "./shell.js";
import SignIn from "./sign-in.js";

function App() {
    const { state } = useSession();
    if (state === "starting") return null;
    return state === "signed-in" ? html`<${Shell} />` : html`<${SignIn} />`;
}

await start();
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app") ?? document.body));
