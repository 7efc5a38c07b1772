// What people see before they are signed in.

import { html, useRef, useState } from "./vendor/preact.js";
import { Button, Field, errorText } from "./controls.js";
import { meta } from "./given.js";
import { Icon } from "./icons.js";
import { signIn, signInWithToken, useSession } from "./session.js";
import { text } from "./text.js";

const words = text.session;

export default function SignIn() {
    const { reason } = useSession();
    const [leaving, setLeaving] = useState(false);
    const leave = async () => {
        setLeaving(true);
        await signIn();
        // The page is left, unless the provider cannot be reached.
        setTimeout(setLeaving, 3000, false);
    };
    return html`<main class="sign-in">
        <div class="sign-in-what">
            <h1>${words.name}</h1>
            <p class="sign-in-sentence">${words.what}</p>
            ${reason && html`<p class="sign-in-reason" role="alert"><${Icon} name="warning" /><span>${reason}</span></p>`}
            ${meta.issuer
                ? html`<${Button} kind="primary" busy=${leaving} onClick=${leave}>${leaving ? words.signingIn : words.signIn}<//>
                      <details>
                          <summary>${words.useToken}</summary>
                          <${WithToken} />
                      </details>`
                : html`<${WithToken} isOnly />`}
        </div>
        <${Example} />
    </main>`;
}

/** @param {{ isOnly?: boolean }} props */
function WithToken({ isOnly }) {
    const [token, setToken] = useState("");
    const [error, setError] = useState("");
    const [busy, setBusy] = useState(false);
    const input = useRef(/** @type {HTMLInputElement | null} */ (null));
    const submit = async (/** @type {Event} */ event) => {
        event.preventDefault();
        setBusy(true);
        try {
            await signInWithToken(token);
        } catch (failure) {
            setError(errorText(failure));
            setBusy(false);
            input.current?.focus();
        }
    };
    const type = (/** @type {string} */ value) => {
        setToken(value);
        setError("");
    };
    // A password manager must not keep it, and nobody beside the person should read it.
    return html`<form onSubmit=${submit}>
        <${Field} label=${words.token} hint=${words.tokenHint} error=${error} type="password" autocomplete="off" spellcheck=${false} required
            value=${token} onValue=${type} inputRef=${input} />
        <${Button} kind=${isOnly ? "primary" : undefined} type="submit" busy=${busy}>${busy ? words.signingIn : words.signIn}<//>
    </form>`;
}

/** What Punctual has that nothing else does, in a few lines. */
function Example() {
    const { label, task, due, steps } = words.example;
    return html`<figure class="sign-in-example" aria-label=${label}>
        <p class="sign-in-task"><span class="sign-in-circle"></span><span>${task}</span><span class="muted">${due}</span></p>
        <ol>
            ${steps.map(([step, detail]) => html`<li><span>${step}</span> ${detail}</li>`)}
        </ol>
    </figure>`;
}
