/** The client beside a service that answers as it should not, and streams that are cut anywhere. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { data, DropError, finishLogin, follow, ForeignAnswer, NotKept, outcome, Session, type Saved } from "../src/index.js";
import { events, type Event } from "../src/follow.js";

const id = "tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697";
const person = { id: "usr_0190a5a47c7e7d5ab8a1f2d3c4b5a697", firstName: "Anna", lastName: "Hansen", kycStatus: "approved" };

/** A service of a few lines, for one test. */
async function served(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const tokens = { accessToken: "new", refreshToken: "second", expiresIn: 600, tokenType: "Bearer" };

const session = (url: string, keep?: (saved: Saved) => void, freshUntil = Date.now() + 60_000): Session =>
  Session.restore(url, { person, accessToken: "old", refreshToken: "first", freshUntil }, keep);

function json(response: ServerResponse, status: number, body: object): void {
  const type = status < 400 ? "application/json; charset=utf-8" : "application/problem+json";
  response.writeHead(status, { "Content-Type": type }).end(JSON.stringify(body));
}

const problem = (status: number, code: string) => ({
  type: `urn:drop:problem:${code}`, title: code, status, detail: code, code, errors: [],
  request_id: "019a8c5e-7d1f-7c3a-9b52-0f6d3e8a4c11",
});

// ── Answers of what stands between ──────────────────────────────────────────────────────────────────────────────────────
for (const [status, type, body] of [
  [502, "text/html", "<h1>Bad gateway</h1>"],
  [503, "application/problem+json", '{"type": "about:blank", "title": "The edge\'s own"}'],
  [403, "application/json", "[]"],
  [200, "text/html", "<form>Please sign in to this network</form>"],
  [202, "", "<form>Please sign in to this network</form>"],
] as const) {
  test(`${status} with ${body} in ${type || "no type"} is a typed error`, () =>
    served(
      (_, response) => void response.writeHead(status, { "Content-Type": type, "Retry-After": "7" }).end(body),
      async (url) => {
        const { drop } = session(url);
        const answer = await outcome("getMe", drop.GET("/v1/me"));
        assert.ok(!answer.ok && answer.error instanceof ForeignAnswer && answer.error.code === "other");
        assert.deepEqual([answer.status, answer.error.problem.status, answer.error.retryAfter], [status, status, 7]);
        await assert.rejects(data("getMe", drop.GET("/v1/me")), ForeignAnswer);
      },
    ));
}

// ── Answers without a body ──────────────────────────────────────────────────────────────────────────────────────────────
test("a check that takes longer answers 202 with nothing in it, and is asked for again", async () => {
  let asked = 0;
  const answer = (_: IncomingMessage, response: ServerResponse) => {
    asked += 1;
    if (asked === 1) response.writeHead(202).end();
    else json(response, 200, { user: person, ...tokens });
  };
  await served(answer, async (url) => {
    const login = { id: "login", authorizationUrl: url, verifier: "verifier" };
    const begun = await finishLogin(url, login, new URL("app:/?login=login&login_code=code"));
    assert.deepEqual([asked, await begun?.accessToken()], [2, "new"]);
  });
});

for (const [how, headers] of [
  ["says so", {}],
  ["does not say so", { "Transfer-Encoding": "chunked" }],
] as const) {
  test(`a balance that is not there yet is 202 with nothing in it, whose length ${how}`, () =>
    served(
      (_, response) => void response.writeHead(202, headers).end(),
      async (url) => {
        const { drop } = session(url);
        const params = { path: { id: "acc_0190a5a47c7e7d5ab8a1f2d3c4b5a697" } };
        const read = await outcome("getBalance", drop.GET("/v1/bank-accounts/{id}/balance", { params }));
        assert.deepEqual([read.status, read.ok && read.data], [202, undefined]);
        const asked = drop.POST("/v1/bank-accounts/{id}/balance/refresh", { params });
        assert.equal(await data("refreshBalance", asked), undefined);
      },
    ));
}

// ── Tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
test("a token that is refused is renewed once for all calls, and the new one is kept before it is used", async () => {
  const seen: string[] = [];
  let late = 0;
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const { url, headers } = request;
    seen.push(`${url} ${headers.authorization ?? ""}`.trim());
    if (url === "/v1/auth/refresh") {
      json(response, 200, { accessToken: "new", refreshToken: "second", expiresIn: 600, tokenType: "Bearer" });
    } else if (headers.authorization === "Bearer new") json(response, 200, person);
    else setTimeout(() => json(response, 401, problem(401, "unauthenticated")), 80 * late++); // some only after the refresh
  };
  await served(answer, async (url) => {
    const kept: Saved[] = [];
    const { drop } = session(url, (saved) => {
      assert.ok(!seen.includes("/v1/me Bearer new"), "kept before it is used");
      kept.push(saved);
    });
    const me = () => data("getMe", drop.GET("/v1/me"));
    assert.deepEqual(await Promise.all([me(), me(), me()]), [person, person, person]);
    assert.equal(seen.filter((line) => line === "/v1/auth/refresh").length, 1);
    assert.deepEqual(kept.map(({ accessToken, refreshToken }) => [accessToken, refreshToken]), [["new", "second"]]);
    // What was kept is enough to go on, in another process.
    const [saved] = JSON.parse(JSON.stringify(kept)) as [Saved];
    const restored = Session.restore(url, saved);
    assert.deepEqual([await restored.accessToken(), restored.person], ["new", person]);
    assert.equal(seen.filter((line) => line === "/v1/auth/refresh").length, 1, "it is fresh");
  });
});

test("a session that is over is said once, after one attempt", async () => {
  let asked = 0;
  await served(
    (_, response) => {
      asked += 1;
      json(response, 401, problem(401, "unauthenticated"));
    },
    async (url) => {
      const answer = await outcome("getMe", session(url).drop.GET("/v1/me"));
      assert.ok(!answer.ok && answer.error.code === "unauthenticated");
      assert.equal(asked, 2, "the call, and the refresh");
      await assert.rejects(follow(session(url).drop, id).next(), { code: "unauthenticated" });
    },
  );
});

test("what a refresh is refused with is an outcome of the call that needed it", () =>
  served(
    (_, response) => json(response, 401, problem(401, "unauthenticated")),
    async (url) => {
      const answer = await outcome("getMe", session(url, undefined, 0).drop.GET("/v1/me"));
      assert.ok(!answer.ok && answer.error.code === "unauthenticated");
      assert.deepEqual([answer.status, answer.response], [401, undefined]);
    },
  ));

test("a code that only a refresh has is another one to the call that needed it", () =>
  served(
    (_, response) => json(response, 415, problem(415, "unsupported_media_type")),
    async (url) => {
      const answer = await outcome("getMe", session(url, undefined, 0).drop.GET("/v1/me"));
      assert.ok(!answer.ok && answer.error.code === "other");
      assert.deepEqual([answer.status, answer.error.problem.code], [415, "unsupported_media_type"]);
    },
  ));

/** A disk that is full once. */
function failsOnce(): { keep: (saved: Saved) => void; kept: Saved[] } {
  const kept: Saved[] = [];
  let full = true;
  const keep = (saved: Saved) => {
    if (full) {
      full = false;
      throw new Error("the disk is full");
    }
    kept.push(saved);
  };
  return { keep, kept };
}

test("a pair that could not be kept is used nevertheless, and whoever asked is told", async () => {
  const bodies: string[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    if (request.url !== "/v1/auth/refresh") return json(response, 200, person);
    let body = "";
    for await (const piece of request) body += String(piece);
    bodies.push(body);
    json(response, 200, tokens);
  };
  await served((request, response) => void answer(request, response), async (url) => {
    const { keep, kept } = failsOnce();
    const one = session(url, keep, 0);
    await assert.rejects(data("getMe", one.drop.GET("/v1/me")), /the disk is full/);
    assert.equal(await one.accessToken(), "new");
    assert.deepEqual(await data("getMe", one.drop.GET("/v1/me")), person);
    await one.refresh();
    assert.deepEqual(bodies, ['{"refreshToken":"first"}', '{"refreshToken":"second"}'], "each is used once");
    assert.deepEqual(kept.map(({ refreshToken }) => refreshToken), ["second"]);
  });
});

test("a pair that is still being kept is not used", async () => {
  let release = () => {};
  const keeping = new Promise<void>((resolve) => (release = resolve));
  await served(
    (_, response) => json(response, 200, tokens),
    async (url) => {
      const saved = { person, accessToken: "old", refreshToken: "first", freshUntil: 0 };
      let kept = false;
      let told = () => {};
      const asked = new Promise<void>((resolve) => (told = resolve));
      const one = Session.restore(url, saved, async () => {
        told();
        await keeping;
        kept = true;
      });
      const first = one.accessToken();
      await asked;
      const second = one.accessToken().then((token) => [token, kept]);
      setTimeout(release, 50);
      assert.deepEqual([await first, await second], ["new", ["new", true]]);
    },
  );
});

test("a login that could not be kept is an error with its session", () =>
  served(
    (_, response) => json(response, 200, { user: person, ...tokens }),
    async (url) => {
      const login = { id: "login", authorizationUrl: url, verifier: "verifier" };
      const begun = finishLogin(url, login, new URL("app:/?login=login&login_code=code"), failsOnce().keep);
      const error = await begun.then(() => undefined, (error: unknown) => error);
      assert.ok(error instanceof NotKept && error.cause instanceof Error && error.cause.message === "the disk is full");
      assert.equal(await error.session.accessToken(), "new");
    },
  ));

test("a refresh whose answer an edge lost is asked for once more", async () => {
  let asked = 0;
  await served(
    (_, response) => {
      asked += 1;
      if (asked === 1) response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad gateway</h1>");
      else json(response, 200, { accessToken: "new", refreshToken: "second", expiresIn: 600, tokenType: "Bearer" });
    },
    async (url) => assert.equal(await session(url, undefined, 0).accessToken(), "new"),
  );
});

// ── Streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
const whole = [
  "\u{feff}: a comment\n",
  'id: 1\r\ndata: {"a":\r\ndata:  "ø\u2028"}\r\n\r\n',
  ":\n\n",
  "retry: 250\n\n",
  "retry: soon\nid: 2\nevent: message\ndata:two\r\r",
  "id\ndata\n\n",
  "data: never ended",
].join("");
const expected: Event[] = [
  { id: "1", data: '{"a":\n "ø\u2028"}', retry: undefined },
  { id: undefined, data: "", retry: 250 },
  { id: "2", data: "two", retry: undefined },
  { id: "", data: "", retry: undefined },
];

test("a stream is read the same wherever it is cut", async () => {
  const bytes = new TextEncoder().encode(whole);
  for (let size = 1; size <= bytes.length; size += 1) {
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at >= bytes.length) controller.close();
        else controller.enqueue(bytes.subarray(at, (at += size)));
      },
    });
    const read: Event[] = [];
    for await (const event of events(body)) read.push(event);
    assert.deepEqual(read, expected, `in pieces of ${size}`);
  }
});

test("a stream that ends is taken up after what was seen, as soon as it asks for", async () => {
  const last: (string | undefined)[] = [];
  const shown = (version: number) => `id: ${version}\ndata: ${JSON.stringify({ id, version, bankFinal: version === 3 })}\n\n`;
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    last.push(request.headers["last-event-id"] as string | undefined);
    if (last.length === 2) return void response.writeHead(504, { "Content-Type": "text/html" }).end("<h1>Timeout</h1>");
    const stream = response.writeHead(200, { "Content-Type": "text/event-stream" });
    return void stream.end(last.length === 1 ? `retry: 10\n\n${shown(1)}` : shown(2) + shown(3));
  };
  await served(answer, async (url) => {
    const versions: number[] = [];
    const began = Date.now();
    for await (const { version } of follow(session(url).drop, id, { pause: 5000 })) versions.push(version);
    assert.deepEqual(versions, [1, 2, 3]);
    assert.deepEqual(last, [undefined, "1", "1"]);
    assert.ok(Date.now() - began < 4000, "the stream's own pause");
  });
});

test("what no waiting cures is thrown", () =>
  served(
    (_, response) => json(response, 404, problem(404, "not_found")),
    async (url) =>
      assert.rejects(follow(session(url).drop, id).next(), (error) => error instanceof DropError && error.code === "not_found"),
  ));

test("what is no stream of events is not taken for one", async () => {
  for (const type of ["text/html", "application/json", ""]) {
    await served(
      (_, response) => void response.writeHead(200, { "Content-Type": type }).end(": welcome\n\n"),
      async (url) => {
        const signal = AbortSignal.timeout(5000);
        await assert.rejects(follow(session(url).drop, id, { pause: 1, signal }).next(), ForeignAnswer);
      },
    );
  }
});

for (const [what, refuse] of [
  ["fails inside", (response: ServerResponse) => json(response, 500, problem(500, "internal_error"))],
  ["is lost by an edge", (response: ServerResponse) => void response.writeHead(502).end("<h1>Bad gateway</h1>")],
  ["is not answered", undefined],
] as const) {
  test(`a refresh that ${what} is no end of a stream`, async (context) => {
    let refreshes = 0;
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      if (request.url !== "/v1/auth/refresh") {
        const stream = response.writeHead(200, { "Content-Type": "text/event-stream" });
        return void stream.end(`data: ${JSON.stringify({ id, version: 1, bankFinal: true })}\n\n`);
      }
      refreshes += 1;
      if (refreshes > 2) return json(response, 200, tokens); // a session asks once more by itself
      return refuse?.(response);
    };
    // Nobody waits out the real time.
    context.mock.method(AbortSignal, "timeout", () => {
      const soon = new AbortController();
      setTimeout(() => soon.abort(new DOMException("too long", "TimeoutError")), 200);
      return soon.signal;
    });
    await served(answer, async (url) => {
      const seen: number[] = [];
      const { drop } = session(url, undefined, 0);
      for await (const { version } of follow(drop, id, { pause: 1 })) seen.push(version);
      assert.deepEqual(seen, [1]);
    });
  });
}

test("whoever follows may stop at any time", () =>
  served(
    (_, response) => void response.writeHead(200, { "Content-Type": "text/event-stream" }).write(": open\n\n"),
    async (url) => {
      const began = Date.now();
      const signal = AbortSignal.timeout(100);
      await assert.rejects(follow(session(url).drop, id, { signal, pause: 8000 }).next(), { name: "TimeoutError" });
      assert.ok(Date.now() - began < 4000, "and waits for nothing then");
    },
  ));
