// The name of the page in the tab.

import { useEffect } from "preact/hooks";

export function useTitle(name: string): void {
  useEffect(() => {
    document.title = name === "" ? "Greylight" : `${name} · Greylight`;
  }, [name]);
}
