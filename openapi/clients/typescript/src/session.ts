import { connect, type Drop } from "./client.js";
import type { components } from "./generated/schema.js";
import { data, DropError, outcome } from "./problem.js";

type Tokens = components["schemas"]["Tokens"];
type Person = components["schemas"]["Person"];

/** A login that waits for its person at BankID. */
export type StartedLogin = { id: string; authorizationUrl: string; verifier: string };

/** Starts a login: open `authorizationUrl` in the system's browser, and keep the rest until the app's link is opened. */
export async function startLogin(baseUrl: string, uiLocales: "no" | "en" = "no"): Promise<StartedLogin> {
  const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const body = { appChallenge: base64url(new Uint8Array(digest)), uiLocales };
  const login = await data("startAppLogin", connect(baseUrl).POST("/v1/auth/bankid/logins", { body }));
  return { id: login.id, authorizationUrl: login.authorizationUrl, verifier };
}

/** What ended a login before there was anything to redeem: the code in the app's link. */
export class LoginEnded extends Error {
  constructor(readonly code: string) {
    super(`the login ended: ${code}`);
  }
}

/** Redeems what the app's link was opened with. Null: it is not the link of this login, which goes on. */
export async function finishLogin(baseUrl: string, login: StartedLogin, link: URL): Promise<Session | null> {
  const given = link.searchParams;
  if (given.get("login") !== login.id) return null;
  const error = given.get("error");
  if (error !== null) throw new LoginEnded(error);
  const drop = connect(baseUrl);
  const body = { loginCode: given.get("login_code") ?? "", appVerifier: login.verifier };
  for (;;) {
    const redeemed = await outcome(
      "redeemAppLogin",
      drop.POST("/v1/auth/bankid/logins/{id}/redeem", { params: { path: { id: login.id } }, body }),
    );
    if (!redeemed.ok) throw redeemed.error;
    // 202: the check takes longer than the service waits; the same request again waits on.
    if (redeemed.status === 200 && redeemed.data !== undefined) {
      return new Session(baseUrl, redeemed.data, redeemed.data.user);
    }
  }
}

/** A person's session in an app: gives every call a live access token, and refreshes it before it ends. */
export class Session {
  readonly drop: Drop;
  #tokens: Tokens;
  #freshUntil: number;
  #refreshing: Promise<void> | undefined;

  constructor(
    readonly baseUrl: string,
    tokens: Tokens,
    readonly person: Person,
  ) {
    this.#tokens = tokens;
    this.#freshUntil = freshUntil(tokens);
    this.drop = connect(baseUrl, () => this.accessToken());
  }

  async accessToken(): Promise<string> {
    if (Date.now() >= this.#freshUntil) await this.refresh();
    return this.#tokens.accessToken;
  }

  /** A refresh token is good for one use, so calls that need a new one share it. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refresh(): Promise<void> {
    const { refreshToken } = this.#tokens;
    const body = refreshToken === undefined ? {} : { refreshToken };
    // An answer that was lost is asked for once more while the old token still answers with the new one, for ten seconds.
    const refreshed = () =>
      data(
        "refreshSession",
        connect(this.baseUrl).POST("/v1/auth/refresh", { body, signal: AbortSignal.timeout(4000) }),
      );
    this.#tokens = await refreshed().catch((error: unknown) => {
      if (error instanceof DropError) throw error;
      return refreshed();
    });
    this.#freshUntil = freshUntil(this.#tokens);
  }
}

/** Half a minute early, so that no token ends on its way. */
const freshUntil = (tokens: Tokens): number => Date.now() + (tokens.expiresIn - 30) * 1000;

function base64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
