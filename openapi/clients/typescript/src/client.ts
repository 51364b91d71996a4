import createClient, { type Client, type Middleware } from "openapi-fetch";
import type { paths } from "./generated/schema.js";
import { ForeignAnswer, mediaType } from "./problem.js";

/** What gives calls their access token. */
export type Access = {
  /** One to try. */
  token(): Promise<string | undefined>;
  /** The one after a token that the service refused; undefined where there is none. */
  renewed(refused: string): Promise<string | undefined>;
};

export type Drop = Client<paths> & {
  readonly baseUrl: string;
  readonly access: Access;
};

/** For whoever has no session. */
const nobody: Access = {
  async token() {
    return undefined;
  },
  async renewed() {
    return undefined;
  },
};

/** Every operation of the document, with the access token that `access` gives for each call. */
export function connect(baseUrl: string, access: Access = nobody): Drop {
  // Redirects are for browsers: a program that followed one would send its token on.
  const client = createClient<paths>({ baseUrl, redirect: "manual" });
  client.use(oursAlone, authorized(access)); // what comes back passes them from the last to the first
  return Object.assign(client, { baseUrl, access });
}

/** Puts the token into each request, and once a new one where the service does not take it any more, whatever our clock says. */
function authorized(access: Access): Middleware {
  const repeatable = new Map<string, { request: Request; token: string }>();
  return {
    async onRequest({ request, id }) {
      const token = await access.token();
      if (token === undefined) return undefined;
      request.headers.set("Authorization", `Bearer ${token}`);
      repeatable.set(id, { request: request.clone(), token }); // a body can be read once only
      return request;
    },
    async onResponse({ response, id }) {
      const sent = repeatable.get(id);
      repeatable.delete(id);
      if (response.status !== 401 || sent === undefined) return undefined;
      const token = await access.renewed(sent.token);
      if (token === undefined) return undefined;
      sent.request.headers.set("Authorization", `Bearer ${token}`);
      return fetch(sent.request);
    },
    onError({ id }) {
      repeatable.delete(id);
    },
  };
}

/** A success that is no JSON is not the service's, unless it is empty, and reading it would fail in words of its own. */
const oursAlone: Middleware = {
  async onResponse({ response }) {
    const type = mediaType(response);
    if (!response.ok || type === "application/json") return;
    if (type !== "" || (await response.clone().text()) !== "") throw new ForeignAnswer(response);
  },
};

/** A new name for one intention. Keep it until the outcome is known, and send it again with every repetition. */
export const newKey = (): string => crypto.randomUUID();

/** `Prefer`: wait this long for the outcome; the service waits 10 to 15 s when nothing is said, and never longer. */
export const wait = (seconds: number): string => `wait=${Math.trunc(seconds)}`;

/** `Prefer`: do not wait, answer 202 and let me look at `Location`. */
export const respondAsync = "respond-async";

/** Reads until the answer is as wanted; for what goes on after a 202. A payment is better followed, see `follow`. */
export async function until<T>(read: () => Promise<T>, wanted: (seen: T) => boolean, seconds = 30): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (let pause = 200; ; pause = Math.min(pause * 2, 3000)) {
    const seen = await read();
    if (wanted(seen)) return seen;
    if (Date.now() + pause > deadline) throw new Error(`not so within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
