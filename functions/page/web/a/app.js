// The entry of the page. What the address brought is taken out of it first.

import "./given.js";
import { html, render, useErrorBoundary, useLayoutEffect } from "./vendor/preact.js";
import { Button } from "./controls.js";
import { later, quiet } from "./later.js";
import { loadAgain, loaded } from "./paint.js";
import { route, useRoute } from "./route.js";
import { start, useSession } from "./session.js";
import { follow } from "./store.js";
import { text } from "./text.js";

const WORKER_AFTER = 2_000;
const SignIn = later(() => import("./sign-in.js"), { styles: ["sign-in.css"] });
const Act = later(() => import("./act.js"), { styles: ["settings.css"] });

function App() {
    const { state } = useSession();
    const { view, capability } = useRoute();
    const [error] = useErrorBoundary((failure) => console.error(failure));
    // The frame of the lists (index.html) goes when something else is there.
    useLayoutEffect(() => void ((error || state !== "starting" || view === "act") && document.getElementById("frame")?.remove()));
    if (error) return html`<main class="alone"><p>${text.shell.broken}</p><${Button} onClick=${() => location.reload()}>${text.shell.reload}<//></main>`;
    if (state === "signed-in") return html`<${Shell} />`;
    if (view === "act") return html`<main class="alone"><${Act} capability=${capability} /></main>`;
    return state === "signed-out" && html`<${SignIn} />`;
}

// The first list is asked for while the views are still on their way. Loading the page again before the session is kept would lose what the address brought.
const views = import("./shell.js").catch(() => started.then(loadAgain));
follow(views);
const started = start();
const { default: Shell } = await views;
loaded();
// A link in a mail acts without a session.
if (route().view !== "act") await started;
// In a task of its own: a slow phone can answer a tap before it.
await new Promise((next) => setTimeout(next));
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
await started;
// A session may end without a network.
void quiet.then(() => SignIn.preload()).catch(() => {});
const register = () => void import("./worker.js").then((worker) => worker.start()).catch(() => {});
// Not before the page has shown something, and for the first time only where its file can be fetched.
setTimeout(() => (navigator.onLine || navigator.serviceWorker?.controller ? register() : addEventListener("online", register, { once: true })), WORKER_AFTER);
