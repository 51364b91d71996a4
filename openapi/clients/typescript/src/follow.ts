import type { Drop } from "./client.js";
import type { components } from "./generated/schema.js";
import { DropError, refusal } from "./problem.js";

export type Transaction = components["schemas"]["Transaction"];

export type Following = {
  /** The last version that was shown before: only what came after it is sent. */
  lastEventId?: string;
  signal?: AbortSignal;
  /** Milliseconds before a stream that broke off is opened again. */
  pause?: number;
  fetch?: typeof fetch;
};

/**
 * A payment as it changes, until its bank's last word. A stream that ends before, which each does after ten minutes, is
 * opened again with `Last-Event-ID`: nothing is shown twice, and the last state is never missed.
 */
export async function* follow(drop: Drop, id: string, following: Following = {}): AsyncGenerator<Transaction, void> {
  const { signal, pause = 1000, fetch: send = fetch } = following;
  let { lastEventId } = following;
  for (;;) {
    let rest = pause;
    try {
      const response = await open(send, drop, id, lastEventId, signal);
      if (response.status === 204) return;
      if (response.ok && response.body !== null) {
        for await (const event of events(response.body)) {
          lastEventId = event.id ?? lastEventId;
          const payment = JSON.parse(event.data) as Transaction;
          yield payment;
          if (payment.bankFinal) return;
        }
      } else {
        const problem = refusal("followTransaction", await response.json().catch(() => undefined), response);
        switch (problem.code) {
          case "rate_limited":
          case "unavailable":
          case "internal_error":
            rest = Math.max(pause, (problem.retryAfter ?? 0) * 1000);
            break;
          case "unauthenticated": // the session is over: whoever gives tokens has given the freshest it has
          case "not_found":
            throw problem;
          case "other":
            if (problem.problem.status < 500) throw problem;
            break; // what stands before the service has lost it
          default:
            return problem satisfies never;
        }
      }
    } catch (error) {
      // `fetch` reports a lost connection as a TypeError, and a refresh of the token may be asked to wait; nothing else is
      // cured by coming back.
      const mayWait = error instanceof DropError && (error.code === "rate_limited" || error.code === "unavailable");
      if (mayWait) rest = Math.max(pause, (error.retryAfter ?? 0) * 1000);
      else if (!(error instanceof TypeError)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, rest));
    signal?.throwIfAborted();
  }
}

/** Longer than the service is silent, in milliseconds: every 15 s it sends a comment. */
const SILENCE = 45_000;

/** A stream that is silent for longer is a lost connection. */
async function within<T>(milliseconds: number, reading: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TypeError("the stream fell silent")), milliseconds);
  });
  try {
    return await Promise.race([reading, silence]);
  } finally {
    clearTimeout(timer);
  }
}

async function open(send: typeof fetch, drop: Drop, id: string, seen: string | undefined, signal?: AbortSignal) {
  const headers = new Headers({ Accept: "text/event-stream" });
  const token = await drop.accessToken();
  if (token !== undefined) headers.set("Authorization", `Bearer ${token}`);
  if (seen !== undefined) headers.set("Last-Event-ID", seen);
  const url = `${drop.baseUrl}/v1/transactions/${encodeURIComponent(id)}/events`;
  return send(url, { headers, redirect: "manual", cache: "no-store", ...(signal && { signal }) });
}

type Event = { id: string | undefined; data: string };

/** The messages of a `text/event-stream`; comments, which only keep it open, are passed over. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<Event, void> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = "";
  let event: Event = { id: undefined, data: "" };
  try {
    for (;;) {
      const { done, value } = await within(SILENCE, reader.read());
      if (done) return; // what has not ended with an empty line is no message
      text += decoder.decode(value, { stream: true });
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          if (event.data !== "") yield { ...event, data: event.data.slice(0, -1) };
          event = { id: undefined, data: "" };
          continue;
        }
        const colon = line.indexOf(":");
        const [name, value] = colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
        if (name === "data") event.data += `${value}\n`;
        if (name === "id") event.id = value;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
