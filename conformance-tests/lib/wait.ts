import { slow } from "../../tests/helpers/time.ts";

/** Waits until `condition` holds; throws when it does not within `limit` milliseconds. */
export async function until(condition: () => boolean | Promise<boolean>, limit = 20_000): Promise<void> {
  for (const end = Date.now() + slow(limit); !(await condition()); await Bun.sleep(30)) {
    if (Date.now() > end) throw new Error(`waited in vain for ${condition}`);
  }
}

/** What `found` still finds when it has had the time to vanish. */
export async function settled(found: () => string[], limit = 4_000): Promise<string[]> {
  const end = Date.now() + slow(limit);
  while (found().length > 0 && Date.now() < end) await Bun.sleep(30);
  return found();
}
