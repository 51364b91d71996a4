/** What a person does outside the app: at BankID, at their bank, before Sumsub's camera. */
import assert from "node:assert/strict";
import { DropError } from "../src/index.js";

const sandbox = process.env["DROP_SANDBOX"] ?? "http://127.0.0.1:9100";

/** Waits where the service asks to: an address has ten logins a minute, and all programs here are at the same. */
export async function patiently<T>(step: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof DropError && error.code === "rate_limited")) throw error;
      await sleep(error.retryAfter ?? 1);
    }
  }
}

const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Signs in on the device's browser; the link that the app is opened with. */
export async function signsIn(authorizationUrl: string, person: string): Promise<URL> {
  const back = await redirect(fetch(`${authorizationUrl}&person=${person}`, { redirect: "manual" }));
  for (;;) {
    const answer = await fetch(back, { redirect: "manual", headers: { Accept: "text/html" } });
    if (answer.status !== 429) return redirect(answer);
    await sleep(Number(answer.headers.get("Retry-After")));
  }
}

/** Approves on the bank's page and comes back. */
export async function approves(scaRedirect: string | undefined): Promise<void> {
  assert.ok(scaRedirect, "the bank's page is not there");
  const body = new URLSearchParams({ decision: "approve" });
  const back = await redirect(fetch(scaRedirect, { method: "POST", body, redirect: "manual" }));
  const shown = await fetch(back, { headers: { Accept: "application/json" } });
  assert.ok(shown.ok, `${shown.status}`);
}

/** Sumsub finds the person genuine. */
export async function isVerified(user: string): Promise<void> {
  const body = JSON.stringify({ reviews: [{ externalUserId: user, answer: "GREEN" }] });
  const reviewed = await fetch(`${sandbox}/control/sumsub/reviews`, { method: "POST", body });
  assert.ok(reviewed.ok, `${reviewed.status}`);
}

/** A `fetch` whose first stream breaks after its first event; notes the `Last-Event-ID` of each. */
export function cutAfterFirst(opened: (string | null)[]): typeof fetch {
  return async (input, init) => {
    opened.push(new Headers(init?.headers).get("Last-Event-ID"));
    const response = await fetch(input, init);
    if (opened.length > 1 || response.body === null) return response;
    const reader = response.body.getReader();
    let text = "";
    const cut = new ReadableStream<Uint8Array>({
      async pull(controller) {
        if (text.includes("\n\n")) {
          await reader.cancel();
          controller.error(new TypeError("the connection was lost"));
          return;
        }
        const { value } = await reader.read();
        text += new TextDecoder().decode(value);
        if (value !== undefined) controller.enqueue(value);
      },
    });
    return new Response(cut, { status: response.status, headers: response.headers });
  };
}

async function redirect(answer: Response | Promise<Response>): Promise<URL> {
  const response = await answer;
  const place = response.headers.get("Location");
  assert.ok(response.status === 303 && place !== null, `${response.status} of ${new URL(response.url).pathname}`);
  return new URL(place, response.url);
}
