import { connect, type Drop } from "./client.js";
import type { components } from "./generated/schema.js";
import { data, DropError, ForeignAnswer, outcome } from "./problem.js";

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

/** All of a session, as plain JSON, to be kept where the device keeps secrets: `Session.restore` takes it up again. */
export type Saved = {
  person: Person;
  accessToken: string;
  refreshToken: string;
  /** In milliseconds since 1970: until then the access token is used without asking for a new one. */
  freshUntil: number;
};

/**
 * Told of each session that begins and of each refresh, before its new tokens are used: a refresh token is good once. What it
 * throws goes to whoever needed the tokens; the session has them all the same, and is not told to keep them again.
 */
export type Keep = (saved: Saved) => void | Promise<void>;

/** The login succeeded, and `keep` threw `cause`: `session` lives, and only this error knows of it. */
export class NotKept extends Error {
  constructor(
    readonly session: Session,
    cause: unknown,
  ) {
    super("the session that has begun could not be kept", { cause });
    this.name = "NotKept";
  }
}

/** Redeems what the app's link was opened with. Null: it is not the link of this login, which goes on. */
export async function finishLogin(
  baseUrl: string,
  login: StartedLogin,
  link: URL,
  keep?: Keep,
): Promise<Session | null> {
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
      const saved = toSave(redeemed.data.user, redeemed.data);
      const session = Session.restore(baseUrl, saved, keep);
      try {
        await keep?.(saved);
      } catch (error) {
        throw new NotKept(session, error);
      }
      return session;
    }
  }
}

/** A person's session in an app: gives every call a live access token, and refreshes it before it ends. */
export class Session {
  readonly drop: Drop;
  #refreshing: Promise<void> | undefined;

  private constructor(
    readonly baseUrl: string,
    private saved: Saved,
    private readonly keep: Keep | undefined,
  ) {
    this.drop = connect(baseUrl, { token: () => this.accessToken(), renewed: (refused) => this.#renewed(refused) });
  }

  /** The session that `keep` was told of last, when the app starts again. */
  static restore(baseUrl: string, saved: Saved, keep?: Keep): Session {
    return new Session(baseUrl, saved, keep);
  }

  get person(): Person {
    return this.saved.person;
  }

  async accessToken(): Promise<string> {
    if (this.#refreshing !== undefined || Date.now() >= this.saved.freshUntil) await this.refresh();
    return this.saved.accessToken;
  }

  /** A refresh token is good for one use, so calls that need a new one share it. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #renewed(refused: string): Promise<string | undefined> {
    try {
      // Another call may have been faster, and not have kept it yet.
      if (this.#refreshing !== undefined || this.saved.accessToken === refused) await this.refresh();
      return this.saved.accessToken;
    } catch (error) {
      // The session is over: the first answer says so as well.
      if (error instanceof DropError && error.code === "unauthenticated") return undefined;
      throw error;
    }
  }

  async #refresh(): Promise<void> {
    const body = { refreshToken: this.saved.refreshToken };
    // An answer that was lost is asked for once more while the old token still answers with the new one, for ten seconds.
    const refreshed = () =>
      data(
        "refreshSession",
        connect(this.baseUrl).POST("/v1/auth/refresh", { body, signal: AbortSignal.timeout(4000) }),
      );
    const tokens = await refreshed().catch((error: unknown) => {
      if (error instanceof DropError && !(error instanceof ForeignAnswer)) throw error;
      return refreshed();
    });
    // First of all ours: the old refresh token is used up, whatever becomes of keeping the new one.
    this.saved = toSave(this.saved.person, tokens);
    await this.keep?.(this.saved);
  }
}

function toSave(person: Person, { accessToken, refreshToken, expiresIn }: Tokens): Saved {
  if (refreshToken === undefined) throw new TypeError("an app is given a refresh token");
  // Half a minute early, so that no token ends on its way.
  return { person, accessToken, refreshToken, freshUntil: Date.now() + (expiresIn - 30) * 1000 };
}

function base64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
