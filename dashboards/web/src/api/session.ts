// The token of this tab. Kept in sessionStorage: it ends with the tab and never reaches another one.

const KEY = "greylight.token";

let asker: (() => Promise<string | null>) | null = null;
let asking: Promise<boolean> | null = null;

export function currentToken(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Forgets the token, so that the next refusal asks again. */
export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}

/** The shell says once how a person is asked; null as the answer means that the person declined. */
export function onTokenNeeded(ask: () => Promise<string | null>): void {
  asker = ask;
}

/** Asks once, however many requests were refused at the same time; true when there is a new token to try. */
export function demandToken(): Promise<boolean> {
  if (asking === null) {
    asking = (async () => {
      const given = asker === null ? null : await asker();
      if (given !== null) sessionStorage.setItem(KEY, given);
      return given !== null;
    })().finally(() => {
      asking = null;
    });
  }
  return asking;
}
